"""Labelled captures as one matrix."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from securenet_flows.batch import FlowBatch
from securenet_flows.features import FEATURES, SourceContext, features

#: Opens a capture: batches of flows with their labels, in order.
CaptureReader = Callable[[Path], Iterable[FlowBatch]]

#: Hears how many rows were read so far, and of which capture.
RowsRead = Callable[[int, str], None]

_CHUNK: Final = 1 << 20


class TrainingDataError(Exception):
    """The data cannot be trained on; the message names the file and says what was expected."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a training may read.

    Attributes:
        rows: flows in all.
        bytes: bytes of files in all.
        roots: folders that data may lie below.
        any_folder: data may lie anywhere, where no roots are given.
    """

    rows: int = 5_000_000
    bytes: int = 16 << 30
    roots: tuple[Path, ...] = ()
    any_folder: bool = True


@dataclass(frozen=True, slots=True)
class Capture:
    """One source of rows.

    Attributes:
        name: unique among the training's captures.
        path: file or folder.
        digest: SHA-256 over its files' names and bytes, in hex.
        rows: labelled rows.
        malicious: malicious ones among them.
        unknown: rows that were dropped, since nobody knows what they are.
    """

    name: str
    path: str
    digest: str
    rows: int
    malicious: int
    unknown: int


#: Makes one number of the halves of an address.
_ODD: Final = 0x1E3779B97F4A7C15


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Rows of all captures, each capture's in its order.

    Attributes:
        x: float32 (n, features).
        malicious: boolean (n,), what is known to be so; without labels, nothing is.
        capture: int64 (n,), index into `captures`.
        time_ns: int64 (n,), start times.
        captures: what the rows came from.
        labelled: whether each row is known to be malicious or benign.
        source: int64 (n,), equal for flows of the same source.
    """

    x: NDArray[np.float32]
    malicious: NDArray[np.bool_]
    capture: NDArray[np.int64]
    time_ns: NDArray[np.int64]
    captures: tuple[Capture, ...]
    labelled: bool
    source: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def weight(self) -> NDArray[np.float64]:
        """Float64 (n,), mean 1: each capture weighs the same, however long it is."""
        rows = np.bincount(self.capture, minlength=len(self.captures)).astype(np.float64)
        per_row = np.divide(1.0, rows, out=np.zeros_like(rows), where=rows > 0)[self.capture]
        return np.asarray(per_row / per_row.mean(), np.float64)


def resolve(uri: str, limits: Limits) -> Path:
    """The path that an address names.

    Raises:
        TrainingDataError: it is no local address, does not exist, or lies outside the allowed folders.
    """
    parts = urlsplit(uri)
    if parts.scheme not in {"", "file"} or parts.netloc not in {"", "localhost"}:
        raise TrainingDataError(f"{uri}: scheme {parts.scheme or parts.netloc!r}; expected a path or a file:// address")
    if "\0" in uri:
        raise TrainingDataError(f"{uri!r}: a NUL character in a path")
    path = Path(unquote(parts.path) if parts.scheme else uri)
    try:
        path = path.resolve(strict=True)
    except OSError as error:
        raise TrainingDataError(
            f"{uri}: {error.strerror or error}; expected a file or folder on this machine"
        ) from error
    allowed = any(path.is_relative_to(root.resolve()) for root in limits.roots)
    if not allowed and (limits.roots or not limits.any_folder):
        roots = ", ".join(str(root) for root in limits.roots) or "a folder of data_roots, which is not set"
        raise TrainingDataError(f"{uri}: outside the allowed folders; expected a path below {roots}")
    return path


def load(uris: Sequence[str], read: CaptureReader, limits: Limits, *, labels: bool, progress: RowsRead) -> Dataset:
    """Reads captures and makes their features.

    Every capture begins with an empty context, and rows of unknown label still count as what their source did before
    they are dropped.

    Args:
        uris: one capture each.
        read: opens one.
        limits: bounds of what is read.
        labels: whether each capture must have labels.
        progress: hears of rows as they are read.

    Raises:
        TrainingDataError: a capture cannot be read, has no labels, or a bound is passed.
    """
    paths = [resolve(uri, limits) for uri in uris]
    size = sum(file.stat().st_size for path in paths for file in _files(path))
    if size > limits.bytes:
        raise TrainingDataError(f"the captures have {size:,} bytes; expected at most {limits.bytes:,}")
    names = _names(paths)
    loaded: list[tuple[Capture, NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]] = []
    total = 0
    for path, name in zip(paths, names, strict=True):
        x, codes, times, sources = _read_capture(
            path, name, read, limits.rows - total, partial(_report, progress, total)
        )
        if labels and not (codes >= 0).any():
            raise TrainingDataError(
                f"{path}: {len(x):,} flows and no labels; expected a label column that says benign or malicious"
            )
        keep = codes >= 0 if labels else np.ones(len(x), np.bool_)
        capture = Capture(
            name=name,
            path=str(path),
            digest=_digest(path),
            rows=int(np.count_nonzero(keep)),
            malicious=int(np.count_nonzero(codes == 1)),
            unknown=int(np.count_nonzero(~keep)),
        )
        loaded.append((capture, x[keep], codes[keep] == 1, times[keep], sources[keep]))
        total += len(x)
    if not sum(capture.rows for capture, *_ in loaded):
        raise TrainingDataError("the captures hold no flow to train on")
    return Dataset(
        x=np.concatenate([x for _, x, *_ in loaded]),
        malicious=np.concatenate([malicious for _, _, malicious, *_ in loaded]),
        capture=np.repeat(np.arange(len(loaded)), [len(x) for _, x, *_ in loaded]),
        time_ns=np.concatenate([times for *_, times, _ in loaded]),
        captures=tuple(capture for capture, *_ in loaded),
        labelled=labels,
        source=np.concatenate([sources for *_, sources in loaded]),
    )


def _read_capture(
    path: Path, name: str, read: CaptureReader, rows_left: int, progress: RowsRead
) -> tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.int64], NDArray[np.int64]]:
    """Features, labels (1 malicious, 0 benign, −1 neither), start times and sources of a whole capture."""
    context = SourceContext()
    parts: list[NDArray[np.float32]] = [np.empty((0, len(FEATURES)), np.float32)]
    labels: list[NDArray[np.int8]] = [np.empty(0, np.int8)]
    times: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    sources: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    rows = 0
    for batch in read(path):
        rows += len(batch)
        if rows > rows_left:
            raise TrainingDataError(
                f"{path}: with it the captures have more flows than may be read ({rows_left:,} were left)"
            )
        parts.append(features(batch, context))
        text = batch.texts("label")
        labels.append(
            np.where(text.matches(["malicious"]), 1, np.where(text.matches(["benign"]), 0, -1)).astype(np.int8)
        )
        times.append(batch.start_time_ns)
        halves = np.ascontiguousarray(batch.src_addr).view(np.int64)
        sources.append(halves[:, 0] * np.int64(_ODD) ^ halves[:, 1])
        progress(rows, name)
    return np.concatenate(parts), np.concatenate(labels), np.concatenate(times), np.concatenate(sources)


def _report(progress: RowsRead, before: int, rows: int, name: str) -> None:
    progress(before + rows, name)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for file in _files(path):
        digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _names(paths: Sequence[Path]) -> list[str]:
    """A name a capture: the folder's for Zeek's conn.log, else the file's; numbered where two would be the same."""
    names: list[str] = []
    for path in paths:
        name = path.parent.name if path.is_file() and path.name.startswith("conn.") else path.name.split(".")[0]
        name = name or "capture"
        taken = sum(1 for other in names if other == name or other.startswith(f"{name}#"))
        names.append(f"{name}#{taken + 1}" if taken else name)
    return names
