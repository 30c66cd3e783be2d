"""Trainings and their steps."""

from __future__ import annotations

from securenet.registry.v1 import training_pb2
from securenet_registry.convert.parts import duration, metric_message, timestamp
from securenet_registry.convert.versions import version_message
from securenet_registry.model import (
    ModelVersion,
    parse_model,
)
from securenet_registry.training.recipe import Estimator, SplitMethod, TrainingSpec, accept_params
from securenet_registry.training.training import Training, TrainingProgress, TrainingState
from securenet_registry.training.trainings import Step

_ESTIMATORS = {
    Estimator.HIST_GRADIENT_BOOSTING: training_pb2.ESTIMATOR_HIST_GRADIENT_BOOSTING,
    Estimator.RANDOM_FOREST: training_pb2.ESTIMATOR_RANDOM_FOREST,
    Estimator.ISOLATION_FOREST: training_pb2.ESTIMATOR_ISOLATION_FOREST,
}

_ESTIMATORS_BACK = {number: estimator for estimator, number in _ESTIMATORS.items()}

_SPLITS = {
    SplitMethod.AUTO: training_pb2.SPLIT_METHOD_UNSPECIFIED,
    SplitMethod.CAPTURE: training_pb2.SPLIT_METHOD_CAPTURE,
    SplitMethod.TIME: training_pb2.SPLIT_METHOD_TIME,
}

_SPLITS_BACK = {number: method for method, number in _SPLITS.items()}

_TRAINING_STATES = {
    TrainingState.QUEUED: training_pb2.TRAINING_STATE_QUEUED,
    TrainingState.RUNNING: training_pb2.TRAINING_STATE_RUNNING,
    TrainingState.SUCCEEDED: training_pb2.TRAINING_STATE_SUCCEEDED,
    TrainingState.FAILED: training_pb2.TRAINING_STATE_FAILED,
    TrainingState.CANCELLED: training_pb2.TRAINING_STATE_CANCELLED,
}


def training_spec(message: training_pb2.TrainingSpec) -> TrainingSpec:
    """What to train and on what.

    Raises:
        InvalidArgumentError: a parameter of the estimator is unknown or out of bounds.
    """
    estimator = _ESTIMATORS_BACK.get(message.estimator, Estimator.HIST_GRADIENT_BOOSTING)
    return TrainingSpec(
        model=parse_model(message.model, "spec.model"),
        data_uris=tuple(message.data_uris),
        estimator=estimator,
        params=accept_params(estimator, message.params),
        split=_SPLITS_BACK[message.split],
        held_out_fraction=message.held_out_fraction or 0.25,
        seed=message.seed,
        tags=dict(message.tags),
        description=message.description,
        base=message.base_version,
    )


def training_id(name: str) -> str:
    """`trainings/abc` → `abc`; the contract's field rule has seen to the form."""
    return name.partition("/")[2]


def training_message(training: Training, version: ModelVersion | None = None) -> training_pb2.Training:
    """A training."""
    return training_pb2.Training(
        name=training.resource,
        spec=training_pb2.TrainingSpec(
            model=f"models/{training.spec.model}",
            data_uris=training.spec.data_uris,
            estimator=_ESTIMATORS[training.spec.estimator],
            params={name: str(value) for name, value in training.spec.params.items()},
            split=_SPLITS[training.spec.split],
            held_out_fraction=training.spec.held_out_fraction,
            seed=training.spec.seed,
            tags=training.spec.tags,
            description=training.spec.description,
            base_version=training.spec.base,
        ),
        state=_TRAINING_STATES[training.state],
        error=training.error,
        model_version=version_message(version) if version else None,
        created_by=training.created_by,
        create_time=timestamp(training.create_ns),
        start_time=timestamp(training.start_ns),
        end_time=timestamp(training.end_ns),
    )


def progress_message(step: Step) -> training_pb2.TrainingProgress:
    """A step."""
    progress: TrainingProgress = step.progress
    return training_pb2.TrainingProgress(
        seq=progress.seq,
        phase=progress.phase,
        fraction=progress.fraction,
        rows_read=progress.rows_read,
        message=progress.message,
        metrics=[metric_message(metric) for metric in progress.metrics],
        training=training_message(step.training, step.version) if step.training else None,
        elapsed=duration(progress.elapsed_seconds),
    )
