"""A model that is too slow for what comes: what is left out is said, counted, and in the end refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from securenet.detection.v1 import detection_pb2 as pb
from securenet.detection.v1 import detection_pb2_grpc
from securenet_core import Server
from securenet_core.channels import ChannelSettings, open_aio_channel, open_channel
from securenet_core.exceptions import ResourceExhaustedError
from securenet_core.status import from_rpc_error
from securenet_detection.container import DEFINITION, DetectionContainer
from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.models.calibration import Calibration, OperatingPoints
from securenet_detection.models.interface import ModelReference
from securenet_detection.models.serving import ModelSlot, ServingModel
from securenet_detection.settings import DetectionSettings, LoadSettings

pytestmark = pytest.mark.integration

ROWS = 512
STATE = StateSettings(entities=1024, members=4096, contexts=1024, repeats=1 << 16, hash_seed=5)


class SlowModel:
    """Takes half a millisecond a row."""

    def scores(self, features: Any) -> NDArray[np.float64]:
        time.sleep(len(features) * 0.0005)
        return np.full(len(features), 0.1)


def slow_models() -> ModelSlot:
    table = np.array([0.0, 1.0])
    models = ModelSlot()
    models.swap(
        ServingModel(
            ModelReference("models/slow/versions/1", "champion", ""), SlowModel(), Calibration(table, table),
            OperatingPoints(0.5, None), "", 1, 0, 0.0,
        )
    )  # fmt: skip
    return models


@pytest.fixture
async def server(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Server]:
    settings = DetectionSettings(
        port=0, data_dir=tmp_path, access_log=False, grace=5, chunk_rows=64,
        detectors=DetectorSettings(state=STATE), load=request.param,
    )  # fmt: skip
    server = Server(
        settings, DEFINITION, make_container=lambda **given: DetectionContainer(**given, models=slow_models())
    )
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def stub(server: Server) -> AsyncIterator[Any]:
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        yield detection_pb2_grpc.DetectionServiceStub(channel)


@pytest.fixture
async def send(server: Server, columns: Any) -> AsyncIterator[Any]:
    """Sends a batch of its own source, and gives its verdicts or the error.

    From threads: callers in the server's own event loop would have to wait for it, and could not come all at once.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(32) as threads, open_channel(ChannelSettings(server.address)) as channel:
        stub = detection_pb2_grpc.DetectionServiceStub(channel)

        def call(request: pb.AnalyzeBatchRequest) -> Any:
            try:
                return stub.AnalyzeBatch(request, timeout=60).verdicts
            except grpc.RpcError as error:
                return from_rpc_error(error)

        async def sent(part: int) -> Any:
            request = pb.AnalyzeBatchRequest(batch=columns(0, ROWS, src=f"10.2.0.{part + 1}"))
            return await loop.run_in_executor(threads, call, request)

        yield sent


def metrics(server: Server) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in server.runtime.registry.collect()
        for sample in family.samples
    }


SHEDDING = LoadSettings(shed_model_seconds=0.1, shed_details_seconds=0.1, refuse_seconds=3600)
REFUSING = LoadSettings(shed_model_seconds=3600, shed_details_seconds=3600, refuse_seconds=0.3)


@pytest.mark.parametrize("server", [SHEDDING], indirect=True)
async def test_what_is_left_out_is_said_and_counted(server: Server, send: Any) -> None:
    # What a row costs is learned from a caller that is alone, who gets everything.
    for part in range(8):
        alone = await send(part)
        assert alone.model.name == "models/slow/versions/1"
        assert not alone.details_omitted
    answers = await asyncio.gather(*(send(part) for part in range(100, 116)))
    without_model = [answer for answer in answers if not answer.HasField("model")]
    assert without_model
    for answer in without_model:
        assert {one.detector: one.reason for one in answer.skipped}["model"] == "shed under load"
        # Levels and scores stay, and every row that lost its details is counted.
        assert not answer.details
        assert answer.details_omitted == sum(level >= 2 for level in answer.threat_level) > 0
        assert len(answer.score) == ROWS
    counted = metrics(server)
    assert counted["securenet_detection_shed_flows_total", "model"] == ROWS * len(without_model)
    assert counted["securenet_detection_shed_flows_total", "details"] == ROWS * len(without_model)
    assert counted["securenet_detection_waiting_flows",] == 0


@pytest.mark.parametrize("server", [REFUSING], indirect=True)
async def test_past_the_bound_calls_are_refused_with_a_time_to_come_again(server: Server, send: Any) -> None:
    for part in range(8):
        await send(part)
    answers = await asyncio.gather(*(send(part) for part in range(100, 124)))
    refused = [answer for answer in answers if isinstance(answer, ResourceExhaustedError)]
    assert refused
    assert all(error.reason == "OVERLOADED" and error.retry_after for error in refused)
    scored = [answer for answer in answers if not isinstance(answer, Exception)]
    assert len(scored) + len(refused) == len(answers)
    assert scored
    counted = metrics(server)
    assert counted["securenet_detection_refused_calls_total",] == len(refused)
    assert counted["securenet_detection_waiting_flows",] == 0


@pytest.mark.parametrize("server", [REFUSING], indirect=True)
async def test_a_stream_that_was_let_in_is_held_back_and_loses_no_batch(stub: Any, columns: Any) -> None:
    async def requests(part: int) -> AsyncIterator[pb.AnalyzeStreamRequest]:
        for sequence in range(6):
            batch = columns(sequence * 256, 256, src=f"10.3.0.{part + 1}")
            yield pb.AnalyzeStreamRequest(sequence=sequence, batch=batch)

    async def stream(part: int) -> list[int]:
        while True:
            answered: list[int] = []
            try:
                async for answer in stub.AnalyzeStream(requests(part), timeout=60):
                    answered.append(answer.sequence)  # noqa: PERF401 - what came before an error counts
            except grpc.RpcError as error:
                # A stream may be refused at the door, which costs it nothing, and never after.
                if answered or error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                await asyncio.sleep(0.1)
            else:
                return answered

    assert await asyncio.gather(*(stream(part) for part in range(4))) == [list(range(6))] * 4
