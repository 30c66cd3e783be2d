"""Trainings as callers see them: accepted durably, watched from any step, cancelled."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from securenet_core.exceptions import ResourceExhaustedError, UnavailableError
from securenet_core.principal import Principal
from securenet_registry import requests
from securenet_registry.catalog import find_version
from securenet_registry.changes import Changes, woken
from securenet_registry.ledger import Ledger, LedgerTransaction
from securenet_registry.model import ModelVersion
from securenet_registry.training import records
from securenet_registry.training.queue import TrainingQueue
from securenet_registry.training.recipe import TrainingSpec
from securenet_registry.training.records import find_training
from securenet_registry.training.training import ENDED, Training, TrainingProgress, TrainingState

#: Trainings of a tenant that may wait or run at once.
QUEUE: Final = 100

#: Steps that are read at once.
_STEPS: Final = 256


@dataclass(frozen=True, slots=True)
class Step:
    """A step as a watcher gets it: with the training in the first one, and wherever its state changed."""

    progress: TrainingProgress
    training: Training | None
    version: ModelVersion | None


class Trainings:
    """Use-cases around trainings of the caller's tenant.

    Args:
        draining: set when the process ends; watchers are let go.
    """

    def __init__(self, ledger: Ledger, queue: TrainingQueue, changes: Changes, draining: asyncio.Event) -> None:
        self._ledger = ledger
        self._queue = queue
        self._changes = changes
        self._draining = draining

    async def train(self, who: Principal, spec: TrainingSpec, request_id: str) -> AsyncIterator[Step]:
        """Stores a training and watches it from its first step. A repeated call joins the first's where it is now.

        Raises:
            ResourceExhaustedError: too many are waiting.
        """
        training, new = await self.submit(who, spec, request_id)
        async for step in self.watch(who, training.id, 1 if new else 0):
            yield step

    async def submit(self, who: Principal, spec: TrainingSpec, request_id: str) -> tuple[Training, bool]:
        """Stores a training; it is durable when this answers, and runs when its turn comes.

        Returns:
            The training, and whether it is new: a repeated call answers the first's.

        Raises:
            ResourceExhaustedError: too many are waiting.
            NotFoundError: the version to adapt is not there.
        """
        now = time.time_ns()

        def known(tx: LedgerTransaction) -> Training | None:
            answer = requests.remembered(tx, "TrainModel", request_id, spec.document())
            return None if answer is None else find_training(tx, str(answer["training"]))

        def work(tx: LedgerTransaction) -> tuple[Training, bool]:
            earlier = known(tx)
            if earlier is not None:
                return earlier, False
            if spec.base:
                find_version(tx, spec.base_reference())
            training = Training(uuid.uuid4().hex, who.tenant, spec, TrainingState.QUEUED, who.subject, now)
            tx.put_training(training)
            queued = replace(records.last_step(tx, training.id), state=TrainingState.QUEUED)
            tx.add_progress(training.id, queued)
            detail = {"training": training.resource, "spec": spec.document()}
            tx.append_audit(who.subject, "train", f"models/{spec.model}", detail, now)
            requests.remember(tx, "TrainModel", request_id, spec.document(), now, training=training.id)
            return training, True

        # To join what is there already takes no place in the queue.
        earlier = await self._ledger.read(who.tenant, known)
        if earlier is not None:
            return earlier, False
        waiting = await self._ledger.trainings_in([TrainingState.QUEUED, TrainingState.RUNNING])
        if sum(1 for other in waiting if other.tenant == who.tenant) >= QUEUE:
            raise ResourceExhaustedError(f"{QUEUE} trainings wait already", reason="QUEUE_FULL", retry_after=60.0)
        answer = await self._ledger.run(who.tenant, work)
        self._queue.wake()
        return answer

    async def training(self, who: Principal, training_id: str) -> Training:
        """A training.

        Raises:
            NotFoundError: there is none.
        """
        return await self._ledger.read(who.tenant, lambda tx: find_training(tx, training_id))

    async def watch(self, who: Principal, training_id: str, from_seq: int) -> AsyncIterator[Step]:
        """Steps until the training has ended.

        Args:
            from_seq: first step; 1 is the beginning, 0 the present state: the latest step and what follows.

        Raises:
            NotFoundError: there is no such training.
            UnavailableError: the process ends; watch again elsewhere or later.
        """
        seq = min(max(from_seq, 0), 1 << 62)
        first = True
        with self._changes.subscribe(("training", training_id)) as changed:
            while True:
                look = partial(_look, training_id=training_id, from_seq=seq)
                training, steps = await self._ledger.read(who.tenant, look)
                for progress in steps:
                    seq = progress.seq + 1
                    told = first or progress.state is not None
                    first = False
                    yield await self._step(who, progress, training if told else None)
                if not steps and training.state in ENDED:
                    return
                if not steps and self._draining.is_set():
                    raise UnavailableError(
                        "the registry is draining; WatchTraining goes on", reason="DRAINING", retry_after=1.0
                    )
                if not steps:
                    await woken(changed, 1.0)

    async def cancel(self, who: Principal, training_id: str) -> Training:
        """Ends a training; one that has ended stays as it is."""
        now = time.time_ns()

        def work(tx: LedgerTransaction) -> Training:
            training = find_training(tx, training_id)
            if training.state in ENDED or training.version:
                return training
            cancelled = replace(training, state=TrainingState.CANCELLED, end_ns=now)
            records.end(tx, cancelled, f"cancelled by {who.subject}")
            tx.append_audit(who.subject, "cancel-training", training.resource, {}, now)
            return cancelled

        training = await self._ledger.run(who.tenant, work)
        if training.state is TrainingState.CANCELLED:
            await self._queue.drop(training_id)
        self._changes.notify(("training", training_id))
        return training

    async def _step(self, who: Principal, progress: TrainingProgress, training: Training | None) -> Step:
        version = None
        if training is not None:
            # The step tells the state as it was then, not as it is now; one that changed nothing was said of a run.
            then = progress.state or TrainingState.RUNNING
            if then not in ENDED:
                training = replace(training, state=then, error="", end_ns=0, version=0)
            elif training.version:
                number = training.version
                model = training.spec.model
                version = await self._ledger.read(who.tenant, lambda tx: tx.version(model, number))
        return Step(progress, training, version)


def _look(tx: LedgerTransaction, training_id: str, from_seq: int) -> tuple[Training, Sequence[TrainingProgress]]:
    training = find_training(tx, training_id)
    return training, tx.progress(training_id, from_seq or records.last_step(tx, training_id).seq, _STEPS)
