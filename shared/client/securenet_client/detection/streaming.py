"""Batches through AnalyzeStream with a bounded number in flight, so that reading, sending and scoring overlap."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Iterator
from typing import Any, Final

from securenet_client.detection.convert import Verdicts, stream_request, unpack_verdicts
from securenet_core.exceptions import DataLossError
from securenet_flows.batch import FlowBatch

#: Rows of one message.
ROWS: Final = 4096
#: Messages that may be on their way or being scored.
IN_FLIGHT: Final = 8


class BatchSender:
    """The sending side of one stream; gRPC iterates over it in a thread of its own."""

    def __init__(
        self, batches: Iterable[FlowBatch], options: Any, rows: int = ROWS, in_flight: int = IN_FLIGHT
    ) -> None:
        self._batches = batches
        self._options = options
        self._rows = rows
        self._slots = threading.Semaphore(in_flight)
        self._pending: deque[FlowBatch] = deque()
        self._stopped = threading.Event()
        #: What the source raised; gRPC would only log it.
        self.failure: BaseException | None = None

    def requests(self) -> Iterator[Any]:
        """The messages to send."""
        sequence = 0
        try:
            for batch in self._batches:
                for part in batch.split(self._rows):
                    self._slots.acquire()
                    if self._stopped.is_set():
                        return
                    self._pending.append(part)
                    yield stream_request(sequence, part, self._options)
                    sequence += 1
        except BaseException as error:  # noqa: BLE001 - raised again where the answers are read
            self.failure = error

    def pair(self, responses: Iterable[Any]) -> Generator[tuple[FlowBatch, Verdicts], None, None]:
        """Each batch with its verdicts. Ends the sending side when it is left."""
        expected = 0
        try:
            for response in responses:
                if response.sequence != expected or not self._pending:
                    raise DataLossError(f"stream: sequence {response.sequence} came; expected {expected}")
                expected += 1
                batch, verdicts = self._pending.popleft(), unpack_verdicts(response.verdicts)
                self._slots.release()
                yield _checked(batch, verdicts)
            if self.failure is not None:
                raise self.failure
            if self._pending:
                raise DataLossError(f"stream: it ended with {len(self._pending)} batches unanswered")
        finally:
            self._stopped.set()
            self._slots.release()


class AsyncBatchSender:
    """The same for asyncio."""

    def __init__(
        self,
        batches: Iterable[FlowBatch] | AsyncIterable[FlowBatch],
        options: Any,
        rows: int = ROWS,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        self._batches = batches
        self._options = options
        self._rows = rows
        self._slots = asyncio.Semaphore(in_flight)
        self._pending: deque[FlowBatch] = deque()
        self._failure: Exception | None = None

    async def requests(self) -> AsyncIterator[Any]:
        """The messages to send."""
        sequence = 0
        try:
            async for batch in _asynchronous(self._batches):
                for part in batch.split(self._rows):
                    await self._slots.acquire()
                    self._pending.append(part)
                    yield stream_request(sequence, part, self._options)
                    sequence += 1
        except Exception as error:  # noqa: BLE001 - raised again where the answers are read
            self._failure = error

    async def pair(self, responses: AsyncIterator[Any]) -> AsyncIterator[tuple[FlowBatch, Verdicts]]:
        """Each batch with its verdicts."""
        async for response in responses:
            batch, verdicts = self._pending.popleft(), unpack_verdicts(response.verdicts)
            self._slots.release()
            yield _checked(batch, verdicts)
        if self._failure is not None:
            raise self._failure


def _checked(batch: FlowBatch, verdicts: Verdicts) -> tuple[FlowBatch, Verdicts]:
    if len(verdicts) != len(batch) or len(verdicts.score) != len(batch):
        raise DataLossError(f"stream: {len(verdicts)} verdicts came for {len(batch)} flows")
    return batch, verdicts


async def _asynchronous(batches: Iterable[FlowBatch] | AsyncIterable[FlowBatch]) -> AsyncIterator[FlowBatch]:
    if isinstance(batches, AsyncIterable):
        async for batch in batches:
            yield batch
    else:
        for batch in batches:
            yield batch
            await asyncio.sleep(0)
