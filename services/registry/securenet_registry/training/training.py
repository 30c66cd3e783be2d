"""A training as a resource that survives its caller and the process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from securenet_registry.training.evaluation import Metric
from securenet_registry.training.recipe import TrainingSpec


class TrainingState(StrEnum):
    """Where a training stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: States that a training never leaves.
ENDED: Final = frozenset({TrainingState.SUCCEEDED, TrainingState.FAILED, TrainingState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Training:
    """One training. Times are nanoseconds since the epoch; 0 is not yet.

    Attributes:
        id: part of its resource name.
        tenant: whose it is.
        spec: what was asked.
        state: where it stands.
        created_by: who asked.
        create_ns, start_ns, end_ns: when it was stored, began and ended.
        error: why it failed.
        version: number of the version that came of it; 0 until then.
        attempts: how often it was begun; a crash of the process begins it anew.
    """

    id: str
    tenant: str
    spec: TrainingSpec
    state: TrainingState
    created_by: str
    create_ns: int
    start_ns: int = 0
    end_ns: int = 0
    error: str = ""
    version: int = 0
    attempts: int = 0

    @property
    def resource(self) -> str:
        """trainings/{training}."""
        return f"trainings/{self.id}"


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """One step.

    Attributes:
        phase: queued, reading, features, fitting, calibrating, evaluating, converting, registering, done; what failed
            or was cancelled stays at the phase where it stopped.
        fraction: how much of the whole training is done, 0–1; 1 only where it succeeded.
        rows_read: rows so far.
        message: one sentence for a person.
        elapsed_seconds: since it began.
        metrics: so far.
        state: the training's state, where this step changed it.
        seq: number of the step, from 1; given when it is stored.
    """

    phase: str
    fraction: float
    rows_read: int
    message: str
    elapsed_seconds: float
    metrics: tuple[Metric, ...] = ()
    state: TrainingState | None = None
    seq: int = 0

    def document(self) -> dict[str, Any]:
        """As JSON, for its row."""
        return {
            "phase": self.phase,
            "fraction": self.fraction,
            "rows_read": self.rows_read,
            "message": self.message,
            "elapsed_seconds": self.elapsed_seconds,
            "metrics": [[metric.name, metric.value, metric.dataset] for metric in self.metrics],
            "state": self.state.value if self.state else None,
        }

    @classmethod
    def of_document(cls, seq: int, document: Mapping[str, Any]) -> TrainingProgress:
        """The inverse of :meth:`document`."""
        return cls(
            phase=document["phase"],
            fraction=document["fraction"],
            rows_read=document["rows_read"],
            message=document["message"],
            elapsed_seconds=document["elapsed_seconds"],
            metrics=tuple(Metric(*metric) for metric in document["metrics"]),
            state=TrainingState(document["state"]) if document["state"] else None,
            seq=seq,
        )
