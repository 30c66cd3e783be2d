"""Trainings: accepted durably, run one after another, watched from any step, cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from securenet_core.exceptions import NotFoundError, ResourceExhaustedError, SecurenetError, UnavailableError
from securenet_core.logs import get_logger
from securenet_core.principal import Principal
from securenet_registry import requests
from securenet_registry.changes import Changes, woken
from securenet_registry.ledger import Ledger, LedgerTransaction
from securenet_registry.mirror import Mirror
from securenet_registry.model import ArtifactFormat, ModelVersion
from securenet_registry.registration import Draft, Registrar
from securenet_registry.training.dataset import Limits
from securenet_registry.training.evaluation import Metric
from securenet_registry.training.process import TrainingWorker
from securenet_registry.training.recipe import TrainingSpec
from securenet_registry.training.training import ENDED, Training, TrainingProgress, TrainingState

_log = get_logger(__name__)

#: Trainings of a tenant that may wait or run at once.
QUEUE: Final = 100

#: Begun so often without an end, a training is given up: it takes the process with it.
ATTEMPTS: Final = 3

#: Seconds that the end of a training waits for MLflow; the version is committed before.
MIRROR_SECONDS: Final = 60.0

_STEPS: Final = 256


@dataclass(frozen=True, slots=True)
class Step:
    """A step as a watcher gets it: with the training where it matters."""

    progress: TrainingProgress
    training: Training | None
    version: ModelVersion | None


class Trainings:
    """Use-cases around trainings, and the loop that runs them.

    Args:
        folder: where jobs lie while they run.
        limits: what a job may read.
        draining: set when the process ends; watchers are let go.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        registrar: Registrar,
        worker: TrainingWorker,
        mirror: Mirror,
        changes: Changes,
        folder: Path,
        limits: Limits,
        draining: asyncio.Event,
    ) -> None:
        self._ledger = ledger
        self._registrar = registrar
        self._worker = worker
        self._mirror = mirror
        self._changes = changes
        self._folder = folder
        self._limits = limits
        self._draining = draining
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._running: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Queues again what a crash interrupted, and begins to run what is queued."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, mode=0o700)
        for training in await self._ledger.trainings_in([TrainingState.RUNNING]):
            await self._requeue(training)
        self._loop = asyncio.create_task(self._run(), name="trainings")

    async def stop(self) -> None:
        """Ends the worker; what runs is queued again, and goes on when the registry does."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
        for task in list(self._running.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def submit(self, who: Principal, spec: TrainingSpec, request_id: str) -> Training:
        """Stores a training; it is durable when this answers, and runs when its turn comes.

        Raises:
            ResourceExhaustedError: too many are waiting.
        """
        now = time.time_ns()

        def work(tx: LedgerTransaction) -> Training:
            answer = requests.remembered(tx, "TrainModel", request_id, spec.document())
            if answer is not None:
                return find_training(tx, str(answer["training"]))
            training = Training(uuid.uuid4().hex, who.tenant, spec, TrainingState.QUEUED, who.subject, now)
            tx.put_training(training)
            queued = TrainingProgress("queued", 0.0, 0, "waits for its turn", 0.0, state=TrainingState.QUEUED)
            tx.add_progress(training.id, queued)
            detail = {"training": training.resource, "spec": spec.document()}
            tx.append_audit(who.subject, "train", f"models/{spec.model}", detail, now)
            requests.remember(tx, "TrainModel", request_id, spec.document(), now, training=training.id)
            return training

        waiting = await self._ledger.trainings_in([TrainingState.QUEUED, TrainingState.RUNNING])
        if sum(1 for other in waiting if other.tenant == who.tenant) >= QUEUE:
            raise ResourceExhaustedError(f"{QUEUE} trainings wait already", reason="QUEUE_FULL", retry_after=60.0)
        training = await self._ledger.run(who.tenant, work)
        self._wake.set()
        return training

    async def training(self, who: Principal, training_id: str) -> Training:
        """A training.

        Raises:
            NotFoundError: there is none.
        """
        return await self._ledger.read(who.tenant, lambda tx: find_training(tx, training_id))

    async def watch(self, who: Principal, training_id: str, from_seq: int) -> AsyncIterator[Step]:
        """Steps from a number on, until the training has ended.

        Raises:
            NotFoundError: there is no such training.
            UnavailableError: the process ends; watch again elsewhere or later.
        """
        seq = min(max(from_seq, 1), 1 << 62)
        with self._changes.subscribe(("training", training_id)) as changed:
            while True:
                look = partial(_look, training_id=training_id, from_seq=seq)
                training, steps = await self._ledger.read(who.tenant, look)
                for progress in steps:
                    seq = progress.seq + 1
                    told = progress.seq == 1 or progress.state is not None
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
            tx.put_training(cancelled)
            tx.add_progress(training_id, _ending(cancelled, "cancelled", f"cancelled by {who.subject}"))
            tx.append_audit(who.subject, "cancel-training", training.resource, {}, now)
            return cancelled

        training = await self._ledger.run(who.tenant, work)
        task = self._running.get(training_id)
        if training.state is TrainingState.CANCELLED and task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._changes.notify(("training", training_id))
        return training

    async def _step(self, who: Principal, progress: TrainingProgress, training: Training | None) -> Step:
        version = None
        if training is not None:
            # The step tells the state as it was then, not as it is now.
            if progress.state is not None and progress.state not in ENDED:
                training = replace(training, state=progress.state, error="", end_ns=0, version=0)
            elif training.version:
                number = training.version
                model = training.spec.model
                version = await self._ledger.read(who.tenant, lambda tx: tx.version(model, number))
        return Step(progress, training, version)

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
            await woken(self._wake, 60.0)

    async def _train(self, training: Training) -> None:
        folder = self._folder / training.id
        running = replace(
            training, state=TrainingState.RUNNING, start_ns=time.time_ns(), attempts=training.attempts + 1
        )
        try:
            if not await self._begin(running):
                return
            self._mirror.prepare()
            folder.mkdir(mode=0o700)
            job = {
                "spec": training.spec.document(),
                "max_rows": self._limits.rows,
                "max_bytes": self._limits.bytes,
                "roots": [str(root) for root in self._limits.roots],
                "any_folder": self._limits.any_folder,
            }
            (folder / "job.json").write_text(json.dumps(job))
            async with contextlib.aclosing(self._worker.run(folder)) as messages:
                async for message in messages:
                    await self._hear(running, folder, message)
        except asyncio.CancelledError:
            # Cancelled by a caller, the row says so already; by the end of the process, it waits for the next one.
            if self._loop is not None and self._loop.done():
                await self._requeue(replace(running, attempts=training.attempts))
            raise
        except Exception as error:  # noqa: BLE001 - one training must not end the loop; the log gets the traceback
            _log.error("training broke", training=training.id, exc_info=error)
            said = error.message if isinstance(error, SecurenetError) else f"{type(error).__name__} while training"
            await self._end(running, TrainingState.FAILED, said)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _begin(self, running: Training) -> bool:
        def work(tx: LedgerTransaction) -> bool:
            if find_training(tx, running.id).state is not TrainingState.QUEUED:
                return False
            tx.put_training(running)
            tx.add_progress(running.id, TrainingProgress("reading", 0.0, 0, "begun", 0.0, state=TrainingState.RUNNING))
            return True

        begun = await self._ledger.run(running.tenant, work)
        self._changes.notify(("training", running.id))
        return begun

    async def _hear(self, running: Training, folder: Path, message: Mapping[str, Any]) -> None:
        match message["kind"]:
            case "progress":
                fields = {name: value for name, value in message.items() if name != "kind"}
                await self._tell(running, TrainingProgress(**{**fields, "metrics": _metrics(fields["metrics"])}))
            case "result":
                await self._register(running, folder, message)
            case "error":
                if not message["expected"]:
                    log = (folder / "worker.log").read_text(errors="replace")[-4000:]
                    _log.error("worker failed", training=running.id, said=message["message"], log=log)
                await self._end(running, TrainingState.FAILED, str(message["message"]))

    async def _register(self, running: Training, folder: Path, result: Mapping[str, Any]) -> None:
        spec = running.spec
        metrics = _metrics(result["metrics"])
        await self._tell(running, TrainingProgress("registering", 0.97, 0, "storing and signing", _elapsed(running)))
        files = {path: folder / path for path in _FILES if (folder / path).exists()}
        who = Principal(running.created_by, running.tenant, frozenset())
        draft = Draft(
            model=spec.model,
            format=ArtifactFormat.SKOPS,
            source="model.skops",
            files=files,
            metrics=metrics,
            params={
                "estimator": spec.estimator.value,
                "seed": str(spec.seed),
                **{k: str(v) for k, v in spec.params.items()},
            },
            tags=spec.tags,
            description=spec.description,
            sample_count=int(result["sample_count"]),
            details={
                **{name: result[name] for name in _DETAILS},
                "lineage": {**result["lineage"], "training": running.resource},
            },
        )

        def note(tx: LedgerTransaction, version: ModelVersion) -> None:
            # From here on a crash finishes this training instead of repeating it.
            tx.put_training(replace(running, version=version.version))

        version = await self._registrar.register(who, draft, note)
        try:
            async with asyncio.timeout(MIRROR_SECONDS):
                await self._mirror.reconcile()
        except Exception as error:  # noqa: BLE001 - the version stands; the mirror tries again by itself
            _log.warning("not mirrored yet", version=version.resource, error=f"{type(error).__name__}: {error}"[:500])
        await self._end(replace(running, version=version.version), TrainingState.SUCCEEDED, "", metrics)

    async def _tell(self, training: Training, progress: TrainingProgress) -> None:
        await self._ledger.run(training.tenant, lambda tx: tx.add_progress(training.id, progress))
        self._changes.notify(("training", training.id))

    async def _end(
        self, training: Training, state: TrainingState, error: str, metrics: tuple[Metric, ...] = ()
    ) -> None:
        ended = replace(training, state=state, error=error, end_ns=time.time_ns())
        message = error or f"registered models/{training.spec.model}/versions/{training.version}"

        def work(tx: LedgerTransaction) -> None:
            if find_training(tx, training.id).state in ENDED:
                return
            tx.put_training(ended)
            headline = tuple(metric for metric in metrics if not metric.dataset)
            tx.add_progress(training.id, replace(_ending(ended, "done", message), metrics=headline))

        await self._ledger.run(training.tenant, work)
        self._changes.notify(("training", training.id))

    async def _requeue(self, training: Training) -> None:
        if training.version:
            await self._end(training, TrainingState.SUCCEEDED, "")
        elif training.attempts >= ATTEMPTS:
            await self._end(training, TrainingState.FAILED, f"begun {training.attempts} times without an end")
        else:
            queued = replace(training, state=TrainingState.QUEUED)

            def work(tx: LedgerTransaction) -> None:
                if find_training(tx, training.id).state is not TrainingState.RUNNING:
                    return
                tx.put_training(queued)
                again = TrainingProgress("queued", 0.0, 0, "interrupted; queued again", 0.0, state=TrainingState.QUEUED)
                tx.add_progress(training.id, again)

            await self._ledger.run(training.tenant, work)


#: Files that a worker leaves and that belong to the version.
_FILES: Final = ("model.skops", "derived/model.onnx", "derived/agreement.json", "evaluation.json")

#: What a worker's result says of the version, by the manifest's names.
_DETAILS: Final = (
    "serving", "calibration", "golden", "thresholds", "runtime", "feature_schema_hash", "feature_names",
)  # fmt: skip


def find_training(tx: LedgerTransaction, training_id: str) -> Training:
    """The training.

    Raises:
        NotFoundError: there is none of that id in the tenant.
    """
    training = tx.training(training_id)
    if training is None:
        raise NotFoundError(f"trainings/{training_id}: there is no such training", reason="TRAINING_NOT_FOUND")
    return training


def _look(tx: LedgerTransaction, training_id: str, from_seq: int) -> tuple[Training, Sequence[TrainingProgress]]:
    return find_training(tx, training_id), tx.progress(training_id, from_seq, _STEPS)


def _metrics(rows: Any) -> tuple[Metric, ...]:
    return tuple(Metric(str(name), float(value), str(dataset)) for name, value, dataset in rows)


def _elapsed(training: Training) -> float:
    return (time.time_ns() - training.start_ns) / 1e9 if training.start_ns else 0.0


def _ending(training: Training, phase: str, message: str) -> TrainingProgress:
    return TrainingProgress(phase, 1.0, 0, message, _elapsed(training), state=training.state)
