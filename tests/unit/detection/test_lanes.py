"""Answers come in the order of the requests, whichever lane gives them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from securenet_detection.lanes import by_lane

pytestmark = pytest.mark.unit


class Lanes:
    """Lanes that say what they were asked; lane 1 is slower than the others."""

    def __init__(self, *, failing: int | None = None) -> None:
        self.opened: list[Any] = []
        self.ended: list[Any] = []
        self._failing = failing

    async def open(self, key: Any, requests: AsyncIterator[int]) -> AsyncGenerator[str, None]:
        self.opened.append(key)
        try:
            async for request in requests:
                for _ in range(5 if key == 1 else 0):
                    await asyncio.sleep(0)
                if request == self._failing:
                    raise ValueError(str(request))
                yield f"{key}:{request}"
        finally:
            self.ended.append(key)


async def collect(answers: AsyncIterator[str], into: list[str]) -> None:
    async for answer in answers:
        into.append(answer)  # noqa: PERF401 - what came before an error counts


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def test_order_is_that_of_the_requests_and_every_lane_ends() -> None:
    lanes = Lanes()
    answers = [one async for one in by_lane(numbers(20), lambda n: n % 3, lanes.open, window=4)]
    assert answers == [f"{n % 3}:{n}" for n in range(20)]
    assert sorted(lanes.opened) == sorted(lanes.ended) == [0, 1, 2]


async def test_what_a_lane_raises_comes_after_the_answers_before_it() -> None:
    lanes, answers = Lanes(failing=4), list[str]()
    with pytest.raises(ValueError, match="4"):
        await collect(by_lane(numbers(20), lambda n: n % 3, lanes.open, window=4), answers)
    assert answers == [f"{n % 3}:{n}" for n in range(4)]
    assert sorted(lanes.ended) == sorted(lanes.opened)


async def test_what_reading_raises_comes_after_the_answers_before_it() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 0
        raise KeyError("torn")

    answers = list[str]()
    with pytest.raises(KeyError, match="torn"):
        await collect(by_lane(broken(), lambda n: n, Lanes().open, window=4), answers)
    assert answers == ["0:0"]


async def test_who_leaves_early_ends_the_lanes_and_no_more_is_read_than_the_window() -> None:
    lanes, read = Lanes(), []

    async def watched() -> AsyncIterator[int]:
        async for number in numbers(100):
            read.append(number)
            yield number

    async with aclosing(by_lane(watched(), lambda n: n % 2, lanes.open, window=3)) as answers:
        assert await anext(answers) == "0:0"
        for _ in range(50):
            await asyncio.sleep(0)
    assert len(read) <= 6
    assert sorted(lanes.ended) == sorted(lanes.opened)
