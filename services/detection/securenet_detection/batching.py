"""Joins concurrent unary calls into one batch, without making a lonely caller wait.

A call that comes alone leaves at once, at the end of the event loop's turn. When a batch leaves with two or more calls
in it, others are likely on their way, so the next batch waits a short window for them. A window that collects fewer
than pay for the wait closes, and each time it proves useless it stays closed for longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Fewer calls than this do not pay for a window.
_PAYS: Final = 8

#: For so many batches a useless window stays closed, at first and at most.
_SHORTEST_PENALTY: Final = 16
_LONGEST_PENALTY: Final = 4096


class Batcher(Generic[Item, Result]):
    """For one event loop.

    Args:
        score: answers a batch, a result an item; runs inline.
        limit: most items of a batch.
        window: longest wait, seconds.
    """

    def __init__(self, score: Callable[[Sequence[Item]], Sequence[Result]], *, limit: int, window: float) -> None:
        self._score = score
        self._limit = limit
        self._window = window
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._timer: asyncio.Handle | None = None
        self._open = False
        self._closed_for = 0
        self._penalty = _SHORTEST_PENALTY

    @property
    def window_open(self) -> bool:
        """Whether the next batch waits for others."""
        return self._open

    async def submit(self, item: Item) -> Result:
        """The item's result, once its batch was scored."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, answer))
        if len(self._waiting) >= self._limit:
            self._flush()
        elif self._timer is None:
            wait = self._open and self._window > 0
            self._timer = loop.call_later(self._window, self._flush) if wait else loop.call_soon(self._flush)
        return await answer

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = [(item, answer) for item, answer in self._waiting if not answer.cancelled()]
        self._waiting = []
        if not batch:
            return
        self._adapt(len(batch))
        try:
            results = self._score([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - every caller of the batch must hear of it
            for _, answer in batch:
                answer.set_exception(error)
            return
        for (_, answer), result in zip(batch, results, strict=True):
            answer.set_result(result)

    def _adapt(self, size: int) -> None:
        if self._open:
            if size >= min(_PAYS, self._limit):
                self._penalty = max(self._penalty // 2, _SHORTEST_PENALTY)
            else:
                self._open = False
                self._closed_for = self._penalty
                self._penalty = min(self._penalty * 2, _LONGEST_PENALTY)
        elif self._closed_for > 0:
            self._closed_for -= 1
        elif size >= 2:
            self._open = True
