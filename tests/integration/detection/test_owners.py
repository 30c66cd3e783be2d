"""Several processes answer as one does, whichever of them a flow comes to: every state has one owner.

The processes are servers of one event loop here, each with its own engine and the sockets that processes have.
"""

from __future__ import annotations

import asyncio
import ipaddress
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from dependency_injector import providers
from detection_batches import SETTINGS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from securenet.detection.v1 import detection_pb2 as pb
from securenet.detection.v1 import detection_pb2_grpc, flow_pb2, verdict_pb2
from securenet_core import Server
from securenet_core.channels import ChannelSettings, open_aio_channel
from securenet_core.peers import Place
from securenet_detection.container import DEFINITION, DetectionContainer
from securenet_detection.grpc_owners import owner
from securenet_detection.settings import DetectionSettings

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

START = 1_767_225_600
TIMEOUT = 60
MAPPED = b"\0" * 10 + b"\xff\xff"


class Flow(NamedTuple):
    """What differs from flow to flow; two with one number are one flow that came twice."""

    number: int
    src: str
    dst: str
    port: int
    state: int


class Piece(NamedTuple):
    """Flows that come together: how, to which process, about which state."""

    flows: list[Flow]
    kind: str
    process: int
    scope: str


some_flows = st.lists(
    st.builds(
        Flow,
        number=st.integers(0, 200),
        src=st.sampled_from(["10.0.0.5", "10.0.0.6", "198.51.100.7", "198.51.100.8"]),
        dst=st.integers(1, 9).map(lambda i: f"93.184.216.{i}") | st.sampled_from(["10.0.0.9", "10.0.0.10"]),
        port=st.sampled_from([22, 23, 443, 3389]),
        state=st.sampled_from([flow_pb2.CONN_STATE_S0, flow_pb2.CONN_STATE_REJ, flow_pb2.CONN_STATE_SF]),
    ),
    min_size=1,
    max_size=25,
)
pieces = st.lists(
    st.builds(
        Piece,
        flows=some_flows,
        kind=st.sampled_from(["unary", "batch", "stream"]),
        process=st.integers(0, 2),
        scope=st.sampled_from(["", "", "a", "b"]),
    ),
    min_size=1,
    max_size=8,
)


def record(flow: Flow) -> flow_pb2.FlowRecord:
    made = flow_pb2.FlowRecord(
        flow_id=f"C{flow.number}", src_ip=flow.src, dst_ip=flow.dst, src_port=40000, dst_port=flow.port,
        protocol=flow_pb2.TRANSPORT_PROTOCOL_TCP, conn_state=flow.state,  # type: ignore[arg-type] # an enum's number
        orig_bytes=0, resp_bytes=0, orig_pkts=2, resp_pkts=1,
    )  # fmt: skip
    made.start_time.seconds = START + flow.number
    made.duration.seconds = 1
    return made


def columns(flows: Sequence[Flow]) -> flow_pb2.FlowBatch:
    count = len(flows)
    return flow_pb2.FlowBatch(
        start_time_ns=[(START + flow.number) * 10**9 for flow in flows],
        duration_ns=[10**9] * count,
        src_addr=b"".join(MAPPED + ipaddress.ip_address(flow.src).packed for flow in flows),
        dst_addr=b"".join(MAPPED + ipaddress.ip_address(flow.dst).packed for flow in flows),
        src_port=[40000] * count,
        dst_port=[flow.port for flow in flows],
        protocol=[6] * count,
        conn_state=[flow.state for flow in flows],
        orig_bytes=[0] * count,
        resp_bytes=[0] * count,
        orig_pkts=[2] * count,
        resp_pkts=[1] * count,
        flow_id=[f"C{flow.number}" for flow in flows],
    )


@asynccontextmanager
async def service(folder: Path, count: int) -> AsyncIterator[list[Any]]:
    """Stubs of so many processes of one service."""
    async with AsyncExitStack() as stack:
        # pytest's folders make longer paths than sockets may have.
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
        wanted = DetectionSettings(
            port=0, data_dir=folder, access_log=False, detectors=SETTINGS, chunk_rows=64, grace=5, processes=count
        )
        servers, stubs = [], []
        for number in range(count):
            place = providers.Object(Place(number, count, sockets) if count > 1 else None)
            server = Server(wanted, DEFINITION, lambda place=place, **given: DetectionContainer(place=place, **given))
            await server.start()
            servers.append(server)
            channel = await stack.enter_async_context(open_aio_channel(ChannelSettings(server.address)))
            stubs.append(detection_pb2_grpc.DetectionServiceStub(channel))
        try:
            yield stubs
        finally:
            # As the parent asks all of them at once.
            ended = await asyncio.gather(*(server.stop() for server in servers))
        assert ended == [0] * count


def told(verdict: verdict_pb2.Verdict) -> Any:
    evidence = [(e.id, e.detector, e.level, e.measured, e.threshold, e.summary, *e.flow_ids) for e in verdict.evidence]
    skipped = [(one.detector, one.reason) for one in verdict.skipped]
    return (verdict.flow_id, verdict.threat_level, verdict.score, evidence, skipped, verdict.evidence_omitted)


async def answers(stubs: list[Any], given_pieces: list[Piece]) -> tuple[list[Any], list[Any]]:
    """Verdicts in order, and the findings that every process knows."""
    found: list[Any] = []
    for at, piece in enumerate(given_pieces):
        stub = stubs[piece.process % len(stubs)]
        options = verdict_pb2.BatchOptions(detail_level=verdict_pb2.THREAT_LEVEL_LOW, state_scope=piece.scope)
        if piece.kind == "unary":
            for flow in piece.flows:
                response = await stub.Analyze(pb.AnalyzeRequest(flow=record(flow)), timeout=TIMEOUT)
                found.append(told(response.verdict))
        elif piece.kind == "batch":
            request = pb.AnalyzeBatchRequest(batch=columns(piece.flows), options=options)
            batch = (await stub.AnalyzeBatch(request, timeout=TIMEOUT)).verdicts
            found += [told(detail.verdict) for detail in batch.details]
        else:
            # The second message is about another state, which may have another owner.
            other = verdict_pb2.BatchOptions(detail_level=verdict_pb2.THREAT_LEVEL_LOW, state_scope="c")
            requests = [
                pb.AnalyzeStreamRequest(sequence=at + n, batch=columns(piece.flows), options=chosen)
                for n, chosen in enumerate((options, other, options))
            ]
            sequences = []
            async for response in stub.AnalyzeStream(iter(requests), timeout=TIMEOUT):
                sequences.append(response.sequence)
                found += [told(detail.verdict) for detail in response.verdicts.details]
            assert sequences == [at, at + 1, at + 2]
    listed = []
    for stub in stubs:
        page = await stub.ListFindings(pb.ListFindingsRequest(page_size=1000), timeout=TIMEOUT)
        listed.append(
            sorted(
                (one.name, one.threat_level, one.peak_risk, one.entity, one.count, one.summary, *one.peers)
                for one in page.findings
            )
        )
    assert all(one == listed[0] for one in listed)
    return found, listed[0]


async def compare(folder: Path, given_pieces: list[Piece], count: int) -> None:
    async with service(folder / "one", 1) as stubs:
        expected = await answers(stubs, given_pieces)
    async with service(folder / "several", count) as stubs:
        assert await answers(stubs, given_pieces) == expected


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pieces, st.integers(2, 3))
def test_several_processes_answer_as_one(
    tmp_path_factory: pytest.TempPathFactory, given_pieces: list[Piece], count: int
) -> None:
    asyncio.run(compare(tmp_path_factory.mktemp("owners"), given_pieces, count))


def test_calls_of_many_are_joined_and_each_gets_its_own(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path, 2) as stubs:
            stub = stubs[1 - owner("default", "", 2)]
            calls = [
                stub.Analyze(
                    pb.AnalyzeRequest(flow=record(Flow(n, "10.0.0.5", f"93.184.216.{n + 1}", 23, 1))), timeout=TIMEOUT
                )
                for n in range(40)
            ]
            wrong = stub.Analyze(pb.AnalyzeRequest(flow=record(Flow(99, "10.0.0.5", "93.184.216.9", 23, 1))))
            wrong.cancel()
            verdicts = [(await call).verdict for call in calls]
            assert [verdict.flow_id for verdict in verdicts] == [f"C{n}" for n in range(40)]
            # Calls at once come in any order, so nobody knows which of them pass the threshold; the first does not.
            levels = [verdict.threat_level for verdict in verdicts]
            assert min(levels) < verdict_pb2.THREAT_LEVEL_MEDIUM <= max(levels)

    asyncio.run(run())


def test_a_flow_that_cannot_be_fails_alone_among_those_that_came_with_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path, 2) as stubs:
            stub = stubs[1 - owner("default", "", 2)]
            flows = [record(Flow(n, "10.0.0.5", f"93.184.216.{n + 1}", 443, 3)) for n in range(30)]
            # A time that a Timestamp holds, and nanoseconds in 64 bits do not.
            flows[7].start_time.seconds = 253_402_300_799
            calls = [stub.Analyze(pb.AnalyzeRequest(flow=flow), timeout=TIMEOUT) for flow in flows]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            failed = [number for number, answer in enumerate(answers) if isinstance(answer, BaseException)]
            assert failed == [7]
            error = answers[7]
            assert isinstance(error, grpc.aio.AioRpcError)
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "flow.start_time" in (error.details() or "")

    asyncio.run(run())


def test_what_the_owner_refuses_reads_as_if_it_had_been_refused_here(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path, 2) as stubs:
            codes = []
            for stub in stubs:
                batch = columns([Flow(1, "10.0.0.5", "93.184.216.9", 23, 1)])
                batch.dst_port.append(7)
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=batch), timeout=TIMEOUT)
                codes.append((refused.value.code(), refused.value.details()))
            assert codes[0] == codes[1]
            assert codes[0][0] is grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(run())
