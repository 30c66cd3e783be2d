"""Uploads, downloads, and what nobody needs of them any more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from securenet.registry.v1 import model_pb2, registry_pb2
from securenet_core.exceptions import InvalidArgumentError
from securenet_registry.artifacts.store import SignedManifest
from securenet_registry.collection import Garbage
from securenet_registry.convert.parts import duration, file_message, timestamp
from securenet_registry.convert.versions import FORMATS_BACK, version_message
from securenet_registry.downloads import Download, Flavor
from securenet_registry.model import (
    parse_model,
)
from securenet_registry.training.evaluation import Metric
from securenet_registry.uploads.uploads import UploadHeader, UploadStatus

#: Digests that an answer names at most.
_DIGESTS: Final = 1000

_FLAVORS: dict[int, Flavor] = {model_pb2.FLAVOR_ONNX: Flavor.ONNX, model_pb2.FLAVOR_JOBLIB: Flavor.JOBLIB}


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
        format=FORMATS_BACK[header.format],
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
        expire_time=timestamp(status.expire_ns),
    )


def flavor(number: int) -> Flavor:
    """Which form is wanted."""
    return _FLAVORS.get(number, Flavor.SOURCE)


def download_header(download: Download) -> registry_pb2.DownloadModelVersionResponse:
    """What comes."""
    return registry_pb2.DownloadModelVersionResponse(
        header=registry_pb2.DownloadHeader(
            model_version=version_message(download.version),
            file=file_message(download.file),
            manifest=download.signed.manifest,
            signature=_signature(download.signed),
        )
    )


def download_chunk(offset: int, data: bytes) -> registry_pb2.DownloadModelVersionResponse:
    """Bytes."""
    return registry_pb2.DownloadModelVersionResponse(chunk=registry_pb2.DownloadChunk(offset=offset, data=data))


def _signature(signed: SignedManifest) -> model_pb2.Signature:
    return model_pb2.Signature(value=signed.signature, key_id=signed.key_id, bundle=signed.bundle)


def grace(request: registry_pb2.CollectGarbageRequest) -> int | None:
    """Least age of what may go, nanoseconds; None where the caller leaves it open."""
    return request.grace.ToNanoseconds() if request.HasField("grace") else None


def garbage_response(garbage: Garbage) -> registry_pb2.CollectGarbageResponse:
    """What went."""
    return registry_pb2.CollectGarbageResponse(
        garbage=model_pb2.CollectedGarbage(
            blobs=len(garbage.blobs),
            bytes=sum(blob.size_bytes for blob in garbage.blobs),
            digests=[blob.digest for blob in garbage.blobs[:_DIGESTS]],
            grace=duration(garbage.grace_ns / 1e9),
        )
    )
