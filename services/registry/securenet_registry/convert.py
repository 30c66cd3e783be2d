"""The only translation between the contract and the domain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from securenet.registry.v1 import model_pb2, registry_pb2, training_pb2
from securenet_core.exceptions import InvalidArgumentError
from securenet_core.pagination import decode_page_token, encode_page_token, page_size
from securenet_registry.artifacts.manifest import ArtifactFile
from securenet_registry.artifacts.store import SignedManifest
from securenet_registry.audit import AuditVerdict
from securenet_registry.downloads import Download, Flavor
from securenet_registry.model import (
    Alias,
    ArtifactFormat,
    AuditEntry,
    Model,
    ModelEvent,
    ModelVersion,
    Promotion,
    PromotionState,
    ServingReport,
    VersionState,
    parse_model,
)
from securenet_registry.promotion import Move
from securenet_registry.serving_reports import Convergence
from securenet_registry.training.evaluation import Metric
from securenet_registry.training.recipe import Estimator, SplitMethod, TrainingSpec, accept_params
from securenet_registry.training.training import Training, TrainingProgress, TrainingState
from securenet_registry.training.trainings import Step
from securenet_registry.uploads.uploads import UploadHeader, UploadStatus
from securenet_registry.watching import Heartbeat, Snapshot, Update

_FORMATS = {
    ArtifactFormat.SKOPS: model_pb2.ARTIFACT_FORMAT_SKOPS,
    ArtifactFormat.ONNX: model_pb2.ARTIFACT_FORMAT_ONNX,
    ArtifactFormat.JOBLIB: model_pb2.ARTIFACT_FORMAT_JOBLIB,
}
_FORMATS_BACK = {number: name for name, number in _FORMATS.items()}
_FLAVORS: dict[int, Flavor] = {model_pb2.FLAVOR_ONNX: Flavor.ONNX, model_pb2.FLAVOR_JOBLIB: Flavor.JOBLIB}
_VERSION_STATES = {
    VersionState.READY: model_pb2.VERSION_STATE_READY,
    VersionState.REJECTED: model_pb2.VERSION_STATE_REJECTED,
}
_PROMOTION_STATES = {
    PromotionState.PENDING: model_pb2.PROMOTION_STATE_PENDING,
    PromotionState.COMMITTED: model_pb2.PROMOTION_STATE_COMMITTED,
    PromotionState.REJECTED: model_pb2.PROMOTION_STATE_REJECTED,
}
_PROMOTION_STATES_BACK = {number: state for state, number in _PROMOTION_STATES.items()}
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


# Trainings


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
        ),
        state=_TRAINING_STATES[training.state],
        error=training.error,
        model_version=version_message(version) if version else None,
        created_by=training.created_by,
        create_time=_time(training.create_ns),
        start_time=_time(training.start_ns),
        end_time=_time(training.end_ns),
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
        metrics=[_metric(metric) for metric in progress.metrics],
        training=training_message(step.training, step.version) if step.training else None,
        elapsed=_duration(progress.elapsed_seconds),
    )


# Uploads and downloads


async def upload(
    requests: AsyncIterator[registry_pb2.RegisterModelVersionRequest],
) -> tuple[UploadHeader, AsyncIterator[tuple[int, bytes]]]:
    """The header, and the chunks that follow.

    Raises:
        InvalidArgumentError: the first message is no header.
    """
    first = await anext(aiter(requests), None)
    if first is None or first.WhichOneof("part") != "header":
        raise InvalidArgumentError.of("header", "absent; expected as the first message")
    header = first.header
    described = UploadHeader(
        model=parse_model(header.model, "header.model"),
        format=_FORMATS_BACK[header.format],
        size_bytes=header.size_bytes,
        digest=header.digest,
        feature_schema_hash=header.feature_schema_hash,
        metrics=tuple(Metric(metric.name, metric.value, metric.dataset) for metric in header.metrics),
        tags=dict(header.tags),
        request_id=header.request_id,
        description=header.description,
    )
    return described, _chunks(requests)


async def _chunks(
    requests: AsyncIterator[registry_pb2.RegisterModelVersionRequest],
) -> AsyncIterator[tuple[int, bytes]]:
    async for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise InvalidArgumentError.of("chunk", "a second header; expected bytes")
        yield request.chunk.offset, request.chunk.data


def upload_message(status: UploadStatus) -> model_pb2.Upload:
    """An upload."""
    return model_pb2.Upload(
        name=f"uploads/{status.request_id}",
        committed_bytes=status.committed_bytes,
        size_bytes=status.size_bytes,
        model_version=version_message(status.version) if status.version else None,
        expire_time=_time(status.expire_ns),
    )


def flavor(number: int) -> Flavor:
    """Which form is wanted."""
    return _FLAVORS.get(number, Flavor.SOURCE)


def download_header(download: Download) -> registry_pb2.DownloadModelVersionResponse:
    """What comes."""
    return registry_pb2.DownloadModelVersionResponse(
        header=registry_pb2.DownloadHeader(
            model_version=version_message(download.version),
            file=_file(download.file),
            manifest=download.signed.manifest,
            signature=_signature(download.signed),
        )
    )


def download_chunk(offset: int, data: bytes) -> registry_pb2.DownloadModelVersionResponse:
    """Bytes."""
    return registry_pb2.DownloadModelVersionResponse(chunk=registry_pb2.DownloadChunk(offset=offset, data=data))


def _signature(signed: SignedManifest) -> model_pb2.Signature:
    return model_pb2.Signature(value=signed.signature, key_id=signed.key_id, bundle=signed.bundle)


# Models and versions


def model_message(model: Model) -> model_pb2.Model:
    """A model."""
    return model_pb2.Model(
        name=model.resource,
        description=model.description,
        aliases=[_alias(alias) for alias in model.aliases],
        latest_version=model.latest_version,
        version_count=model.version_count,
        create_time=_time(model.create_ns),
        update_time=_time(model.update_ns),
        tags=model.tags,
    )


def version_message(version: ModelVersion) -> model_pb2.ModelVersion:
    """A version."""
    return model_pb2.ModelVersion(
        name=version.resource,
        version=version.version,
        state=_VERSION_STATES[version.state],
        state_detail=version.state_detail,
        format=_FORMATS[version.format],
        digest=version.digest,
        size_bytes=version.size_bytes,
        files=[_file(file) for file in version.files],
        feature_schema_hash=version.feature_schema_hash,
        metrics=[_metric(metric) for metric in version.metrics],
        params=version.params,
        tags=version.tags,
        sample_count=version.sample_count,
        run_id=version.run_id,
        aliases=version.aliases,
        created_by=version.created_by,
        create_time=_time(version.create_ns),
        runtime=version.runtime,
        description=version.description,
    )


def models_page(request: registry_pb2.ListModelsRequest) -> tuple[str, int]:
    """The name after which the page begins, and how many models to read: one more than it has."""
    position = decode_page_token(request.page_token)
    return (_text(position[0]) if position else ""), page_size(request.page_size) + 1


def models_response(models: Sequence[Model], limit: int) -> registry_pb2.ListModelsResponse:
    """A page of models."""
    page = models[: limit - 1]
    token = encode_page_token([page[-1].name]) if len(models) == limit else ""
    return registry_pb2.ListModelsResponse(models=[model_message(model) for model in page], next_page_token=token)


def versions_page(request: registry_pb2.ListModelVersionsRequest) -> tuple[int, int]:
    """The number below which the page begins (0: the latest), and how many versions to read."""
    position = decode_page_token(request.page_token, [request.parent])
    return (_number(position[0]) if position else 0), page_size(request.page_size) + 1


def versions_response(
    versions: Sequence[ModelVersion], limit: int, parent: str
) -> registry_pb2.ListModelVersionsResponse:
    """A page of versions."""
    page = versions[: limit - 1]
    token = encode_page_token([page[-1].version], [parent]) if len(versions) == limit else ""
    messages = [version_message(version) for version in page]
    return registry_pb2.ListModelVersionsResponse(model_versions=messages, next_page_token=token)


# Promotions


def promote_move(request: registry_pb2.PromoteModelVersionRequest) -> Move:
    """What is asked of an alias."""
    expected = request.expected_generation if request.HasField("expected_generation") else None
    return Move(request.alias or "champion", expected, request.request_id, request.reason)


def rollback_move(request: registry_pb2.RollbackModelRequest) -> Move:
    """What is asked of an alias."""
    expected = request.expected_generation if request.HasField("expected_generation") else None
    return Move(request.alias or "champion", expected, request.request_id, request.reason)


def promotion_message(promotion: Promotion) -> model_pb2.Promotion:
    """A move."""
    return model_pb2.Promotion(
        name=promotion.resource if promotion.id else "",
        alias=promotion.alias,
        from_version=promotion.from_version,
        to_version=promotion.to_version,
        state=_PROMOTION_STATES[promotion.state],
        generation=promotion.generation,
        gates=[
            model_pb2.Gate(name=gate.name, passed=gate.passed, measured=gate.measured, required=gate.required)
            for gate in promotion.gates
        ],
        requested_by=promotion.requested_by,
        decided_by=promotion.decided_by,
        reason=promotion.reason,
        rollback=promotion.rollback,
        create_time=_time(promotion.create_ns),
        decide_time=_time(promotion.decide_ns),
    )


def promotions_page(request: registry_pb2.ListPromotionsRequest) -> tuple[int, str, int, str]:
    """Time and id before which the page begins (0: the latest), how many moves to read, and in which state."""
    position = decode_page_token(request.page_token, [request.parent, request.state], length=2)
    state = _PROMOTION_STATES_BACK.get(request.state)
    time_ns, promotion = (_number(position[0]), _text(position[1])) if position else (0, "")
    return time_ns, promotion, page_size(request.page_size) + 1, state.value if state else ""


def promotions_response(
    promotions: Sequence[Promotion], limit: int, request: registry_pb2.ListPromotionsRequest
) -> registry_pb2.ListPromotionsResponse:
    """A page of moves."""
    page = promotions[: limit - 1]
    more = len(promotions) == limit
    token = encode_page_token([page[-1].create_ns, page[-1].id], [request.parent, request.state]) if more else ""
    messages = [promotion_message(promotion) for promotion in page]
    return registry_pb2.ListPromotionsResponse(promotions=messages, next_page_token=token)


def comparison(versions: Sequence[ModelVersion]) -> registry_pb2.CompareModelVersionsResponse:
    """Metrics side by side."""
    tables = [{(metric.name, metric.dataset): metric.value for metric in version.metrics} for version in versions]
    rows = sorted({key for table in tables for key in table}, key=lambda key: (key[1], key[0]))
    return registry_pb2.CompareModelVersionsResponse(
        model_versions=[version_message(version) for version in versions],
        metrics=[
            registry_pb2.MetricComparison(
                name=name, dataset=dataset, values=[table.get((name, dataset), float("nan")) for table in tables]
            )
            for name, dataset in rows
        ],
    )


# Watching and serving


def watch_response(update: Update) -> registry_pb2.WatchModelResponse:
    """The next thing to know."""
    match update:
        case Snapshot(revision, model):
            snapshot = registry_pb2.ModelSnapshot(model=model_message(model) if model else None)
            return registry_pb2.WatchModelResponse(revision=revision, snapshot=snapshot)
        case Heartbeat(revision, time_ns):
            heartbeat = registry_pb2.Heartbeat(time=_time(time_ns))
            return registry_pb2.WatchModelResponse(revision=revision, heartbeat=heartbeat)
    return registry_pb2.WatchModelResponse(revision=update.revision, event=_event(update))


def _event(event: ModelEvent) -> model_pb2.ModelEvent:
    return model_pb2.ModelEvent(
        revision=event.revision,
        model=f"models/{event.model}",
        kind=event.kind.value,
        alias=_alias(event.alias) if event.alias else None,
        version=event.version,
        create_time=_time(event.create_ns),
    )


def serving_report(message: model_pb2.ServingReport) -> ServingReport:
    """What a consumer says.

    Raises:
        InvalidArgumentError: a name is missing or too long.
    """
    if not 1 <= len(message.consumer) <= 128:
        raise InvalidArgumentError.of("report.consumer", f"{len(message.consumer)} characters; expected 1 to 128")
    if message.alias not in {"", "champion", "challenger"}:
        raise InvalidArgumentError.of("report.alias", f"got {message.alias[:64]!r}; expected champion or challenger")
    if message.state not in {model_pb2.SERVING_STATE_LOADED, model_pb2.SERVING_STATE_FAILED}:
        raise InvalidArgumentError.of("report.state", "expected LOADED or FAILED")
    if message.generation >= 1 << 63:
        raise InvalidArgumentError.of("report.generation", f"got {message.generation}; no alias has come so far")
    return ServingReport(
        consumer=message.consumer,
        model=parse_model(message.model, "report.model"),
        alias=message.alias or "champion",
        generation=message.generation,
        version=message.version,
        loaded=message.state == model_pb2.SERVING_STATE_LOADED,
        detail=message.detail[:4096],
        report_ns=0,
    )


def convergence_response(convergence: Convergence) -> registry_pb2.GetConvergenceResponse:
    """Who follows."""
    return registry_pb2.GetConvergenceResponse(
        generation=convergence.generation,
        converged=convergence.converged,
        reports=[
            model_pb2.ServingReport(
                consumer=report.consumer,
                model=f"models/{report.model}",
                alias=report.alias,
                generation=report.generation,
                version=report.version,
                state=model_pb2.SERVING_STATE_LOADED if report.loaded else model_pb2.SERVING_STATE_FAILED,
                detail=report.detail,
                report_time=_time(report.report_ns),
            )
            for report in convergence.reports
        ],
    )


def interval(seconds: float) -> registry_pb2.ReportServingResponse:
    """When to report again."""
    return registry_pb2.ReportServingResponse(report_interval=_duration(seconds))


# Audit


def audit_page(request: registry_pb2.ListAuditEventsRequest) -> tuple[int, int]:
    """The number below which the page begins (0: the latest), and how many entries to read."""
    position = decode_page_token(request.page_token, [request.resource])
    return (_number(position[0]) if position else 0), page_size(request.page_size) + 1


def audit_response(entries: Sequence[AuditEntry], limit: int, resource: str) -> registry_pb2.ListAuditEventsResponse:
    """A page of entries."""
    page = entries[: limit - 1]
    token = encode_page_token([page[-1].sequence], [resource]) if len(entries) == limit else ""
    messages = [
        model_pb2.AuditEvent(
            sequence=entry.sequence,
            create_time=_time(entry.create_ns),
            actor=entry.actor,
            action=entry.action,
            resource=entry.resource,
            detail=entry.detail,
            previous_hash=entry.previous_hash,
            hash=entry.hash,
        )
        for entry in page
    ]
    return registry_pb2.ListAuditEventsResponse(audit_events=messages, next_page_token=token)


def verdict_response(verdict: AuditVerdict) -> registry_pb2.VerifyAuditResponse:
    """Whether the chain holds."""
    return registry_pb2.VerifyAuditResponse(
        valid=not verdict.first_invalid,
        entries=verdict.entries,
        first_invalid_sequence=verdict.first_invalid,
        detail=verdict.detail,
        head_hash=verdict.head_hash,
    )


# Parts


def _alias(alias: Alias) -> model_pb2.ModelAlias:
    return model_pb2.ModelAlias(
        alias=alias.alias,
        version=alias.version,
        generation=alias.generation,
        update_time=_time(alias.update_ns),
        updated_by=alias.updated_by,
        previous_version=alias.previous_version,
    )


def _metric(metric: Metric) -> model_pb2.Metric:
    return model_pb2.Metric(name=metric.name, value=metric.value, dataset=metric.dataset)


def _file(file: ArtifactFile) -> model_pb2.ArtifactFile:
    return model_pb2.ArtifactFile(path=file.path, size_bytes=file.size_bytes, digest=file.digest)


def _time(nanoseconds: int) -> Timestamp | None:
    if not nanoseconds:
        return None
    stamp = Timestamp()
    stamp.FromNanoseconds(nanoseconds)
    return stamp


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration


def _number(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise InvalidArgumentError.of("page_token", "not a token of this service; take next_page_token as it came")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidArgumentError.of("page_token", "not a token of this service; take next_page_token as it came")
    return value
