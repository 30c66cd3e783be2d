"""The queue of trainings: one after another, and what an end of the process interrupts goes on with the next one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import Final

from securenet_core.logs import get_logger
from securenet_registry.changes import Changes, woken
from securenet_registry.ledger import Ledger, LedgerTransaction
from securenet_registry.training import records
from securenet_registry.training.execution import TrainingExecution
from securenet_registry.training.training import Training, TrainingProgress, TrainingState

_log = get_logger(__name__)

#: Begun so often without an end, a training is given up: it takes the process with it.
ATTEMPTS: Final = 3


class TrainingQueue:
    """Runs what is queued in the ledger."""

    def __init__(self, ledger: Ledger, execution: TrainingExecution, changes: Changes) -> None:
        self._ledger = ledger
        self._execution = execution
        self._changes = changes
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    async def start(self) -> None:
        """Queues again what a crash interrupted, and begins to run what is queued."""
        self._execution.clear()
        for training in await self._ledger.trainings_in([TrainingState.RUNNING]):
            await self._take_back(training, training.attempts)
        self._loop = asyncio.create_task(self._run(), name="trainings")

    async def stop(self) -> None:
        """Ends the worker; what runs is queued again, and goes on when the registry does."""
        self._stopping = True
        for task in (self._loop, *self._running.values()):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def wake(self) -> None:
        """There is something new in the queue."""
        self._wake.set()

    async def drop(self, training_id: str) -> None:
        """Ends the run of a training whose row says already that it was cancelled, if it runs."""
        task = self._running.get(training_id)
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        """Runs what is queued, one after another: a fit uses every core anyway."""
        while True:
            try:
                queued = await self._ledger.trainings_in([TrainingState.QUEUED])
            except Exception as error:  # noqa: BLE001 - the database is away: whatever it says, the queue waits for it
                _log.error("queue cannot be read", error=f"{type(error).__name__}: {error}"[:500])
                queued = []
            for training in queued:
                task = asyncio.create_task(self._train(training), name=f"training {training.id}")
                self._running[training.id] = task
                try:
                    await asyncio.wait((task,))
                finally:
                    if task.done():
                        del self._running[training.id]
                broke = None if task.cancelled() else task.exception()
                if broke is not None:
                    # Its row says RUNNING still; the next start takes it back.
                    _log.error("training could not be stored", training=training.id, exc_info=broke)
            await woken(self._wake, 60.0)

    async def _train(self, training: Training) -> None:
        try:
            await self._execution.run(training)
        except asyncio.CancelledError:
            # Cancelled by a caller, the row says so already; by the end of the process, it waits for the next one. Such
            # an interruption is no attempt that failed.
            if self._stopping:
                await self._take_back(training, training.attempts)
            raise

    async def _take_back(self, training: Training, attempts: int) -> None:
        # What was cancelled may have been committed all the same: the row decides, not what is remembered here.
        current = await self._ledger.read(training.tenant, lambda tx: records.find_training(tx, training.id))
        if current.state is not TrainingState.RUNNING:
            return
        if current.version:
            await self._execution.succeed(current)
        elif attempts >= ATTEMPTS:
            await self._give_up(current)
        else:
            await self._queue_again(replace(current, state=TrainingState.QUEUED, attempts=attempts))

    async def _give_up(self, training: Training) -> None:
        def work(tx: LedgerTransaction) -> None:
            phase = records.last_step(tx, training.id).phase
            error = f"begun {training.attempts} times without an end, the last time up to {phase}"
            failed = replace(training, state=TrainingState.FAILED, error=error, end_ns=time.time_ns())
            records.end(tx, failed, error)

        await self._ledger.run(training.tenant, work)

    async def _queue_again(self, queued: Training) -> None:
        def work(tx: LedgerTransaction) -> None:
            if records.find_training(tx, queued.id).state is not TrainingState.RUNNING:
                return
            tx.put_training(queued)
            again = TrainingProgress("queued", 0.0, 0, "interrupted; queued again", 0.0, state=TrainingState.QUEUED)
            tx.add_progress(queued.id, again)

        await self._ledger.run(queued.tenant, work)
