"""Trainings in the ledger: found, and ended."""

from __future__ import annotations

import time
from dataclasses import replace

from securenet_core.exceptions import NotFoundError
from securenet_registry.ledger import LedgerTransaction
from securenet_registry.training.evaluation import Metric
from securenet_registry.training.training import ENDED, Training, TrainingProgress, TrainingState


def find_training(tx: LedgerTransaction, training_id: str) -> Training:
    """The training.

    Raises:
        NotFoundError: there is none of that id in the tenant.
    """
    training = tx.training(training_id)
    if training is None:
        raise NotFoundError(f"trainings/{training_id}: there is no such training", reason="TRAINING_NOT_FOUND")
    return training


def last_step(tx: LedgerTransaction, training_id: str) -> TrainingProgress:
    """Where a training stands; before its first step it waits."""
    return tx.last_progress(training_id) or TrainingProgress("queued", 0.0, 0, "waits for its turn", 0.0)


def end(tx: LedgerTransaction, ended: Training, message: str, metrics: tuple[Metric, ...] = ()) -> None:
    """Stores an end, with its last step; a training that has ended before stays as it is.

    Only what succeeded is done. What failed or was cancelled keeps the phase, the part of the whole and the metrics
    that it had come to.
    """
    if find_training(tx, ended.id).state in ENDED:
        return
    tx.put_training(ended)
    last = last_step(tx, ended.id)
    told = replace(last, message=message, elapsed_seconds=elapsed(ended), state=ended.state, seq=0)
    if ended.state is TrainingState.SUCCEEDED:
        told = replace(told, phase="done", fraction=1.0, metrics=metrics)
    tx.add_progress(ended.id, told)


def elapsed(training: Training) -> float:
    """Seconds since it began; 0 where it never did."""
    return (time.time_ns() - training.start_ns) / 1e9 if training.start_ns else 0.0
