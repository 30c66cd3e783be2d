"""Joins concurrent unary calls into one batch, without making a lonely caller wait.

A call that comes alone leaves at once, at the end of the event loop's turn. gRPC hands over one call a turn or two, so
calls that wait in its queues are not seen in that turn: once two came together, the next batch stays open until as many
wait as were answered last time, for those who got an answer ask again. Every so often it stays open for twice as many,
to learn of more callers. A batch that stayed open for nobody closes the door; now and then one looks whether the others
are back, ever more seldom while they are not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Longest wait for each call that is expected, seconds: a few times what it costs to take one and to send its answer.
_EACH_SECONDS: Final = 0.001

#: Batches after which one is held open for twice as many, at first and at most: ever more seldom while no more come.
_LEARN_SOON: Final = 4
_LEARN_LATE: Final = 32

#: Calls in a row that came alone before one stays open to look for others, at first and at most. One in so many waits
#: two milliseconds for nothing: fewer than one in a hundred, so that it does not show in the 99th percentile.
_SHORTEST_PATIENCE: Final = 16
_LONGEST_PATIENCE: Final = 128


class Batcher(Generic[Item, Result]):
    """For one event loop.

    Args:
        score: answers a batch, a result an item; runs inline.
        limit: most items of a batch.
        window: longest that a batch stays open, seconds.
    """

    def __init__(self, score: Callable[[Sequence[Item]], Sequence[Result]], *, limit: int, window: float) -> None:
        self._score = score
        self._limit = limit
        self._window = window
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._timer: asyncio.Handle | None = None
        self._open = False
        self._alone = 0
        self._patience = _SHORTEST_PATIENCE
        self._expected = 2
        self._learning = False
        self._learn_in = 0
        self._learn_after = _LEARN_SOON
        self._leaving = False

    @property
    def window_open(self) -> bool:
        """Whether the next batch waits for others."""
        return self._open

    async def submit(self, item: Item) -> Result:
        """The item's result, once its batch was scored."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, answer))
        count = len(self._waiting)
        if count >= self._limit:
            self._flush()
        elif self._timer is None:
            self._leaving = not self._open or self._window <= 0
            self._timer = (
                loop.call_soon(self._flush)
                if self._leaving
                else loop.call_later(min(self._expected * _EACH_SECONDS, self._window), self._flush)
            )
        elif count >= self._expected and not self._leaving:
            self._timer.cancel()
            self._leaving = True
            # Others may come in the same turn.
            self._timer = loop.call_soon(self._flush)
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
        if not self._open:
            self._alone = self._alone + 1 if size == 1 else 0
            self._open = size > 1 or self._alone >= self._patience
            self._expect(size, learn=size > 1)
        elif size == 1 and self._expected == 2:
            self._open, self._alone, self._patience = False, 0, min(self._patience * 2, _LONGEST_PATIENCE)
        elif self._learning:
            # What was learnt may be doubled again at once.
            learnt = size >= self._expected
            self._learn_after = _LEARN_SOON if learnt else min(self._learn_after * 2, _LEARN_LATE)
            self._expect(size, learn=learnt)
        else:
            self._learn_in -= 1
            if size < self._expected:
                # A pause of the machine makes a batch small and does not mean that the others are gone: look soon.
                self._learn_after = _LEARN_SOON
                self._learn_in = min(self._learn_in, _LEARN_SOON)
            self._expect(max(size, self._expected * 3 // 4), learn=self._learn_in <= 0)

    def _expect(self, size: int, *, learn: bool) -> None:
        if size > 1:
            self._patience = _SHORTEST_PATIENCE
        self._learning = learn
        self._expected = max(2, min(size * (2 if learn else 1), self._limit))
        if learn:
            self._learn_in = self._learn_after
