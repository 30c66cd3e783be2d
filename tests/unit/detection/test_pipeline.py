"""The order of a stream's answers, its bound, and where its errors come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from securenet_detection.pipeline import Prepared, in_order

pytestmark = pytest.mark.unit


class Source:
    """Numbers, and how many were read."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[int]:
        for number in range(self.count):
            self.taken += 1
            yield number


async def test_answers_come_in_order_however_long_each_waits() -> None:
    async def prepare(number: int) -> Prepared[int]:
        return number, asyncio.create_task(asyncio.sleep(0.001 * (5 - number % 5)))

    assert [answer async for answer in in_order(aiter(Source(20)), prepare, window=4)] == list(range(20))


async def test_requests_are_read_no_further_than_the_window() -> None:
    source = Source(100)

    async def prepare(number: int) -> Prepared[int]:
        return number, None

    answers = in_order(aiter(source), prepare, window=3)
    assert await anext(answers) == 0
    for _ in range(50):
        await asyncio.sleep(0)
    # One was taken, three wait, one is held by the feeder.
    assert source.taken == 5
    await answers.aclose()


async def test_an_error_comes_after_what_was_prepared_before_it() -> None:
    async def prepare(number: int) -> Prepared[int]:
        if number == 3:
            raise ValueError("three")
        return number, None

    answers = in_order(aiter(Source(10)), prepare, window=2)
    assert [await anext(answers) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        await anext(answers)


async def test_an_answer_does_not_leave_when_what_it_waits_for_failed() -> None:
    async def fail() -> None:
        raise OSError("disk full")

    async def prepare(number: int) -> Prepared[int]:
        return number, asyncio.create_task(fail())

    with pytest.raises(OSError, match="disk full"):
        await anext(in_order(aiter(Source(1)), prepare, window=2))
