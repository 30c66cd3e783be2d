"""Models from the registry, over gRPC."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import grpc

from securenet.registry.v1 import model_pb2, registry_pb2, registry_pb2_grpc
from securenet_core.channels import ChannelSettings, call_metadata
from securenet_core.exceptions import DataLossError, NotFoundError
from securenet_core.status import from_rpc_error
from securenet_detection.models.interface import Artifact, DriftSignal, ModelRejectedError, Promotion
from securenet_detection.models.verification import TrustedKey, digest_of, file_digest, read_manifest

_TIMEOUT: Final = 120.0
_REPORT_TIMEOUT: Final = 10.0
#: The registry gives a sign of life every fifteen seconds; a watch is renewed before an idle path forgets it.
_WATCH_TIMEOUT: Final = 3600.0


class GrpcModelSource:
    """A :class:`securenet_detection.models.interface.ModelSource`.

    Args:
        channel: to the registry; stays with the caller.
        settings: of the channel.
        model, alias: what to follow.
        folder: where artifacts are kept, by digest.
        limit: largest artifact, bytes.
        key: that signs manifests.
        consumer: stable name of this process.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        settings: ChannelSettings,
        *,
        model: str,
        alias: str,
        folder: Path,
        limit: int,
        key: TrustedKey,
        consumer: str,
    ) -> None:
        self._stub: Any = registry_pb2_grpc.ModelRegistryServiceStub(channel)
        self._metadata = call_metadata(settings)
        self._model = f"models/{model}"
        self._alias = alias
        self._folder = folder
        self._limit = limit
        self._key = key
        self._consumer = consumer

    async def promotions(self) -> AsyncIterator[Promotion | None]:
        """The alias as it stands, then each change."""
        request = registry_pb2.WatchModelRequest(name=self._model)
        call = self._stub.WatchModel(request, metadata=self._metadata, timeout=_WATCH_TIMEOUT, wait_for_ready=False)
        try:
            async for response in call:
                update = response.WhichOneof("update")
                if update == "snapshot":
                    aliases = [a for a in response.snapshot.model.aliases if a.alias == self._alias]
                    yield self._promotion(aliases[0]) if aliases else None
                elif update == "event" and response.event.alias.alias == self._alias:
                    yield self._promotion(response.event.alias)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    def _promotion(self, alias: model_pb2.ModelAlias) -> Promotion:
        return Promotion(f"{self._model}/versions/{alias.version}", alias.alias, alias.generation)

    async def fetch(self, promotion: Promotion) -> Artifact:
        """Downloads the form for serving, unless it is there already, and verifies signature and bytes."""
        request = registry_pb2.DownloadModelVersionRequest(name=promotion.name, flavor=model_pb2.FLAVOR_ONNX)
        call = self._stub.DownloadModelVersion(request, metadata=self._metadata, timeout=_TIMEOUT)
        try:
            async with aclosing(_parts(call)) as parts:
                return await self._receive(promotion, parts)
        except grpc.RpcError as error:
            failure = from_rpc_error(error)
            if isinstance(failure, NotFoundError):
                raise ModelRejectedError(failure.message, reason="NO_SERVING_FORM") from error
            raise failure from error
        finally:
            call.cancel()

    async def _receive(
        self, promotion: Promotion, parts: AsyncIterator[registry_pb2.DownloadModelVersionResponse]
    ) -> Artifact:
        first = await anext(parts, None)
        if first is None or first.WhichOneof("part") != "header":
            raise DataLossError("the registry's download does not begin with a header")
        header = first.header
        # Whatever grows with the model is done beside the event loop, where calls wait for nobody.
        manifest = await asyncio.to_thread(self._signed, header)
        # From here on only what is signed counts, not what came beside it.
        digest, size = file_digest(manifest, header.file.path)
        self._check_identity(promotion, manifest)
        if size > self._limit:
            raise ModelRejectedError(f"{size} bytes; model_max_bytes allows {self._limit}", reason="TOO_LARGE")
        path = self._folder / f"{_hexadecimal(digest)}.onnx"
        if not path.exists() or await asyncio.to_thread(digest_of, path) != digest:
            await self._write(path, digest, size, parts)
        return Artifact(promotion.name, header.file.path, digest, path, manifest)

    def _signed(self, header: registry_pb2.DownloadHeader) -> Mapping[str, Any]:
        self._key.check(header.manifest, header.signature.value, header.signature.key_id)
        return read_manifest(header.manifest)

    def _check_identity(self, promotion: Promotion, manifest: Any) -> None:
        signed = f"models/{manifest.get('model')}/versions/{manifest.get('version')}"
        if signed != promotion.name:
            raise ModelRejectedError(f"the manifest is of {signed}, not of {promotion.name}", reason="WRONG_MANIFEST")

    async def _write(self, path: Path, digest: str, size: int, parts: AsyncIterator[Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        received = 0
        try:
            with aside.open("wb") as stream:
                async for part in parts:
                    received += len(part.chunk.data)
                    if received > size or part.chunk.offset + len(part.chunk.data) != received:
                        raise DataLossError(f"chunk at {part.chunk.offset} of {size} bytes does not fit")
                    await asyncio.to_thread(stream.write, part.chunk.data)
            if received != size:
                raise DataLossError(f"{received} of {size} bytes came")
            if await asyncio.to_thread(digest_of, aside) != digest:
                raise ModelRejectedError("the bytes are not those that were signed", reason="DIGEST_MISMATCH")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    async def report(self, promotion: Promotion, *, serves: str, detail: str) -> None:
        """Tells the registry which version is served."""
        version = serves.rpartition("/")[2] if serves else "0"
        report = model_pb2.ServingReport(
            consumer=self._consumer,
            model=self._model,
            alias=promotion.alias,
            generation=promotion.generation,
            version=int(version),
            state=model_pb2.SERVING_STATE_FAILED if detail else model_pb2.SERVING_STATE_LOADED,
            detail=detail[:1024],
        )
        await self._send(report)

    async def report_drift(self, signals: Sequence[DriftSignal]) -> None:
        """Tells the registry what has drifted, of one version."""
        report = model_pb2.ServingReport(
            consumer=self._consumer,
            model=self._model,
            alias=self._alias,
            version=int(signals[0].model.rpartition("/")[2]),
            state=model_pb2.SERVING_STATE_LOADED,
        )
        for signal in signals:
            told = report.drift.add(
                kind=signal.kind, feature=signal.feature, measured=signal.measured, limit=signal.limit
            )
            told.signal_time.FromNanoseconds(signal.time_ns)
        await self._send(report)

    async def _send(self, report: model_pb2.ServingReport) -> None:
        try:
            await self._stub.ReportServing(
                registry_pb2.ReportServingRequest(report=report), metadata=self._metadata, timeout=_REPORT_TIMEOUT
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error


async def _parts(call: Any) -> AsyncGenerator[Any]:
    async for part in call:
        yield part


def _hexadecimal(digest: str) -> str:
    if len(digest) != 64 or not all(digit in "0123456789abcdef" for digit in digest):
        raise ModelRejectedError(f"digest: {digest[:80]!r}; expected 64 hexadecimal digits")
    return digest
