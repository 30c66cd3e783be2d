"""SIGKILL at any moment loses nothing that was acknowledged, and what was interrupted goes on."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from service_process import launch, running

from securenet.registry.v1 import model_pb2, registry_pb2, registry_pb2_grpc, training_pb2
from securenet_core.channels import ChannelSettings, open_channel

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_killed_while_training_it_trains_again_and_keeps_what_it_promised(
    tmp_path: Path, captures: list[str], helpers: Any
) -> None:
    service = launch("registry", tmp_path, model_signing_bundle="false")
    with open_channel(ChannelSettings(service.address)) as channel:
        stub = registry_pb2_grpc.ModelRegistryServiceStub(channel)
        stub.CreateModel(registry_pb2.CreateModelRequest(name="models/kept", request_id="c-1"))
        request = registry_pb2.TrainModelRequest(spec=helpers.spec(captures), request_id="t-1")
        steps = stub.TrainModel(request)
        name = next(steps).progress.training.name
        for step in steps:
            if step.progress.phase == "reading":
                break
        service.kill()
    with (
        running("registry", tmp_path, model_signing_bundle="false") as again,
        open_channel(ChannelSettings(again.address)) as channel,
    ):
        stub = registry_pb2_grpc.ModelRegistryServiceStub(channel)
        assert stub.GetModel(registry_pb2.GetModelRequest(name="models/kept")).model.name == "models/kept"
        # Asked again with the same key, it answers as it did: no second model, no second training.
        stub.CreateModel(registry_pb2.CreateModelRequest(name="models/kept", request_id="c-1"))
        last = list(stub.TrainModel(request))[-1].progress
        assert last.training.name == name
        assert last.training.state == training_pb2.TRAINING_STATE_SUCCEEDED
        version = last.training.model_version
        assert version.version == 1
        promoted = stub.PromoteModelVersion(
            registry_pb2.PromoteModelVersionRequest(name=version.name, request_id="p-1")
        )
        again.kill()
    with (
        running("registry", tmp_path, model_signing_bundle="false") as third,
        open_channel(ChannelSettings(third.address)) as channel,
    ):
        stub = registry_pb2_grpc.ModelRegistryServiceStub(channel)
        model = stub.GetModel(registry_pb2.GetModelRequest(name="models/flows")).model
        assert (model.aliases[0].version, model.aliases[0].generation) == (1, promoted.promotion.generation)
        repeated = stub.PromoteModelVersion(
            registry_pb2.PromoteModelVersionRequest(name=version.name, request_id="p-1")
        )
        assert repeated == promoted
        assert stub.VerifyAudit(registry_pb2.VerifyAuditRequest()).valid
        absent = registry_pb2.GetModelRequest(name="models/absent")
        with pytest.raises(grpc.RpcError):
            stub.GetModel(absent)
        assert third.stop() == 0


CHUNK = 1 << 14


def sent(header: registry_pb2.UploadHeader, data: bytes, chunks: int | None) -> Iterator[Any]:
    """An upload; with `chunks` it stops after so many and never ends."""
    yield registry_pb2.RegisterModelVersionRequest(header=header)
    for number, offset in enumerate(range(0, len(data), CHUNK)):
        if number == chunks:
            threading.Event().wait(60)
        piece = registry_pb2.UploadChunk(offset=offset, data=data[offset : offset + CHUNK])
        yield registry_pb2.RegisterModelVersionRequest(chunk=piece)


def test_killed_at_any_moment_of_an_upload_it_takes_the_same_upload_once(
    tmp_path: Path, captures: list[str], helpers: Any
) -> None:
    """After some chunks, while the model is checked, signed and stored: the same key leads to one version."""
    service = launch("registry", tmp_path)
    with open_channel(ChannelSettings(service.address)) as channel:
        stub = registry_pb2_grpc.ModelRegistryServiceStub(channel)
        trained = list(stub.TrainModel(registry_pb2.TrainModelRequest(spec=helpers.spec(captures))))[-1].progress
        wanted = registry_pb2.DownloadModelVersionRequest(name=trained.training.model_version.name)
        data = b"".join(response.chunk.data for response in stub.DownloadModelVersion(wanted))
    moments: list[tuple[int | None, float]] = [
        (0, 0.2),
        (3, 0.2),
        *((None, wait) for wait in (0.0, 0.3, 0.8, 1.3, 2.0)),
    ]
    for number, (chunks, wait) in enumerate(moments):
        header = registry_pb2.UploadHeader(
            model=f"models/up-{number}", format=model_pb2.ARTIFACT_FORMAT_SKOPS, size_bytes=len(data),
            digest=hashlib.sha256(data).hexdigest(), request_id=f"u-{number}",
        )  # fmt: skip
        with open_channel(ChannelSettings(service.address)) as channel:
            stub = registry_pb2_grpc.ModelRegistryServiceStub(channel)
            interrupted = stub.RegisterModelVersion.future(sent(header, data, chunks))
            time.sleep(wait)
            service.kill()
            interrupted.exception(timeout=30)
        service = launch("registry", tmp_path)
        with open_channel(ChannelSettings(service.address)) as channel:
            stub = registry_pb2_grpc.ModelRegistryServiceStub(channel)
            first = stub.RegisterModelVersion(sent(header, data, None)).model_version
            assert stub.RegisterModelVersion(sent(header, data, None)).model_version == first
            listed = stub.ListModelVersions(registry_pb2.ListModelVersionsRequest(parent=header.model))
            assert list(listed.model_versions) == [first]
            assert first.digest == header.digest
    with open_channel(ChannelSettings(service.address)) as channel:
        stub = registry_pb2_grpc.ModelRegistryServiceStub(channel)
        collect = registry_pb2.CollectGarbageRequest()
        collect.grace.seconds = 0
        time.sleep(0.2)
        stub.CollectGarbage(collect)
        models = [f"models/up-{number}" for number in range(len(moments))] + ["models/flows"]
        pages = [stub.ListModelVersions(registry_pb2.ListModelVersionsRequest(parent=name)) for name in models]
        needed = {file.digest for page in pages for version in page.model_versions for file in version.files}
        assert stub.VerifyAudit(registry_pb2.VerifyAuditRequest()).valid
    service.stop()
    artifacts = tmp_path / "registry" / "artifacts"
    assert {place.name for place in artifacts.glob("blobs/sha256/*/*")} == needed
    assert len(list(artifacts.glob("tenants/*/models/*/*/manifest.json"))) == len(models)
    for folder in (artifacts / "incoming", artifacts / "holds", tmp_path / "registry" / "uploads"):
        assert list(folder.iterdir()) == []
