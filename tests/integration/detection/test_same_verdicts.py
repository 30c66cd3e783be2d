"""The same flows get the same verdicts as one batch, as a stream cut anywhere, and one call after the other."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from detection_batches import SETTINGS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from securenet.detection.v1 import detection_pb2 as pb
from securenet.detection.v1 import detection_pb2_grpc, flow_pb2, verdict_pb2
from securenet_core import Server
from securenet_core.channels import ChannelSettings, open_aio_channel
from securenet_detection.container import DEFINITION
from securenet_detection.settings import DetectionSettings

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

START = 1_767_225_600
TIMEOUT = 60
MAPPED = b"\0" * 10 + b"\xff\xff"


class Flow(NamedTuple):
    """What differs from flow to flow."""

    src: str
    dst: str
    port: int
    state: int
    sent: int


flows = st.lists(
    st.builds(
        Flow,
        src=st.sampled_from(["10.0.0.5", "10.0.0.6", "198.51.100.7"]),
        dst=st.integers(1, 30).map(lambda i: f"93.184.216.{i}") | st.just("10.0.0.9"),
        port=st.sampled_from([22, 23, 443, 3389]),
        state=st.sampled_from([flow_pb2.CONN_STATE_S0, flow_pb2.CONN_STATE_REJ, flow_pb2.CONN_STATE_SF]),
        sent=st.integers(0, 3000),
    ),
    min_size=8,
    max_size=60,
)


def record(number: int, flow: Flow) -> flow_pb2.FlowRecord:
    made = flow_pb2.FlowRecord(
        flow_id=f"C{number}", src_ip=flow.src, dst_ip=flow.dst, src_port=40000 + number, dst_port=flow.port,
        protocol=flow_pb2.TRANSPORT_PROTOCOL_TCP, conn_state=flow.state,  # type: ignore[arg-type] # an enum's number
        orig_bytes=flow.sent, resp_bytes=0, orig_pkts=2, resp_pkts=1,
    )  # fmt: skip
    made.start_time.seconds = START + number
    made.duration.seconds = 1
    return made


def columns(first: int, part: Sequence[Flow]) -> flow_pb2.FlowBatch:
    rows = range(first, first + len(part))
    return flow_pb2.FlowBatch(
        start_time_ns=[(START + i) * 10**9 for i in rows],
        duration_ns=[10**9] * len(part),
        src_addr=b"".join(MAPPED + ipaddress.ip_address(flow.src).packed for flow in part),
        dst_addr=b"".join(MAPPED + ipaddress.ip_address(flow.dst).packed for flow in part),
        src_port=[40000 + i for i in rows],
        dst_port=[flow.port for flow in part],
        protocol=[6] * len(part),
        conn_state=[flow.state for flow in part],
        orig_bytes=[flow.sent for flow in part],
        resp_bytes=[0] * len(part),
        orig_pkts=[2] * len(part),
        resp_pkts=[1] * len(part),
        flow_id=[f"C{i}" for i in rows],
    )


@asynccontextmanager
async def detection(folder: Path) -> AsyncIterator[Any]:
    server = Server(
        DetectionSettings(port=0, data_dir=folder, access_log=False, detectors=SETTINGS, chunk_rows=64), DEFINITION
    )
    await server.start()
    try:
        async with open_aio_channel(ChannelSettings(server.address)) as channel:
            yield detection_pb2_grpc.DetectionServiceStub(channel)
    finally:
        await server.stop()


def told(verdict: verdict_pb2.Verdict) -> Any:
    """What is the same however a flow came; evidence of another stream has another number."""
    evidence = sorted((e.detector, e.level, e.measured, e.threshold, e.summary) for e in verdict.evidence)
    return (verdict.flow_id, verdict.threat_level, verdict.score, evidence)


def detailed(first: int, batch: verdict_pb2.VerdictBatch) -> list[Any]:
    assert [detail.row for detail in batch.details] == list(range(len(batch.threat_level)))
    assert [detail.verdict.threat_level for detail in batch.details] == list(batch.threat_level)
    assert [detail.verdict.flow_id for detail in batch.details] == [
        f"C{first + row}" for row in range(len(batch.threat_level))
    ]
    return [told(detail.verdict) for detail in batch.details]


async def answers(folder: Path, given_flows: list[Flow], edges: list[int]) -> tuple[list[Any], list[Any], list[Any]]:
    options = verdict_pb2.BatchOptions(detail_level=verdict_pb2.THREAT_LEVEL_LOW)
    async with detection(folder / "batch") as stub:
        request = pb.AnalyzeBatchRequest(batch=columns(0, given_flows), options=options)
        whole = detailed(0, (await stub.AnalyzeBatch(request, timeout=TIMEOUT)).verdicts)
    async with detection(folder / "stream") as stub:
        requests = [
            pb.AnalyzeStreamRequest(sequence=number, batch=columns(a, given_flows[a:b]), options=options)
            for number, (a, b) in enumerate(pairwise(edges))
        ]
        stream: list[Any] = []
        async for response in stub.AnalyzeStream(iter(requests), timeout=TIMEOUT):
            stream += detailed(len(stream), response.verdicts)
    async with detection(folder / "unary") as stub:
        unary = []
        for number, flow in enumerate(given_flows):
            call = stub.Analyze(pb.AnalyzeRequest(flow=record(number, flow)), timeout=TIMEOUT)
            unary.append(told((await call).verdict))
    return whole, stream, unary


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(flows, st.lists(st.integers(1, 59), max_size=5))
def test_batch_stream_and_single_calls_agree(
    tmp_path_factory: pytest.TempPathFactory, given_flows: list[Flow], cuts: list[int]
) -> None:
    edges = sorted({0, len(given_flows), *(cut for cut in cuts if cut < len(given_flows))})
    whole, stream, unary = asyncio.run(answers(tmp_path_factory.mktemp("same"), given_flows, edges))
    assert len(whole) == len(given_flows)
    assert stream == whole
    assert unary == whole
