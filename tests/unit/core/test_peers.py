"""What processes of a service say to each other, and to nobody else."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from securenet.detection.v1 import peers_pb2, peers_pb2_grpc
from securenet_core.authorization import Policy
from securenet_core.peers import Place, open_peer_channel, peer_metadata, serve_peers
from securenet_core.principal import Role, current_principal

pytestmark = pytest.mark.unit

SERVICE = peers_pb2.DESCRIPTOR.services_by_name["PeerService"]
POLICY = Policy({f"{SERVICE.full_name}/AnalyzeTogether": frozenset(Role)})
REQUEST = peers_pb2.AnalyzeTogetherRequest()


class Tenants:
    """Answers with the tenant of the call."""

    async def AnalyzeTogether(self, request: Any, context: Any) -> peers_pb2.AnalyzeTogetherResponse:
        answer = peers_pb2.AnalyzeTogetherResponse()
        answer.verdicts.add(flow_id=current_principal().tenant)
        return answer


@pytest.fixture
def folder() -> Iterator[Path]:
    # pytest's own make longer paths than sockets may have.
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        yield Path(name)


def test_a_place_is_what_the_process_is_started_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(1, 3, folder)
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    assert Place.from_environment() == place
    for name in place.environment():
        monkeypatch.delenv(name)
    assert Place.from_environment() is None


async def test_a_call_is_for_the_tenant_that_it_names_and_without_one_it_is_refused(folder: Path) -> None:
    first, second = Place(0, 2, folder), Place(1, 2, folder)
    async with serve_peers(first, POLICY, {SERVICE: Tenants()}, grace=0), open_peer_channel(second, 0) as channel:
        stub: Any = peers_pb2_grpc.PeerServiceStub(channel)
        answer = await stub.AnalyzeTogether(REQUEST, metadata=peer_metadata("acme"), timeout=30)
        assert answer.verdicts[0].flow_id == "acme"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.AnalyzeTogether(REQUEST, timeout=30)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_who_ends_answers_until_the_others_hand_no_more_calls_on(folder: Path) -> None:
    first, second = Place(0, 2, folder), Place(1, 2, folder)
    leave = asyncio.Event()

    async def serve() -> None:
        async with serve_peers(first, POLICY, {SERVICE: Tenants()}, grace=30):
            await leave.wait()

    serving = asyncio.create_task(serve())
    async with open_peer_channel(second, 0) as channel:
        stub: Any = peers_pb2_grpc.PeerServiceStub(channel)
        await channel.channel_ready()
        leave.set()
        while not first.drained(0).exists():  # noqa: ASYNC110 - a file is all that is said
            await asyncio.sleep(0)
        await stub.AnalyzeTogether(REQUEST, metadata=peer_metadata("acme"), timeout=30)
        assert not serving.done()
        second.drained(1).touch()
        await serving


async def test_it_ends_also_where_nothing_can_be_written(folder: Path) -> None:
    async with serve_peers(Place(0, 2, folder), POLICY, {SERVICE: Tenants()}, grace=0.01):
        shutil.rmtree(folder)
