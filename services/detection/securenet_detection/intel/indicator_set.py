"""The file of a tenant's feeds: columns as they are in memory, what is known of each feed, and a digest over all.

`SNINTEL1`, length of the header (4 bytes, little-endian), header (JSON: tenant, version, feeds, lengths), columns in
the order of :data:`.columns.DTYPES`, SHA-256 of everything before it. It is written aside and moved into place, so
that a reader finds the old set or the new one, and never a part.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from securenet_detection.intel.columns import BLOB_NAMES, DTYPES, Columns
from securenet_detection.intel.feeds import Feed
from securenet_detection.threats import Technique

_MAGIC: Final = b"SNINTEL1"
_LONGEST_HEADER: Final = 256 << 20
_DIGEST_BYTES: Final = 32


class BrokenSetError(Exception):
    """A file is no set of indicators, or not a whole one."""


@dataclass(frozen=True, slots=True, eq=False)
class IndicatorSet:
    """All feeds of a tenant.

    Attributes:
        version: rises with every change.
        feeds: those that list, then the warning lists; each says how many rows it has.
        columns: their rows, in the same order.
    """

    tenant: str
    version: int
    feeds: tuple[Feed, ...]
    columns: Columns

    @classmethod
    def empty(cls, tenant: str) -> IndicatorSet:
        """A set without a feed."""
        return cls(tenant, 0, (), Columns.concatenate(()))

    def feed(self, name: str) -> Feed | None:
        """The feed of a name."""
        return next((feed for feed in self.feeds if feed.name == name), None)

    def rows(self, feed: Feed) -> Columns:
        """The rows of a feed."""
        return self.columns.take(feed.first, feed.first + feed.count)

    def without(self, name: str) -> IndicatorSet:
        """The next version, without a feed."""
        kept = [(feed, self.rows(feed)) for feed in self.feeds if feed.name != name]
        return self._of(kept)

    def with_feed(self, feed: Feed, columns: Columns) -> IndicatorSet:
        """The next version, with a feed in place of the one of its name."""
        kept = [(other, self.rows(other)) for other in self.feeds if other.name != feed.name]
        return self._of([*kept, (feed, columns)])

    def _of(self, parts: list[tuple[Feed, Columns]]) -> IndicatorSet:
        parts.sort(key=lambda part: (part[0].warning_list, part[0].name))
        feeds = []
        first = 0
        for feed, columns in parts:
            feeds.append(replace(feed, first=first, count=len(columns)))
            first += len(columns)
        joined = Columns.concatenate([columns for _, columns in parts])
        return IndicatorSet(self.tenant, self.version + 1, tuple(feeds), joined)


def write_set(stored: IndicatorSet, path: Path) -> None:
    """Writes a set in place of the file, durably.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    header = {
        "tenant": stored.tenant,
        "version": stored.version,
        "byte_order": sys.byteorder,
        "feeds": [asdict(feed) for feed in stored.feeds],
        "lengths": {name: len(getattr(stored.columns, name)) for name in DTYPES},
    }
    encoded = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.stem, suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            digest = hashlib.sha256()
            for part in (_MAGIC, len(encoded).to_bytes(4, "little"), encoded):
                digest.update(part)
                file.write(part)
            for column in DTYPES:
                data = np.ascontiguousarray(getattr(stored.columns, column)).data
                digest.update(data)
                file.write(data)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_set(path: Path, *, max_indicators: int) -> IndicatorSet:
    """Reads a set back.

    Raises:
        BrokenSetError: the file is not one, not whole, or larger than allowed.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.sha256()

        def take(count: int) -> bytes:
            data = file.read(count)
            if len(data) != count:
                raise BrokenSetError(f"{path.name}: ends after {file.tell():,} bytes")
            digest.update(data)
            return data

        if take(len(_MAGIC)) != _MAGIC:
            raise BrokenSetError(f"{path.name}: no set of indicators")
        length = int.from_bytes(take(4), "little")
        if length > min(size, _LONGEST_HEADER):
            raise BrokenSetError(f"{path.name}: a header of {length:,} bytes")
        try:
            header = json.loads(take(length))
            stored = _read_columns(header, file, digest.update, size, max_indicators)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BrokenSetError(f"{path.name}: {error!r}") from error
        if file.read(_DIGEST_BYTES + 1) != digest.digest():
            raise BrokenSetError(f"{path.name}: its digest is another")
    return stored


def _read_columns(
    header: dict[str, Any], file: IO[bytes], seen: Callable[[Any], None], size: int, max_indicators: int
) -> IndicatorSet:
    if header["byte_order"] != sys.byteorder:
        raise ValueError(f"written on a {header['byte_order']}-endian machine")
    lengths: dict[str, int] = header["lengths"]
    rows = lengths["kind"]
    if rows > max_indicators:
        raise ValueError(f"{rows:,} indicators; at most {max_indicators:,} may be held")
    columns = {}
    for name, dtype in DTYPES.items():
        count = lengths[name]
        if count * dtype.itemsize > size or (name not in BLOB_NAMES and count != rows) or count < 0:
            raise ValueError(f"column {name} of {count:,} values")
        columns[name] = np.empty(count, dtype)
        if file.readinto(columns[name].data) != columns[name].nbytes:  # type: ignore[attr-defined]  # a buffered file's
            raise ValueError(f"column {name} ends early")
        seen(columns[name].data)
    feeds = tuple(_feed(feed) for feed in header["feeds"])
    if sum(feed.count for feed in feeds) != rows:
        raise ValueError("feeds and columns do not agree")
    return IndicatorSet(str(header["tenant"]), int(header["version"]), feeds, Columns(**columns))


def _feed(stored: dict[str, Any]) -> Feed:
    return Feed(
        **{
            **stored,
            "kinds": {int(kind): count for kind, count in stored["kinds"].items()},
            "techniques": tuple(Technique(**technique) for technique in stored["techniques"]),
            "labels": tuple(stored["labels"]),
        }
    )
