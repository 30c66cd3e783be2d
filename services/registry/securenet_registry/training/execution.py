"""One training from its beginning to its end: the worker is run and heard, what it leaves becomes a version."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from securenet_core.exceptions import SecurenetError
from securenet_core.logs import get_logger
from securenet_core.principal import Principal
from securenet_registry.artifacts.trained import JOBLIB
from securenet_registry.catalog import find_version
from securenet_registry.changes import Changes
from securenet_registry.ledger import Ledger, LedgerTransaction
from securenet_registry.mirror import Mirror
from securenet_registry.model import ArtifactFormat, ModelVersion
from securenet_registry.registration import Draft, Registrar
from securenet_registry.training import records
from securenet_registry.training.bases import Base, Bases
from securenet_registry.training.dataset import Limits
from securenet_registry.training.evaluation import Metric
from securenet_registry.training.process import TrainingWorker
from securenet_registry.training.training import ENDED, Training, TrainingProgress, TrainingState

_log = get_logger(__name__)

#: Seconds that the end of a training waits for MLflow; the version is committed before.
MIRROR_SECONDS: Final = 60.0

#: Longest account of what was wrong, in characters.
_SAID: Final = 1000

#: Files that a worker leaves and that belong to the version.
_FILES: Final = ("model.skops", JOBLIB, "derived/model.onnx", "derived/agreement.json", "evaluation.json")

#: What a worker's result says of the version, by the manifest's names.
_DETAILS: Final = (
    "serving", "calibration", "golden", "thresholds", "distribution", "runtime", "feature_schema_hash", "feature_names",
)  # fmt: skip


class _EndedMeanwhileError(Exception):
    """Somebody cancelled the training while its version was being made; the version is not to be."""


class TrainingExecution:
    """Runs trainings, each in a folder of its own that is gone after.

    Args:
        folder: where jobs lie while they run.
        limits: what a job may read.
        bases: finds versions that are adapted.
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
        bases: Bases,
    ) -> None:
        self._ledger = ledger
        self._registrar = registrar
        self._worker = worker
        self._mirror = mirror
        self._changes = changes
        self._folder = folder
        self._limits = limits
        self._bases = bases

    def clear(self) -> None:
        """Removes what a crash left in the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, mode=0o700)

    async def run(self, training: Training) -> None:
        """Trains what is queued, and stores how it ended. Cancelled, it stores nothing: that is for who cancels."""
        folder = self._folder / training.id
        running = replace(
            training, state=TrainingState.RUNNING, start_ns=time.time_ns(), attempts=training.attempts + 1
        )
        try:
            if not await self._begin(running):
                return
            self._mirror.prepare()
            folder.mkdir(mode=0o700)
            base = await self._base(training)
            (folder / "job.json").write_text(json.dumps(self._job(training, base)))
            async with contextlib.aclosing(self._worker.run(folder)) as messages:
                async for message in messages:
                    await self._hear(running, folder, message, base)
        except _EndedMeanwhileError:
            return
        except Exception as error:  # noqa: BLE001 - one training must not end the queue; the log gets the traceback
            _log.error("training broke", training=training.id, exc_info=error)
            said = error.message if isinstance(error, SecurenetError) else f"{type(error).__name__}: {error}"
            await self._fail(running, said, unexpected=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _base(self, training: Training) -> Base | None:
        spec = training.spec
        if not spec.base:
            return None
        reference = spec.base_reference()
        version = await self._ledger.read(training.tenant, lambda tx: find_version(tx, reference))
        return await asyncio.to_thread(self._bases.open, version)

    def _job(self, training: Training, base: Base | None) -> Mapping[str, Any]:
        return {
            "base": None if base is None else base.job(),
            "spec": training.spec.document(),
            "max_rows": self._limits.rows,
            "max_bytes": self._limits.bytes,
            "roots": [str(root) for root in self._limits.roots],
            "any_folder": self._limits.any_folder,
        }

    async def _begin(self, running: Training) -> bool:
        def work(tx: LedgerTransaction) -> bool:
            if records.find_training(tx, running.id).state is not TrainingState.QUEUED:
                return False
            tx.put_training(running)
            tx.add_progress(running.id, TrainingProgress("reading", 0.0, 0, "begun", 0.0, state=TrainingState.RUNNING))
            return True

        begun = await self._ledger.run(running.tenant, work)
        self._changes.notify(("training", running.id))
        return begun

    async def _hear(self, running: Training, folder: Path, message: Mapping[str, Any], base: Base | None) -> None:
        match message["kind"]:
            case "progress":
                fields = {name: value for name, value in message.items() if name != "kind"}
                progress = TrainingProgress(**{**fields, "metrics": _metrics(fields["metrics"])})
                await self._tell(running, lambda _last: progress)
            case "result":
                await self._register(running, folder, message, base)
            case "error":
                if not message["expected"]:
                    log = (folder / "worker.log").read_text(errors="replace")[-4000:]
                    _log.error("worker failed", training=running.id, said=message["message"], log=log)
                await self._fail(running, str(message["message"]), unexpected=not message["expected"])

    async def _register(self, running: Training, folder: Path, result: Mapping[str, Any], base: Base | None) -> None:
        draft = _trained(running, folder, result) if base is None else _adapted(running, folder, result, base)
        await self._tell(
            running,
            lambda last: TrainingProgress(
                "registering", 0.97, last.rows_read, "storing and signing", records.elapsed(running)
            ),
        )
        who = Principal(running.created_by, running.tenant, frozenset())

        def note(tx: LedgerTransaction, version: ModelVersion) -> None:
            if records.find_training(tx, running.id).state in ENDED:
                raise _EndedMeanwhileError
            # From here on a crash finishes this training instead of repeating it.
            tx.put_training(replace(running, version=version.version))

        version = await self._registrar.register(who, draft, note)
        try:
            async with asyncio.timeout(MIRROR_SECONDS):
                await self._mirror.reconcile()
        except Exception as error:  # noqa: BLE001 - the version stands; the mirror tries again by itself
            _log.warning("not mirrored yet", version=version.resource, error=f"{type(error).__name__}: {error}"[:500])
        await self.succeed(replace(running, version=version.version), tuple(draft.metrics))

    async def succeed(self, training: Training, metrics: tuple[Metric, ...] = ()) -> None:
        """Stores that a training whose version stands has ended."""
        ended = replace(training, state=TrainingState.SUCCEEDED, error="", end_ns=time.time_ns())
        message = f"registered models/{training.spec.model}/versions/{training.version}"
        headline = tuple(metric for metric in metrics if not metric.dataset)
        await self._ledger.run(training.tenant, lambda tx: records.end(tx, ended, message, headline))
        self._changes.notify(("training", training.id))

    async def _fail(self, running: Training, said: str, *, unexpected: bool) -> None:
        def work(tx: LedgerTransaction) -> None:
            phase = records.last_step(tx, running.id).phase
            error = (f"{phase} broke: {said}" if unexpected else said)[:_SAID]
            failed = replace(running, state=TrainingState.FAILED, error=error, end_ns=time.time_ns())
            records.end(tx, failed, error)

        await self._ledger.run(running.tenant, work)
        self._changes.notify(("training", running.id))

    async def _tell(self, training: Training, step: Callable[[TrainingProgress], TrainingProgress]) -> None:
        def work(tx: LedgerTransaction) -> None:
            # Nothing follows an end.
            if records.find_training(tx, training.id).state not in ENDED:
                tx.add_progress(training.id, step(records.last_step(tx, training.id)))

        await self._ledger.run(training.tenant, work)
        self._changes.notify(("training", training.id))


def _trained(running: Training, folder: Path, result: Mapping[str, Any]) -> Draft:
    """A version of what a worker fitted."""
    spec = running.spec
    return Draft(
        model=spec.model,
        format=ArtifactFormat.SKOPS,
        source="model.skops",
        files={path: folder / path for path in _FILES if (folder / path).exists()},
        metrics=_metrics(result["metrics"]),
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


def _adapted(running: Training, folder: Path, result: Mapping[str, Any], base: Base) -> Draft:
    """A version of the same trees with another operating point or another table. What was measured on held-out captures
    at the point before is left out; what does not hang on the point stays."""
    spec, manifest = running.spec, base.manifest
    changed = {metric.name: metric for metric in _metrics(result["metrics"])}
    gone = {"mcc", "f1", "tpr", "fpr", "precision"} if result["moved"] else set()
    kept = [metric for metric in base.version.metrics if metric.name not in gone | changed.keys()]
    return Draft(
        model=spec.model,
        format=base.version.format,
        source=manifest.source,
        files={**base.files, "evaluation.json": folder / "evaluation.json"},
        metrics=(*kept, *changed.values()),
        params=dict(base.version.params),
        tags=spec.tags,
        description=spec.description,
        sample_count=base.version.sample_count,
        details={
            **{name: getattr(manifest, name) for name in _DETAILS},
            **{name: result[name] for name in ("thresholds", "calibration") if name in result},
            "distribution": result["distribution"],
            "lineage": {
                **manifest.lineage, **result["lineage"], "base": base.version.resource, "training": running.resource,
            },
        },
    )  # fmt: skip


def _metrics(rows: Any) -> tuple[Metric, ...]:
    return tuple(Metric(str(name), float(value), str(dataset)) for name, value, dataset in rows)
