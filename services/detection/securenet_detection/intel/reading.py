"""Reads an upload: a large one in a process of its own.

Parsers of JSON and of lines keep the interpreter for as long as they read, seconds for some feeds, and calls would wait
for it. What is read comes back as a file of columns, which are taken in without a look at each of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from securenet_core.exceptions import InvalidArgumentError
from securenet_detection.intel.columns import Columns, FeedTooLargeError, Rejection
from securenet_detection.intel.feeds import DEFAULT_CONFIDENCE, Document, Feed, FeedHeader, Limits, read_feed
from securenet_detection.intel.indicator_set import IndicatorSet, read_set, write_set
from securenet_detection.intel.indicators import IndicatorKind
from securenet_detection.intel.tables import Tables

#: Bytes that are read in a thread: some milliseconds. What is packed may be any size, and never is.
IN_THREAD: Final = 256 << 10
_GZIP: Final = b"\x1f\x8b"

#: In the folder that is shared with the process.
REQUEST: Final = "request.json"
ANSWER: Final = "answer.json"
_RESULT: Final = "feed.intel"

#: What the process takes from the environment.
_KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "NUMBA_CACHE_DIR")


@dataclass(frozen=True, slots=True, eq=False)
class ReadFeed:
    """A feed as it was read: what is known of it, its indicators without duplicates, and what could not be used."""

    feed: Feed
    columns: Columns
    rejections: tuple[Rejection, ...]


async def read_upload(upload: IO[bytes], header: FeedHeader, limits: Limits, *, digest: str, now: int) -> ReadFeed:
    """Reads a file from its start.

    Args:
        digest: of the file. now: seconds since the epoch.

    Raises:
        FeedTooLargeError: it passes a bound.
        InvalidArgumentError: its reader came to harm.
    """
    upload.seek(0)
    start = await asyncio.to_thread(upload.read, IN_THREAD + 1)
    if len(start) <= IN_THREAD and not start.startswith(_GZIP):
        return await asyncio.to_thread(read_content, start, header, limits, digest=digest, now=now)
    # The process has the file's own position, of which Python's may be some bytes ahead.
    os.lseek(upload.fileno(), 0, os.SEEK_SET)
    with tempfile.TemporaryDirectory(prefix="securenet-feed-") as name:
        folder = Path(name)
        request = {"header": asdict(header), "limits": asdict(limits), "digest": digest, "now": now}
        (folder / REQUEST).write_text(json.dumps(request), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-m", "securenet_detection.intel.reader", name,
            stdin=upload, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            env={key: os.environ[key] for key in _KEPT if key in os.environ},
        )  # fmt: skip
        try:
            code = await process.wait()
        finally:
            # The caller went away: nobody waits for what it reads.
            if process.returncode is None:
                process.kill()
                await process.wait()
            # It moved the file's position, which Python's own idea of it would contradict.
            upload.seek(0)
        if code:
            raise InvalidArgumentError.of("chunk", f"its reader ended with {code}: it is larger than can be read here")
        return await asyncio.to_thread(_taken, folder, limits)


def _taken(folder: Path, limits: Limits) -> ReadFeed:
    answer = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
    if answer["too_large"]:
        raise FeedTooLargeError(answer["too_large"])
    stored = read_set(folder / _RESULT, max_indicators=limits.max_indicators)
    rejections = tuple(Rejection(**rejection) for rejection in answer["rejections"])
    return ReadFeed(stored.feeds[0], stored.columns, rejections)


def answer(folder: Path, request: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    """What the process answers; what it read stands in the folder."""
    kind = request["header"]["kind"]
    header = FeedHeader(**{**request["header"], "kind": None if kind is None else IndicatorKind(kind)})
    try:
        found = read_content(content, header, Limits(**request["limits"]), digest=request["digest"], now=request["now"])
    except FeedTooLargeError as error:
        return {"too_large": str(error), "rejections": []}
    write_set(IndicatorSet("", 0, (found.feed,), found.columns), folder / _RESULT)
    return {"too_large": "", "rejections": [asdict(rejection) for rejection in found.rejections]}


def read_content(content: bytes, header: FeedHeader, limits: Limits, *, digest: str, now: int) -> ReadFeed:
    """Reads a feed; entries that it has more than once are counted once.

    Raises:
        FeedTooLargeError: it passes a bound.
    """
    document = read_feed(content, header, limits)
    columns = document.columns
    tables = Tables.build(columns, np.zeros(len(columns), np.uint16), secrets.randbits(63))
    duplicates = int(tables.duplicate.sum())
    columns = replace(columns, confidence=tables.confidence, since=tables.since, until=tables.until)
    columns = columns.where(~tables.duplicate) if duplicates else columns
    return ReadFeed(_feed(header, document, columns, digest, duplicates, now), columns, document.rejections)


def _feed(  # noqa: PLR0917 - everything that a feed consists of
    header: FeedHeader, document: Document, columns: Columns, digest: str, duplicates: int, now: int
) -> Feed:
    kinds, counts = np.unique(columns.kind, return_counts=True)
    return Feed(
        name=header.name,
        format=document.format,
        digest=digest,
        warning_list=header.warning_list,
        confidence=DEFAULT_CONFIDENCE if header.confidence is None else header.confidence,
        licence=document.licence,
        source=header.source,
        data_time=document.data_time,
        import_time=now,
        count=len(columns),
        duplicates=duplicates,
        rejected=document.rejected,
        ignored=document.ignored,
        kinds=dict(zip(kinds.tolist(), counts.tolist(), strict=True)),
        techniques=document.techniques,
        labels=document.labels,
    )
