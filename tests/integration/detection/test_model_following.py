"""The model from a registry that speaks the contract: picked up, swapped, refused, told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from onnx import TensorProto, helper

from securenet.detection.v1 import detection_pb2 as pb
from securenet.detection.v1 import detection_pb2_grpc
from securenet.registry.v1 import model_pb2, registry_pb2, registry_pb2_grpc
from securenet_core.channels import ChannelSettings, open_aio_channel
from securenet_detection.models.grpc_model_source import GrpcModelSource
from securenet_detection.models.interface import Promotion
from securenet_detection.models.verification import TrustedKey
from securenet_flows.features import FEATURES, SCHEMA_HASH

pytestmark = pytest.mark.integration

COLUMNS = len(FEATURES)
TIMEOUT = 30


def constant_model(probability: float) -> bytes:
    """A graph that takes the features and gives everybody the same score."""
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    score = helper.make_tensor("score0", TensorProto.FLOAT, [1], [probability])
    graph = helper.make_graph(
        [
            helper.make_node("IsNaN", ["features"], ["unknown"]),
            helper.make_node("Where", ["unknown", "zero", "features"], ["known"]),
            helper.make_node("ReduceSum", ["known", "axes"], ["total"], keepdims=0),
            helper.make_node("Mul", ["total", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "score0"], ["score"]),
        ],
        "constant",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, COLUMNS])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None])],
        [zero, axes, score],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()


class FakeRegistry(registry_pb2_grpc.ModelRegistryServiceServicer):
    """Serves versions that the test puts in."""

    def __init__(self, folder: Path) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.key_path = folder / "registry.pem"
        self.key_path.write_bytes(
            self.key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        self.versions: dict[int, tuple[bytes, bytes, bytes]] = {}
        self.alias = model_pb2.ModelAlias(alias="champion")
        self.changed = asyncio.Event()
        self.reports: asyncio.Queue[model_pb2.ServingReport] = asyncio.Queue()

    def add(self, version: int, probability: float, *, tamper: str = "") -> None:
        data = constant_model(probability)
        features = np.zeros((4, COLUMNS), "<f4")
        document = {
            "schema": "securenet.manifest/1",
            "model": "flows",
            "version": version,
            "files": [{"path": "m.onnx", "size_bytes": len(data), "digest": hashlib.sha256(data).hexdigest()}],
            "feature_schema_hash": SCHEMA_HASH,
            "serving": {"file": "m.onnx", "input": "features", "output": "score", "kind": "probability"},
            "calibration": {"kind": "piecewise-linear", "x": [0.0, 1.0], "y": [0.0, 1.0]},
            "golden": {
                "shape": [4, COLUMNS],
                "features": base64.b64encode(features.tobytes()).decode(),
                "raw": [float(np.float32(probability))] * 4,
                "tolerance": 1e-5,
            },
            "thresholds": [],
        }
        manifest = json.dumps(document).encode()
        signature = self.key.sign(manifest, ec.ECDSA(hashes.SHA256()))
        if tamper == "signature":
            signature = b"0" * len(signature)
        if tamper == "bytes":
            data = data[:-1] + bytes([data[-1] ^ 1])
        self.versions[version] = (data, manifest, signature)

    def promote(self, version: int) -> None:
        self.alias.version = version
        self.alias.generation += 1
        self.changed.set()

    async def WatchModel(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if request.name != "models/flows":
            yield registry_pb2.WatchModelResponse(snapshot=registry_pb2.ModelSnapshot())
            await asyncio.Event().wait()
        model = model_pb2.Model(name=request.name, aliases=[self.alias] if self.alias.generation else [])
        yield registry_pb2.WatchModelResponse(
            revision=self.alias.generation, snapshot=registry_pb2.ModelSnapshot(model=model)
        )
        while True:
            await self.changed.wait()
            self.changed.clear()
            event = model_pb2.ModelEvent(kind="alias-moved", model=request.name, alias=self.alias)
            yield registry_pb2.WatchModelResponse(revision=self.alias.generation, event=event)

    async def DownloadModelVersion(self, request: Any, context: Any) -> AsyncIterator[Any]:
        data, manifest, signature = self.versions[int(request.name.rpartition("/")[2])]
        assert request.flavor == model_pb2.FLAVOR_ONNX
        yield registry_pb2.DownloadModelVersionResponse(
            header=registry_pb2.DownloadHeader(
                file=model_pb2.ArtifactFile(path="m.onnx"),
                manifest=manifest,
                signature=model_pb2.Signature(value=signature),
            )
        )
        for offset in range(0, len(data), 100):
            chunk = registry_pb2.DownloadChunk(offset=offset, data=data[offset : offset + 100])
            yield registry_pb2.DownloadModelVersionResponse(chunk=chunk)

    async def ReportServing(self, request: Any, context: Any) -> Any:
        self.reports.put_nowait(request.report)
        return registry_pb2.ReportServingResponse()


@pytest.fixture
async def registry(tmp_path: Path) -> FakeRegistry:
    return FakeRegistry(tmp_path)  # type: ignore[abstract]  # RPCs that nobody here calls are not made


async def listen(registry: FakeRegistry, port: int = 0) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    registry_pb2_grpc.add_ModelRegistryServiceServicer_to_server(registry, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, bound


@pytest.fixture
async def registry_port(registry: FakeRegistry) -> AsyncIterator[int]:
    server, port = await listen(registry)
    yield port
    await server.stop(0)


@pytest.fixture
async def detection(start_server: Any, registry: FakeRegistry, registry_port: int) -> AsyncIterator[Any]:
    server = await start_server(
        registry=f"127.0.0.1:{registry_port}", model_name="flows", model_trusted_key=registry.key_path
    )
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        yield detection_pb2_grpc.DetectionServiceStub(channel)
    await server.stop()


async def report(registry: FakeRegistry) -> model_pb2.ServingReport:
    return await asyncio.wait_for(registry.reports.get(), TIMEOUT)


async def verdict(stub: Any, flow: Any) -> Any:
    return (await stub.Analyze(pb.AnalyzeRequest(flow=flow), timeout=TIMEOUT)).verdict


async def test_a_model_that_appears_is_picked_up_named_and_reported(
    detection: Any, registry: FakeRegistry, record: Any
) -> None:
    assert not (await verdict(detection, record(0))).HasField("model")
    registry.add(1, 0.75)
    registry.promote(1)
    told = await report(registry)
    assert (told.state, told.version, told.generation) == (model_pb2.SERVING_STATE_LOADED, 1, 1)
    scored = await verdict(detection, record(1))
    assert scored.model.name == "models/flows/versions/1"
    assert scored.model.alias == "champion"
    assert scored.model.digest == hashlib.sha256(registry.versions[1][0]).hexdigest()
    assert scored.score == pytest.approx(0.75, abs=1e-6)
    assert "model" not in {skipped.detector for skipped in scored.skipped}
    serving = await detection.GetServingModel(pb.GetServingModelRequest(), timeout=TIMEOUT)
    assert serving.current.feature_schema_hash == SCHEMA_HASH
    assert serving.detail == ""


@pytest.mark.parametrize("tamper", ["signature", "bytes"])
async def test_a_broken_or_unsigned_artifact_is_refused_and_the_old_model_goes_on(
    detection: Any, registry: FakeRegistry, record: Any, tamper: str
) -> None:
    registry.add(1, 0.25)
    registry.promote(1)
    await report(registry)
    registry.add(2, 0.99, tamper=tamper)
    registry.promote(2)
    told = await report(registry)
    assert (told.state, told.version, told.generation) == (model_pb2.SERVING_STATE_FAILED, 1, 2)
    assert "signed" in told.detail
    assert (await verdict(detection, record(0))).model.name == "models/flows/versions/1"
    serving = await detection.GetServingModel(pb.GetServingModelRequest(), timeout=TIMEOUT)
    assert "models/flows/versions/2 is refused" in serving.detail


async def test_a_promotion_under_load_fails_no_call_and_each_verdict_names_its_model(
    detection: Any, registry: FakeRegistry, record: Any
) -> None:
    scores = {"models/flows/versions/1": 0.1, "models/flows/versions/2": 0.2}
    for version, score in enumerate(scores.values(), start=1):
        registry.add(version, score)
    registry.promote(1)
    await report(registry)
    stop = asyncio.Event()
    seen: list[str] = []

    async def load(part: int) -> None:
        i = 0
        while not stop.is_set():
            answer = await verdict(detection, record(i % 200, src=f"10.0.2.{part}"))
            if not answer.evidence:
                assert answer.score == pytest.approx(scores[answer.model.name], abs=1e-6)
            seen.append(answer.model.name)
            i += 1
            if len(seen) >= 50 and set(seen[-8:]) == {"models/flows/versions/2"}:
                stop.set()

    workers = [asyncio.create_task(load(part)) for part in range(8)]
    registry.promote(2)
    await report(registry)
    await asyncio.wait_for(asyncio.gather(*workers), TIMEOUT)
    assert set(seen) <= set(scores)


async def test_a_registry_that_comes_later_is_found(start_server: Any, registry: FakeRegistry, record: Any) -> None:
    first, port = await listen(registry)
    await first.stop(0)
    server = await start_server(registry=f"127.0.0.1:{port}", model_name="flows", model_trusted_key=registry.key_path)
    registry.add(1, 0.5)
    registry.promote(1)
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        stub = detection_pb2_grpc.DetectionServiceStub(channel)
        assert not (await verdict(stub, record(0))).HasField("model")
        late, _ = await listen(registry, port)
        assert (await report(registry)).state == model_pb2.SERVING_STATE_LOADED
        assert (await verdict(stub, record(1))).HasField("model")
        await late.stop(0)
        assert (await verdict(stub, record(2))).HasField("model")
    await server.stop()


class WatchedKey(TrustedKey):
    """Tells who checked a manifest, which is read at once after it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.threads: list[threading.Thread] = []

    def check(self, manifest: bytes, signature: bytes, key_id: str) -> None:
        self.threads.append(threading.current_thread())
        super().check(manifest, signature, key_id)


async def test_a_download_is_checked_beside_the_event_loop(
    registry: FakeRegistry, registry_port: int, tmp_path: Path
) -> None:
    registry.add(1, 0.25)
    settings = ChannelSettings(address=f"127.0.0.1:{registry_port}")
    key = WatchedKey(registry.key_path)
    async with open_aio_channel(settings) as channel:
        source = GrpcModelSource(
            channel, settings, model="flows", alias="champion", folder=tmp_path / "models", limit=1 << 20, key=key,
            consumer="c",
        )  # fmt: skip
        promotion = Promotion("models/flows/versions/1", "champion", 1)
        artifacts = [await source.fetch(promotion) for _ in range(2)]
    assert artifacts[0] == artifacts[1]
    assert artifacts[0].path.read_bytes() == registry.versions[1][0]
    assert len(key.threads) == 2
    assert threading.main_thread() not in key.threads


async def test_the_runtime_of_models_is_there_before_the_first_call(tmp_path: Path) -> None:
    # Loading it holds the interpreter for a tenth of a second, also from another thread.
    program = (
        "import asyncio, sys\n"
        "from securenet_core.containers import Runtime\n"
        "from securenet_detection.container import DetectionContainer\n"
        "from securenet_detection.settings import DetectionSettings\n"
        "async def main():\n"
        "    container = DetectionContainer(settings=DetectionSettings(), runtime=Runtime())\n"
        "    await container.init_resources()\n"
        "    print('onnxruntime' in sys.modules)\n"
        "    await container.shutdown_resources()\n"
        "asyncio.run(main())\n"
    )
    told = []
    for registry_address in ("127.0.0.1:1", ""):
        environment = {**os.environ, "SECURENET_DETECTION_DATA_DIR": str(tmp_path)}
        if registry_address:
            environment["SECURENET_DETECTION_REGISTRY"] = registry_address
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, env=environment, stdout=asyncio.subprocess.PIPE
        )
        answer, _ = await process.communicate()
        told.append(answer.decode().split()[-1])
    assert told == ["True", "False"]
