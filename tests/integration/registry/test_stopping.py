"""SIGTERM while a training runs: nothing is cut or lost, and the next process takes it up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from service_process import ServiceProcess, launch, running

from securenet.registry.v1 import registry_pb2, registry_pb2_grpc, training_pb2
from securenet_core.channels import ChannelSettings, open_channel

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SETTINGS = {"model_signing_bundle": "false", "grace": "20"}


def complaints(service: ServiceProcess) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if str(line.get("level", "")).lower() in {"error", "critical"}]


def test_a_stop_while_training_is_clean_and_the_training_goes_on(
    tmp_path: Path, captures: list[str], helpers: Any
) -> None:
    slow = helpers.spec(captures, params={"max_iter": "1500", "learning_rate": "0.001", "min_samples_leaf": "1"})
    quick = helpers.spec(captures, "quick")
    service = launch("registry", tmp_path, **SETTINGS)
    with open_channel(ChannelSettings(service.address)) as channel:
        stub = registry_pb2_grpc.ModelRegistryServiceStub(channel)
        steps = stub.TrainModel(registry_pb2.TrainModelRequest(spec=slow, request_id="slow"))
        name = next(steps).progress.training.name
        waiting = stub.TrainModel(registry_pb2.TrainModelRequest(spec=quick, request_id="quick"))
        assert next(waiting).progress.phase == "queued"
        for step in steps:
            if step.progress.phase == "fitting":
                break
        watch = stub.WatchTraining(registry_pb2.WatchTrainingRequest(name=name))
        assert next(watch).progress.training.state == training_pb2.TRAINING_STATE_RUNNING
        assert service.stop(timeout=25) == 0
        for stream in (steps, waiting, watch):
            with pytest.raises(grpc.RpcError) as ended:
                list(stream)
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert complaints(service) == []
    assert "Traceback" not in service.log.read_text()
    with (
        running("registry", tmp_path, **SETTINGS) as again,
        open_channel(ChannelSettings(again.address)) as channel,
    ):
        stub = registry_pb2_grpc.ModelRegistryServiceStub(channel)
        # It was queued again, and began again from the start of the file; its number of attempts does not count that.
        first = next(stub.WatchTraining(registry_pb2.WatchTrainingRequest(name=name, from_seq=1)))
        assert (first.progress.seq, first.progress.phase) == (1, "queued")
        present = next(stub.WatchTraining(registry_pb2.WatchTrainingRequest(name=name)))
        assert present.progress.seq > step.progress.seq
        assert present.progress.training.state in {
            training_pb2.TRAINING_STATE_QUEUED, training_pb2.TRAINING_STATE_RUNNING,
        }  # fmt: skip
        stub.CancelTraining(registry_pb2.CancelTrainingRequest(name=name))
        last = list(stub.TrainModel(registry_pb2.TrainModelRequest(spec=quick, request_id="quick")))[-1].progress
        assert last.training.state == training_pb2.TRAINING_STATE_SUCCEEDED
        assert last.training.model_version.version == 1
        assert again.stop() == 0
    assert complaints(again) == []
