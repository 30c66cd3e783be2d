"""Versions, side by side as well."""

from __future__ import annotations

from collections.abc import Sequence

from securenet.registry.v1 import model_pb2, registry_pb2
from securenet_core.pagination import decode_page_token, encode_page_token, page_size
from securenet_registry.convert.parts import file_message, metric_message, number, timestamp
from securenet_registry.model import (
    ArtifactFormat,
    ModelVersion,
    VersionState,
)

_FORMATS = {
    ArtifactFormat.SKOPS: model_pb2.ARTIFACT_FORMAT_SKOPS,
    ArtifactFormat.ONNX: model_pb2.ARTIFACT_FORMAT_ONNX,
    ArtifactFormat.JOBLIB: model_pb2.ARTIFACT_FORMAT_JOBLIB,
}

FORMATS_BACK = {number: name for name, number in _FORMATS.items()}

_VERSION_STATES = {
    VersionState.READY: model_pb2.VERSION_STATE_READY,
    VersionState.REJECTED: model_pb2.VERSION_STATE_REJECTED,
}


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
        files=[file_message(file) for file in version.files],
        feature_schema_hash=version.feature_schema_hash,
        metrics=[metric_message(metric) for metric in version.metrics],
        params=version.params,
        tags=version.tags,
        sample_count=version.sample_count,
        run_id=version.run_id,
        aliases=version.aliases,
        created_by=version.created_by,
        create_time=timestamp(version.create_ns),
        runtime=version.runtime,
        description=version.description,
    )


def versions_page(request: registry_pb2.ListModelVersionsRequest) -> tuple[int, int]:
    """The number below which the page begins (0: the latest), and how many versions to read."""
    position = decode_page_token(request.page_token, [request.parent])
    return (number(position[0]) if position else 0), page_size(request.page_size) + 1


def versions_response(
    versions: Sequence[ModelVersion], limit: int, parent: str
) -> registry_pb2.ListModelVersionsResponse:
    """A page of versions."""
    page = versions[: limit - 1]
    token = encode_page_token([page[-1].version], [parent]) if len(versions) == limit else ""
    messages = [version_message(version) for version in page]
    return registry_pb2.ListModelVersionsResponse(model_versions=messages, next_page_token=token)


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
