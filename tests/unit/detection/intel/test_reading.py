"""Uploads: a large one is read by a process of its own, to the same result."""

from __future__ import annotations

import asyncio
import gzip
import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from securenet_core.exceptions import InvalidArgumentError
from securenet_detection.intel.columns import DTYPES, FeedTooLargeError
from securenet_detection.intel.feeds import FeedHeader, Limits
from securenet_detection.intel.indicators import IndicatorKind
from securenet_detection.intel.reading import IN_THREAD, ReadFeed, read_content, read_upload

pytestmark = pytest.mark.unit

LIMITS = Limits(1 << 24, 1 << 24, 100_000)
HEADER = FeedHeader("blocks", kind=IndicatorKind.DOMAIN, confidence=70, source="unit", licence="none")
LINES = "\n".join(["not an indicator!", *(f"host{i % 15_000}.example.com" for i in range(20_000))]).encode()
STIX = json.dumps(
    {
        "type": "bundle",
        "objects": [
            {"type": "indicator", "id": f"indicator--{i}", "pattern_type": "stix", "labels": ["c2"],
             "valid_from": "2026-01-01T00:00:00Z", "pattern": f"[ipv4-addr:value = '198.51.{i >> 8}.{i & 255}']"}
            for i in range(2000)
        ],
    }
).encode()  # fmt: skip


@pytest.fixture
def read_here() -> Iterator[list[str]]:
    """Threads of this process in which a feed was read; those that begin from now on are watched."""
    found: list[str] = []

    def watch(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code.co_name == "read_feed":
            found.append(threading.current_thread().name)

    threading.setprofile(watch)
    yield found
    threading.setprofile(None)


async def read(content: bytes, limits: Limits = LIMITS, header: FeedHeader = HEADER) -> ReadFeed:
    with tempfile.TemporaryFile() as upload:
        upload.write(content)
        return await read_upload(upload, header, limits, digest="d" * 64, now=5)


@pytest.mark.parametrize("content", [LINES, gzip.compress(LINES[:5000]), STIX], ids=["list", "packed", "stix"])
async def test_a_process_of_its_own_reads_the_same(content: bytes, read_here: list[str]) -> None:
    far = await read(content)
    assert read_here == []
    near = read_content(content, HEADER, LIMITS, digest="d" * 64, now=5)
    assert (far.feed, far.rejections) == (near.feed, near.rejections)
    for name in DTYPES:
        np.testing.assert_array_equal(getattr(far.columns, name), getattr(near.columns, name))


async def test_a_small_one_is_read_in_a_thread(read_here: list[str]) -> None:
    found = await read(b"a.example.com\nb.example.com\na.example.com\n")
    assert len(read_here) == 1
    assert (found.feed.count, found.feed.duplicates, len(found.columns)) == (2, 1, 2)


async def test_a_bound_is_kept_there_as_well() -> None:
    with pytest.raises(FeedTooLargeError, match="1,000"):
        await read(LINES, Limits(1 << 24, 1 << 24, 1000))
    with pytest.raises(FeedTooLargeError, match="unpacked"):
        await read(gzip.compress(bytes(1 << 20)), Limits(IN_THREAD, IN_THREAD, 1000))


async def test_a_reader_that_came_to_harm_is_an_error_of_the_feed() -> None:
    # A bound that is none ends the reader, as memory that it does not get would.
    with pytest.raises(InvalidArgumentError, match="reader ended with"):
        await read(LINES, Limits(1 << 24, 1 << 24, None))  # type: ignore[arg-type]


def readers() -> list[str]:
    """Processes that read feeds for this one."""
    found = []
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            command = Path(f"/proc/{child}/cmdline")
            if command.exists() and b"intel.reader" in command.read_bytes():
                found.append(child)
    return found


async def test_a_reader_ends_with_the_call_that_wanted_it() -> None:
    reading = asyncio.create_task(read(LINES))
    async with asyncio.timeout(30):
        while not readers():  # noqa: ASYNC110 - nobody tells of a process that begins
            await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert readers() == []
