"""Dynamic batching: nobody waits alone, everybody shares under load."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from securenet_detection.batching import Batcher

pytestmark = pytest.mark.unit


class Scorer:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, items: Any) -> Any:
        self.sizes.append(len(items))
        return [item * 2 for item in items]


async def test_a_call_alone_leaves_within_the_turn() -> None:
    scorer = Scorer()
    batcher = Batcher(scorer, limit=64, window=3600.0)
    for item in range(20):
        assert await batcher.submit(item) == item * 2
    assert scorer.sizes == [1] * 20


async def test_calls_of_one_turn_share_a_batch_in_their_order() -> None:
    scorer = Scorer()
    batcher = Batcher(scorer, limit=64, window=0.001)
    assert await asyncio.gather(*(batcher.submit(item) for item in range(10))) == [item * 2 for item in range(10)]
    assert scorer.sizes == [10]
    assert batcher.window_open


async def test_a_full_batch_leaves_before_its_window_ends() -> None:
    scorer = Scorer()
    batcher = Batcher(scorer, limit=8, window=3600.0)
    await asyncio.gather(*(batcher.submit(item) for item in range(16)))
    assert scorer.sizes == [8, 8]


async def test_a_window_that_finds_nobody_closes() -> None:
    scorer = Scorer()
    batcher = Batcher(scorer, limit=64, window=0.0005)
    await asyncio.gather(batcher.submit(1), batcher.submit(2))
    assert batcher.window_open
    for item in range(20):
        await batcher.submit(item)
        if not batcher.window_open:
            break
    assert not batcher.window_open


async def test_a_batch_stays_open_for_as_many_as_were_answered() -> None:
    scorer = Scorer()
    batcher = Batcher(scorer, limit=64, window=3600.0)

    async def caller(number: int) -> None:
        for _ in range(12):
            # Callers come one after the other, as gRPC hands them over.
            for _ in range(number):
                await asyncio.sleep(0)
            await batcher.submit(number)

    running = [asyncio.ensure_future(caller(number)) for number in range(8)]
    await asyncio.wait(running, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    for one in running:
        one.cancel()
    assert max(scorer.sizes) == 8


async def test_who_is_alone_looks_for_others_now_and_then() -> None:
    scorer = Scorer()
    batcher = Batcher(scorer, limit=64, window=0.0005)
    opened = 0
    for item in range(100):
        await batcher.submit(item)
        opened += batcher.window_open
    assert 1 <= opened <= 6
    assert scorer.sizes == [1] * 100


async def test_an_error_reaches_every_caller_and_the_next_batch_is_fine() -> None:
    def score(items: Any) -> Any:
        if 0 in items:
            raise ValueError("zero")
        return items

    batcher = Batcher(score, limit=8, window=0.0)
    results = await asyncio.gather(batcher.submit(0), batcher.submit(1), return_exceptions=True)
    assert all(isinstance(result, ValueError) for result in results)
    assert await batcher.submit(2) == 2


async def test_a_caller_that_went_away_is_left_out() -> None:
    scorer = Scorer()
    batcher = Batcher(scorer, limit=8, window=0.0)
    gone = asyncio.ensure_future(batcher.submit(1))
    stays = asyncio.ensure_future(batcher.submit(2))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == 4
