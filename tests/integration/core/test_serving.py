"""The life of a server, over real sockets, with a servicer made for the purpose."""

from __future__ import annotations

import asyncio
import hashlib
import json
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from dependency_injector import providers
from google.protobuf import timestamp_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from securenet.detection.v1 import detection_pb2, detection_pb2_grpc, flow_pb2, verdict_pb2
from securenet_core import (
    ExitCode,
    Policy,
    Principal,
    Probe,
    Readiness,
    Role,
    Server,
    ServerSettings,
    ServiceContainer,
    ServiceDefinition,
    current_principal,
)
from securenet_core.certificates import DevelopmentAuthority
from securenet_core.channels import ChannelSettings, open_aio_channel, open_channel
from securenet_core.exceptions import (
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)
from securenet_core.status import from_rpc_error

pytestmark = pytest.mark.integration

SERVICE = detection_pb2.DESCRIPTOR.services_by_name["DetectionService"]


class FakeServicer:
    """Answers with the caller, waits on request, fails on request."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.entered = asyncio.Event()
        self.finished = 0

    async def Analyze(self, request: Any, context: Any) -> Any:
        self.entered.set()
        if request.flow.flow_id == "wait":
            await self.release.wait()
        if request.flow.flow_id == "missing":
            raise NotFoundError("flow missing: not here", reason="FLOW_NOT_FOUND", metadata={"flow": "missing"})
        if request.flow.flow_id == "crash":
            raise ZeroDivisionError("secret detail")
        self.finished += 1
        who = current_principal()
        return detection_pb2.AnalyzeResponse(
            verdict=verdict_pb2.Verdict(flow_id=f"{who.tenant}/{who.subject}/{request.flow.flow_id}")
        )

    async def AnalyzeStream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield detection_pb2.AnalyzeStreamResponse(sequence=request.sequence)

    async def WatchFindings(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield detection_pb2.WatchFindingsResponse(resume_token="1")
        await asyncio.Event().wait()


class FakeContainer(ServiceContainer):
    servicer = providers.Singleton(FakeServicer)
    probes = providers.List()


def servicer_of(server: Server) -> FakeServicer:
    assert server._container is not None
    servicer = server._container.servicer()
    assert isinstance(servicer, FakeServicer)
    return servicer


def http_of(server: Server) -> str:
    assert server.http is not None
    return f"http://127.0.0.1:{server.http.port}"


def definition(**roles: frozenset[Role]) -> ServiceDefinition:
    everybody = frozenset(Role)
    methods = {f"{SERVICE.full_name}/{m.name}": roles.get(m.name, everybody) for m in SERVICE.methods}
    return ServiceDefinition("test", SERVICE, Policy(methods), FakeContainer)


def flow(flow_id: str = "C1", **values: Any) -> detection_pb2.AnalyzeRequest:
    record = flow_pb2.FlowRecord(
        flow_id=flow_id,
        start_time=timestamp_pb2.Timestamp(seconds=1),
        src_ip="192.0.2.1",
        dst_ip="192.0.2.2",
        protocol=flow_pb2.TRANSPORT_PROTOCOL_TCP,
    )
    record.MergeFrom(flow_pb2.FlowRecord(**values))
    return detection_pb2.AnalyzeRequest(flow=record)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(ServerSettings(data_dir=tmp_path, http_port=0, grace=5, access_log=False), definition())
    await server.start()
    yield server
    await server.stop()


async def call(address: str, request: detection_pb2.AnalyzeRequest, **options: Any) -> Any:
    async with open_aio_channel(ChannelSettings(address, **options)) as channel:
        stub = detection_pb2_grpc.DetectionServiceStub(channel)
        try:
            return await stub.Analyze(request, timeout=10)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error


async def test_a_call_reaches_the_servicer_with_its_caller(server: Server) -> None:
    response = await call(server.address, flow("C7"))
    assert response.verdict.flow_id == "default/local/C7"


async def test_an_error_crosses_the_wire_whole(server: Server) -> None:
    with pytest.raises(NotFoundError) as caught:
        await call(server.address, flow("missing"))
    assert caught.value.reason == "FLOW_NOT_FOUND"
    assert caught.value.metadata == {"flow": "missing"}
    assert str(caught.value) == "flow missing: not here"


async def test_a_broken_rule_names_field_value_and_rule(server: Server) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await call(server.address, flow(src_ip="not-an-address", src_port=70000))
    by_field = {field.field: field.description for field in caught.value.fields}
    assert set(by_field) == {"flow.src_ip", "flow.src_port"}
    assert "'not-an-address'" in by_field["flow.src_ip"]
    assert "70000" in by_field["flow.src_port"]
    assert "65535" in by_field["flow.src_port"]


async def test_bytes_that_are_no_message_are_the_callers_mistake(server: Server) -> None:
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        analyze: Any = channel.unary_unary(f"/{SERVICE.full_name}/Analyze")
        with pytest.raises(grpc.RpcError) as caught:
            await analyze(b"\xff\xff\xff", timeout=10)
    assert isinstance(from_rpc_error(caught.value), InvalidArgumentError)


async def test_a_crash_says_nothing_of_the_inside(server: Server) -> None:
    with pytest.raises(InternalError) as caught:
        await call(server.address, flow("crash"))
    assert "secret" not in str(caught.value)
    assert caught.value.metadata["correlation_id"] in str(caught.value)


async def test_a_method_that_is_missing_is_unimplemented(server: Server) -> None:
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        stub = detection_pb2_grpc.DetectionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            await stub.ListDetectors(detection_pb2.ListDetectorsRequest(), timeout=10)
    assert isinstance(from_rpc_error(caught.value), UnimplementedError)


async def test_every_message_of_a_stream_is_validated(server: Server) -> None:
    async def requests() -> AsyncIterator[detection_pb2.AnalyzeStreamRequest]:
        good = detection_pb2.AnalyzeStreamRequest(sequence=3)
        good.batch.start_time_ns.append(1)
        yield good
        yield detection_pb2.AnalyzeStreamRequest(sequence=4)

    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        stub = detection_pb2_grpc.DetectionServiceStub(channel)
        responses: Any = stub.AnalyzeStream(requests(), timeout=10)
        assert (await responses.read()).sequence == 3
        with pytest.raises(grpc.RpcError) as caught:
            await responses.read()
    assert isinstance(from_rpc_error(caught.value), InvalidArgumentError)


async def test_too_many_calls_are_told_when_to_come_again(tmp_path: Path) -> None:
    server = Server(ServerSettings(data_dir=tmp_path, max_in_flight=1, access_log=False), definition())
    await server.start()
    servicer = servicer_of(server)
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        stub = detection_pb2_grpc.DetectionServiceStub(channel)
        waiting = stub.Analyze(flow("wait"), timeout=10)
        await servicer.entered.wait()
        with pytest.raises(grpc.RpcError) as caught:
            await stub.Analyze(flow(), timeout=10)
        error = from_rpc_error(caught.value)
        assert isinstance(error, ResourceExhaustedError)
        assert error.retry_after == pytest.approx(0.1)
        servicer.release.set()
        await waiting
    await server.stop()


async def test_health_follows_probes_and_drain(tmp_path: Path) -> None:
    ready = False

    async def check() -> Readiness:
        return Readiness(ready=ready, detail="model: none" if not ready else "model: 3")

    class ProbedContainer(FakeContainer):
        probes = providers.List(providers.Object(Probe("model", check)))

    server = Server(ServerSettings(data_dir=tmp_path, http_port=0, access_log=False), definition(), ProbedContainer)
    await server.start()
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        async def status(name: str = SERVICE.full_name) -> int:
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            return int(answer.status)

        assert await status() == health_pb2.HealthCheckResponse.NOT_SERVING
        ready = True
        await server.health.refresh()
        assert await status() == health_pb2.HealthCheckResponse.SERVING
        assert await status("") == health_pb2.HealthCheckResponse.SERVING
        assert await status("model") == health_pb2.HealthCheckResponse.SERVING
        report = await asyncio.to_thread(_get_json, f"{http_of(server)}/health")
        assert report["probes"]["model"] == {"ready": True, "detail": "model: 3"}
        await server.health.drain()
        assert await status() == health_pb2.HealthCheckResponse.NOT_SERVING
    assert await server.stop() is ExitCode.CLEAN


async def test_watchers_that_leave_do_no_harm(server: Server) -> None:
    """Whatever a call asks gRPC for when its caller has gone, it must not ask of a call that is no more."""
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        stub = detection_pb2_grpc.DetectionServiceStub(channel)
        for _ in range(400):
            watch = stub.WatchFindings(detection_pb2.WatchFindingsRequest())
            await watch.read()
            watch.cancel()
        assert (await stub.Analyze(flow("after"))).verdict.flow_id.endswith("/after")


async def test_a_drain_waits_for_calls_and_ends_watches(server: Server) -> None:
    servicer = servicer_of(server)
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        stub = detection_pb2_grpc.DetectionServiceStub(channel)
        waiting = stub.Analyze(flow("wait"), timeout=20)
        watch: Any = stub.WatchFindings(detection_pb2.WatchFindingsRequest())
        assert (await watch.read()).resume_token == "1"
        await servicer.entered.wait()
        stopping = asyncio.create_task(server.stop())
        with pytest.raises(grpc.RpcError) as caught:
            await watch.read()
        assert isinstance(from_rpc_error(caught.value), UnavailableError)
        servicer.release.set()
        assert (await waiting).verdict.flow_id == "default/local/wait"
        assert await stopping is ExitCode.CLEAN


async def test_a_call_past_the_grace_is_cut_and_the_exit_code_says_so(tmp_path: Path) -> None:
    server = Server(ServerSettings(data_dir=tmp_path, grace=0.2, access_log=False), definition())
    await server.start()
    servicer = servicer_of(server)
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        stub = detection_pb2_grpc.DetectionServiceStub(channel)
        waiting = stub.Analyze(flow("wait"), timeout=20)
        await servicer.entered.wait()
        assert await server.stop() is ExitCode.CALLS_CUT
        with pytest.raises(grpc.RpcError):
            await waiting


async def test_metrics_count_calls_by_method_and_status(server: Server) -> None:
    await call(server.address, flow())
    with pytest.raises(NotFoundError):
        await call(server.address, flow("missing"))
    text = await asyncio.to_thread(_get_text, f"{http_of(server)}/metrics")
    method = f'grpc_method="{SERVICE.full_name}/Analyze"'
    assert f"grpc_server_call_started_total{{{method}}} 2.0" in text
    assert f'grpc_server_call_duration_seconds_count{{{method},grpc_status="OK"}} 1.0' in text
    assert f'grpc_server_call_duration_seconds_count{{{method},grpc_status="NOT_FOUND"}} 1.0' in text


async def test_reflection_lists_and_describes_the_service(server: Server) -> None:
    def look() -> tuple[list[str], bytes]:
        with open_channel(ChannelSettings(server.address)) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            names = list(database.get_services())
            return names, database.FindFileContainingSymbol("grpc.reflection.v1.ServerReflection").SerializeToString()

    names, v1 = await asyncio.to_thread(look)
    assert SERVICE.full_name in names
    assert {"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"} <= set(names)
    assert b"v1alpha" not in v1


async def test_mutual_tls_identifies_and_the_policy_decides(tmp_path: Path) -> None:
    authority = DevelopmentAuthority(tmp_path / "certs")
    cert = authority.issue_server("server", ["127.0.0.1", "localhost"])
    analyst = authority.issue_client(Principal("ann", "acme", frozenset({Role.ANALYST})))
    reader = authority.issue_client(Principal("rob", "acme", frozenset({Role.READER})))
    settings = ServerSettings(
        data_dir=tmp_path, tls_certificate=cert.certificate, tls_key=cert.key, tls_client_ca=authority.ca.certificate,
        access_log=False,
    )  # fmt: skip
    server = Server(settings, definition(Analyze=frozenset({Role.ANALYST})))
    await server.start()
    ca = authority.ca.certificate
    response = await call(server.address, flow(), ca=ca, certificate=analyst.certificate, key=analyst.key)
    assert response.verdict.flow_id == "acme/ann/C1"
    with pytest.raises(PermissionDeniedError, match="analyst"):
        await call(server.address, flow(), ca=ca, certificate=reader.certificate, key=reader.key)
    with pytest.raises(UnavailableError):
        await call(server.address, flow(), ca=ca)
    await server.stop()


async def test_bearer_tokens_over_tls(tmp_path: Path) -> None:
    authority = DevelopmentAuthority(tmp_path / "certs")
    cert = authority.issue_server("server", ["127.0.0.1"])
    tokens = tmp_path / "tokens.toml"
    digest = hashlib.sha256(b"s3cret-token").hexdigest()
    old = hashlib.sha256(b"old-token").hexdigest()
    tokens.write_text(
        f'[[tokens]]\nsha256 = "{digest}"\nsubject = "svc"\ntenant = "acme"\nroles = ["analyst"]\n'
        f'[[tokens]]\nsha256 = "{old}"\nsubject = "svc"\ntenant = "acme"\nroles = []\nexpires = 2020-01-01T00:00:00Z\n'
    )
    settings = ServerSettings(
        data_dir=tmp_path, tls_certificate=cert.certificate, tls_key=cert.key, tokens_file=tokens, access_log=False
    )
    server = Server(settings, definition())
    await server.start()
    ca = authority.ca.certificate
    assert (await call(server.address, flow(), ca=ca, token="s3cret-token")).verdict.flow_id == "acme/svc/C1"
    for token in (None, "wrong", "old-token"):
        with pytest.raises(UnauthenticatedError):
            await call(server.address, flow(), ca=ca, token=token)
    await server.stop()


def _get_text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read(), "utf-8")


def _get_json(url: str) -> Any:
    return json.loads(_get_text(url))
