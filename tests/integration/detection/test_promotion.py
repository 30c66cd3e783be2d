"""Versions are promoted in a real registry while calls and a stream go on: none fails, each verdict names its model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from labelled_captures import write_capture
from service_process import running

from securenet.detection.v1 import detection_pb2 as pb
from securenet.detection.v1 import detection_pb2_grpc, verdict_pb2
from securenet.registry.v1 import model_pb2, registry_pb2, registry_pb2_grpc, training_pb2
from securenet_core.channels import ChannelSettings, open_aio_channel

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

TIMEOUT = 60.0
CALLERS = 4


async def train(registry: Any, captures: list[str], iterations: int, **fields: Any) -> str:
    """A version's name."""
    params = {"max_iter": str(iterations), "min_samples_leaf": "5"}
    spec = training_pb2.TrainingSpec(**{"model": "models/flows", "data_uris": captures, "params": params, **fields})
    steps = [response.progress async for response in registry.TrainModel(registry_pb2.TrainModelRequest(spec=spec))]
    assert steps[-1].training.state == training_pb2.TRAINING_STATE_SUCCEEDED, steps[-1]
    return str(steps[-1].training.model_version.name)


async def promote(registry: Any, name: str, **fields: Any) -> None:
    await registry.PromoteModelVersion(registry_pb2.PromoteModelVersionRequest(name=name, **fields), timeout=TIMEOUT)


class Load:
    """Callers and a stream that never pause; what they were told, by whom."""

    def __init__(self, detection: Any, record: Any, columns: Any) -> None:
        self.unary: list[str] = []
        self.streamed: list[str] = []
        self.stopping = False
        self._detection, self._record, self._columns = detection, record, columns
        self._tasks = [asyncio.ensure_future(self._call(number)) for number in range(CALLERS)]
        self._tasks.append(asyncio.ensure_future(self._stream()))

    async def _call(self, number: int) -> None:
        count = 0
        while not self.stopping:
            flow = self._record(count % 200, src=f"10.0.2.{number}")
            flow.flow_id = f"U{number}-{count}"
            answer = await self._detection.Analyze(pb.AnalyzeRequest(flow=flow), timeout=TIMEOUT)
            assert answer.verdict.HasField("model"), answer.verdict
            self.unary.append(answer.verdict.model.name)
            count += 1

    async def _requests(self) -> AsyncIterator[pb.AnalyzeStreamRequest]:
        sequence = 0
        while not self.stopping:
            ids = [f"S{sequence}-{row}" for row in range(32)]
            batch = self._columns(0, 32, src="10.0.3.1", flow_id=ids)
            yield pb.AnalyzeStreamRequest(sequence=sequence, batch=batch)
            sequence += 1
            await asyncio.sleep(0.005)

    async def _stream(self) -> None:
        expected = 0
        async for response in self._detection.AnalyzeStream(self._requests()):
            assert response.sequence == expected
            assert len(response.verdicts.threat_level) == 32
            self.streamed.append(response.verdicts.model.name)
            expected += 1

    async def until_all_say(self, name: str) -> None:
        """Until the last answers of both kinds come from this version."""
        deadline = time.monotonic() + TIMEOUT
        while set(self.unary[-CALLERS:]) != {name} or set(self.streamed[-2:]) != {name}:
            assert time.monotonic() < deadline, (self.unary[-1:], self.streamed[-1:])
            assert not any(task.done() for task in self._tasks), [task for task in self._tasks if task.done()]
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Ends the load; raises what failed."""
        self.stopping = True
        await asyncio.gather(*self._tasks)


async def test_promotions_fail_no_call_and_a_broken_artifact_changes_nothing(
    tmp_path: Path, record: Any, columns: Any
) -> None:
    captures = [str(write_capture(tmp_path / f"day{i}" / "conn.log", seed=i)) for i in range(3)]
    with running("registry", tmp_path) as served:
        async with open_aio_channel(ChannelSettings(served.address)) as registry_channel:
            registry = registry_pb2_grpc.ModelRegistryServiceStub(registry_channel)
            first, second, third = [await train(registry, captures, iterations) for iterations in (6, 8, 10)]
            await promote(registry, first)
            key = served.data_dir / "keys" / "signing.pub.pem"
            # Shedding the model under load has tests of its own; a busy machine must not begin it here.
            patience = {f"load__{step}_seconds": "3600" for step in ("shed_model", "shed_details", "refuse")}
            settings = {"registry": served.address, "model_name": "flows", "model_trusted_key": str(key), **patience}
            with running("detection", tmp_path, **settings) as service:
                async with open_aio_channel(ChannelSettings(service.address)) as channel:
                    detection = detection_pb2_grpc.DetectionServiceStub(channel)
                    await served_model(detection, first)
                    load = Load(detection, record, columns)
                    for name in (first, second, first, second):
                        await promote(registry, name)
                        await load.until_all_say(name)
                    await break_artifact(registry, served.data_dir, third)
                    with_error = await refused(registry, detection, third)
                    await load.until_all_say(second)
                    await load.stop()
    assert with_error
    assert set(load.unary) == set(load.streamed) == {first, second}


async def served_model(detection: Any, name: str, slot: str = "current") -> None:
    deadline = time.monotonic() + TIMEOUT
    while True:
        answer = await detection.GetServingModel(pb.GetServingModelRequest(), timeout=TIMEOUT)
        if getattr(answer, slot).model.name == name:
            return
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.05)


async def break_artifact(registry: Any, data_dir: Path, name: str) -> None:
    """Changes a byte of the version's serving form where the registry keeps it."""
    request = registry_pb2.DownloadModelVersionRequest(name=name, flavor=model_pb2.FLAVOR_ONNX)
    parts = [part async for part in registry.DownloadModelVersion(request, timeout=TIMEOUT)]
    content = b"".join(part.chunk.data for part in parts)
    spoil(data_dir, content)


def spoil(data_dir: Path, content: bytes) -> None:
    """Changes the last byte of each file that holds this and nothing else."""
    stored = [path for path in data_dir.rglob("*") if path.is_file() and path.stat().st_size == len(content)]
    stored = [path for path in stored if path.read_bytes() == content]
    assert stored
    for path in stored:
        path.chmod(0o600)
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


async def refused(registry: Any, detection: Any, name: str) -> str:
    """Why the version is not served: by the registry's gate, or by detection."""
    try:
        await promote(registry, name)
    except grpc.RpcError as error:
        return str(error)
    deadline = time.monotonic() + TIMEOUT
    while True:
        answer = await detection.GetServingModel(pb.GetServingModelRequest(), timeout=TIMEOUT)
        if name in answer.detail:
            return str(answer.detail)
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.05)


async def test_an_anomaly_model_is_served_beside_the_model_fitted_to_the_site_and_swapped(
    tmp_path: Path, columns: Any
) -> None:
    captures = [str(write_capture(tmp_path / f"day{i}" / "conn.log", seed=i, flows=1500)) for i in range(3)]
    forest = {"model": "models/flows-anomaly", "estimator": training_pb2.ESTIMATOR_ISOLATION_FOREST}
    with running("registry", tmp_path) as served:
        async with open_aio_channel(ChannelSettings(served.address)) as registry_channel:
            registry = registry_pb2_grpc.ModelRegistryServiceStub(registry_channel)
            known = await train(registry, captures, 6)
            first = await train(registry, captures, 0, params={"n_estimators": "30"}, **forest)
            fitted = await train(registry, captures, 0, params={}, base_version=first.rpartition("/")[2], **forest)
            await promote(registry, known)
            key = str(served.data_dir / "keys" / "signing.pub.pem")
            settings = {"registry": served.address, "model_name": "flows", "model_trusted_key": key}
            with running(
                "detection", tmp_path, anomaly_model_name="flows-anomaly", detectors__anomaly__tail="0.05", **settings
            ) as service:
                async with open_aio_channel(ChannelSettings(service.address)) as channel:
                    detection = detection_pb2_grpc.DetectionServiceStub(channel)
                    await served_model(detection, known)
                    before = await alien(detection, columns, 0)
                    assert "anomaly" in {skipped.detector for skipped in before.verdicts.skipped}
                    assert not told(before, "anomaly")
                    for number, name in enumerate((first, fitted, first), start=1):
                        await promote(registry, name)
                        await served_model(detection, name, "anomaly")
                        answer = await alien(detection, columns, number)
                        assert answer.verdicts.model.name == known
                        assert "anomaly" not in {skipped.detector for skipped in answer.verdicts.skipped}
                        (evidence,) = told(answer, "anomaly")
                        assert evidence.level == verdict_pb2.THREAT_LEVEL_LOW
                        assert 0 < evidence.measured <= evidence.threshold == 0.05
                        assert "what stands out is" in evidence.summary
                        assert evidence.contributions[0].contribution > 0
                    # A model of the other kind is refused, and the one before goes on, also where a gate is overridden.
                    wrong = await train(registry, captures, 6, model="models/flows-anomaly")
                    with pytest.raises(grpc.aio.AioRpcError, match="score-kind: probability; required anomaly"):
                        await promote(registry, wrong)
                    await promote(registry, wrong, override_gates=True, reason="to see what detection does")
                    assert "kind 'probability'" in await refused_anomaly(detection, wrong)
                    assert told(await alien(detection, columns, 9), "anomaly")


async def alien(detection: Any, columns: Any, number: int) -> Any:
    """What is said of a flow such as none that was trained on."""
    odd = columns(0, 1, src=f"10.0.4.{number}", dst_port=[47_111], flow_id=[f"A{number}"])
    odd.orig_bytes[:] = [10**12]
    odd.duration_ns[:] = [80_000 * 10**9]
    options = verdict_pb2.BatchOptions(detail_level=verdict_pb2.THREAT_LEVEL_LOW)
    return await detection.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=odd, options=options), timeout=TIMEOUT)


def told(answer: Any, detector: str) -> list[Any]:
    """Evidence of a detector."""
    return [one for detail in answer.verdicts.details for one in detail.verdict.evidence if one.detector == detector]


async def refused_anomaly(detection: Any, name: str) -> str:
    deadline = time.monotonic() + TIMEOUT
    while True:
        answer = await detection.GetServingModel(pb.GetServingModelRequest(), timeout=TIMEOUT)
        if name in answer.anomaly_detail:
            return str(answer.anomaly_detail)
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.05)
