"""SIGKILL at any moment loses nothing that was acknowledged, and what was interrupted goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from service_process import launch, running

from securenet.registry.v1 import registry_pb2, registry_pb2_grpc, training_pb2
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
