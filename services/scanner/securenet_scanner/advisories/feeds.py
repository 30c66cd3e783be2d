"""Feed files as they lie in a folder: found, recognised by content, decompressed, and read record by record.

Everything here comes from outside: files, lines, entries and what they expand to are all bounded, and no name inside an
archive is ever used as a path.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import IO, cast

import zstandard


class FeedError(ValueError):
    """A feed, or a folder of them, that cannot be used as a whole; the message says which file and line."""


class FeedKind(Enum):
    """What a file holds."""

    OSV_LINES = "OSV, a record a line"
    OSV_ARCHIVE = "OSV, an archive with a file a record"
    OSV_RECORD = "OSV, one record"
    KEV = "CISA's known exploited vulnerabilities"
    EPSS = "EPSS scores"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for what a feed may hold."""

    files: int = 10_000
    record_bytes: int = 16 << 20
    document_bytes: int = 256 << 20
    """For feeds that are one JSON document."""
    expanded_bytes: int = 16 << 30
    """For one feed, decompressed."""
    entries: int = 2_000_000
    """Files in one archive."""
    depth: int = 64
    """Of JSON."""


@dataclass(frozen=True, slots=True)
class FeedFile:
    """One file that will be read."""

    path: Path
    name: str
    """Relative to the folder that was given."""
    kind: FeedKind
    size: int


@dataclass(frozen=True, slots=True)
class RawRecord:
    """The bytes of one record and where they stand."""

    place: str
    """`pypi.jsonl.zst:12` or `all.zip!GHSA-….json`."""
    data: bytes
    position: int
    """Bytes of the file that were consumed so far."""
    problem: str = ""
    """Why there are no bytes, where they could not be read at all."""


_ZSTD = b"\x28\xb5\x2f\xfd"
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_FEED_NAME = re.compile(r"\.(jsonl|json|csv|zip|ndjson)(\.(zst|gz))?$", re.IGNORECASE)
_ZSTD_WINDOW = 1 << 27  # 128 MiB, what `zstd --long=27` writes; more would let a small file ask for a lot of memory
_READ_ERRORS = (
    OSError,
    EOFError,
    zlib.error,
    zstandard.ZstdError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
)


def find(folder: Path, limits: Limits) -> tuple[list[FeedFile], list[str]]:
    """The feeds of a folder, sorted by name, and the files that hold none, each with the reason.

    Raises `FeedError` where a file is named as a feed and cannot be read as one, or where there is nothing to read.
    """
    if not folder.is_dir():
        raise FeedError(f"{folder} is not a folder")
    feeds: list[FeedFile] = []
    others: list[str] = []
    for path in sorted(_files(folder, limits)):
        name = str(path.relative_to(folder))
        if not _FEED_NAME.search(path.name):
            others.append(f"{name}: not named as a feed (.jsonl, .json, .csv or .zip, also with .zst or .gz)")
            continue
        kind = _recognise(path, name, limits)
        if kind is None:
            others.append(f"{name}: no feed that is read here (OSV, KEV or EPSS)")
        else:
            feeds.append(FeedFile(path, name, kind, path.stat().st_size))
    if not feeds:
        raise FeedError(f"{folder} holds no feed that is read here: OSV (.jsonl or .zip), KEV (.json) or EPSS (.csv)")
    return feeds, others


def _files(folder: Path, limits: Limits) -> Iterator[Path]:
    """Ordinary files below a folder; what links lead out of it is left alone."""
    seen = 0
    for parent, folders, names in os.walk(folder):
        seen += len(folders) + len(names)
        if seen > limits.files:
            raise FeedError(f"{folder} holds more than {limits.files} files and folders")
        for name in names:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                yield path


def digest(path: Path) -> str:
    """SHA-256 of the file as it lies there, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def records(feed: FeedFile, limits: Limits) -> Iterator[RawRecord]:
    """The records of an OSV feed, in order.

    Raises `FeedError` where the file itself breaks off or expands beyond its bound.
    """
    if feed.kind is FeedKind.OSV_ARCHIVE:
        yield from _entries(feed, limits)
    elif feed.kind is FeedKind.OSV_RECORD:
        yield RawRecord(feed.name, document(feed, limits), feed.size)
    else:
        yield from _lines(feed, limits)


def document(feed: FeedFile, limits: Limits) -> bytes:
    """The whole of a feed that is one document, at most `limits.document_bytes`."""
    with feed.path.open("rb") as file:
        try:
            data = _decompressed(file).read(limits.document_bytes + 1)
        except _READ_ERRORS as error:
            raise FeedError(f"{feed.name}: broken file: {error}") from error
    if len(data) > limits.document_bytes:
        raise FeedError(f"{feed.name}: more than {limits.document_bytes} bytes in one document")
    return data


def parse_json(data: bytes, limits: Limits) -> object:
    """Parse JSON of bounded depth.

    Raises ValueError with what is wrong.
    """
    try:
        value: object = json.loads(data)
    except RecursionError:
        raise ValueError(f"JSON nested deeper than {limits.depth}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if data.count(b"[") + data.count(b"{") > limits.depth and not _shallow(value, limits.depth):
        raise ValueError(f"JSON nested deeper than {limits.depth}")
    return value


def date_in_name(name: str) -> datetime | None:
    """The last YYYY-MM-DD of a file name."""
    found = re.findall(r"\d{4}-\d{2}-\d{2}", name)
    try:
        return datetime.combine(date.fromisoformat(found[-1]), datetime.min.time(), UTC) if found else None
    except ValueError:
        return None


def _shallow(value: object, depth: int) -> bool:
    level: list[object] = [value]
    for _ in range(depth + 1):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return True
    return False


def _decompressed(file: IO[bytes]) -> IO[bytes]:
    """The content, whatever it was packed with, told by its first bytes."""
    magic = file.read(4)
    file.seek(0)
    if magic == _ZSTD:
        reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(file, read_across_frames=True)
        return cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", reader), 1 << 18))
    if magic[:2] == _GZIP:
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    return file


def _lines(feed: FeedFile, limits: Limits) -> Iterator[RawRecord]:
    with feed.path.open("rb") as file:
        expanded = 0
        number = 0
        try:
            stream = _decompressed(file)
            while line := stream.readline(limits.record_bytes + 1):
                number += 1
                expanded += len(line)
                problem = ""
                if len(line) > limits.record_bytes and not line.endswith(b"\n"):
                    problem = f"line longer than {limits.record_bytes} bytes"
                    expanded += _skip_line(stream, limits.expanded_bytes - expanded)
                if expanded > limits.expanded_bytes:
                    raise FeedError(f"{feed.name}:{number}: expands to more than {limits.expanded_bytes} bytes")
                if problem or line.strip():
                    yield RawRecord(f"{feed.name}:{number}", b"" if problem else line, file.tell(), problem)
        except _READ_ERRORS as error:
            raise FeedError(f"{feed.name}:{number + 1}: broken file: {error or 'ends too early'}") from error


def _skip_line(stream: IO[bytes], at_most: int) -> int:
    skipped = 0
    while skipped <= at_most and (part := stream.readline(1 << 20)):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def _entries(feed: FeedFile, limits: Limits) -> Iterator[RawRecord]:
    try:
        with zipfile.ZipFile(feed.path) as archive:
            infos = archive.infolist()
            if len(infos) > limits.entries:
                raise FeedError(f"{feed.name}: {len(infos)} entries; at most {limits.entries} are read")
            expanded = position = 0
            for info in infos:
                position += info.compress_size
                if info.is_dir() or not info.filename.endswith(".json"):
                    continue
                place = f"{feed.name}!{info.filename[:200]}"
                with archive.open(info) as entry:
                    data = entry.read(limits.record_bytes + 1)
                expanded += len(data)
                if expanded > limits.expanded_bytes:
                    raise FeedError(f"{place}: the archive expands to more than {limits.expanded_bytes} bytes")
                if len(data) > limits.record_bytes:
                    yield RawRecord(place, b"", position, f"entry larger than {limits.record_bytes} bytes")
                else:
                    yield RawRecord(place, data, position)
    except _READ_ERRORS as error:
        raise FeedError(f"{feed.name}: broken archive: {error}") from error


_PEEK_LINES = 20


def _recognise(path: Path, name: str, limits: Limits) -> FeedKind | None:
    try:
        with path.open("rb") as file:
            if file.read(4) == _ZIP:
                return FeedKind.OSV_ARCHIVE
    except OSError as error:
        raise FeedError(f"{name}: {error.strerror}") from error
    probe = FeedFile(path, name, FeedKind.OSV_LINES, path.stat().st_size)
    first = next(iter(_lines(probe, limits)), None)
    if first is None:
        raise FeedError(f"{name}:1: the file is empty")
    if not first.data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        return _recognise_table(probe, limits)
    return _recognise_json(probe, limits)


def _recognise_table(probe: FeedFile, limits: Limits) -> FeedKind | None:
    if ".csv" not in probe.name.lower():
        raise FeedError(f"{probe.name}:1: expected a JSON object")
    heads = [raw.data.strip().lower() for raw, _ in zip(_lines(probe, limits), range(3), strict=False)]
    return FeedKind.EPSS if any(head.startswith(b"cve,epss") for head in heads) else None


def _recognise_json(probe: FeedFile, limits: Limits) -> FeedKind | None:
    """A line a record where lines are whole JSON objects, else one document."""
    problem = ""
    whole = 0
    for raw, _ in zip(_lines(probe, limits), range(_PEEK_LINES), strict=False):
        try:
            value = parse_json(raw.data, limits)
        except ValueError as error:
            problem = problem or f"{raw.place}: {error}"
            continue
        if isinstance(value, dict):
            whole += 1
            if kind := _kind_of(value):
                # A single line may be a whole document; more are records.
                return FeedKind.OSV_LINES if kind is FeedKind.OSV_RECORD else kind
    if whole:
        return None
    try:
        value = parse_json(document(probe, limits), limits)
    except ValueError:
        raise FeedError(problem) from None
    return _kind_of(value) if isinstance(value, dict) else None


def _kind_of(value: dict[str, object]) -> FeedKind | None:
    if "vulnerabilities" in value and "catalogVersion" in value:
        return FeedKind.KEV
    if "id" in value and ("affected" in value or ("modified" in value and "summary" in value)):
        return FeedKind.OSV_RECORD
    return None
