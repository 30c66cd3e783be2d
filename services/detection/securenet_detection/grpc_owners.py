"""Which process owns which state, and how the others hand on what is about it.

A state (a tenant's own, or a named one) has one owner among the processes, which a hash of its name chooses: it alone
scores the state's flows, in one order, whichever process took them. So every detector sees what it would see in one
process, also those that look at victims, at what all of a tenant's hosts use, or at flows that come again. What can
be done without the state stays where the call came in: the connection, TLS, identity, limits, checks, and joining
calls of one flow, so that a batch of them costs one message.

Sharding by source was weighed and not done: floods and distributed scans are about destinations, prevalence and
popularity about all sources of a tenant, and the features of a model about both sides of a flow. Each would need a
second owner, two exchanges a batch, and an order common to both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import grpc

from securenet.detection.v1 import detection_pb2, detection_pb2_grpc, flow_pb2, peers_pb2, peers_pb2_grpc, verdict_pb2
from securenet_core.exceptions import InvalidArgumentError, UnavailableError
from securenet_core.peers import Place, open_peer_channel, peer_metadata
from securenet_core.principal import current_principal
from securenet_core.status import from_rpc_error
from securenet_detection.lanes import by_lane
from securenet_detection.server import DetectionServicer

#: Seconds for which a call waits for an owner that is being started.
_PATIENCE: Final = 15.0

#: Seconds within which joined calls must be answered: one that hangs must not hold up all that wait behind them.
_LONGEST_ANSWER: Final = 30.0


class _Asked(NamedTuple):
    flow: flow_pb2.FlowRecord
    tenant: str
    dry_run: bool
    answer: asyncio.Future[verdict_pb2.Verdict]


class Peer:
    """Another process of the service.

    One message of joined calls is on its way at a time: what comes meanwhile goes together when it is answered.

    Args:
        channel: to it.
        batch_limit: calls of one flow that are joined at most.
    """

    def __init__(self, channel: grpc.aio.Channel, *, batch_limit: int) -> None:
        self._channel = channel
        self._detection: Any = detection_pb2_grpc.DetectionServiceStub(channel)
        self._peers: Any = peers_pb2_grpc.PeerServiceStub(channel)
        self._batch_limit = batch_limit
        self._waiting: list[_Asked] = []
        self._sending: asyncio.Task[None] | None = None

    async def analyze(self, flow: flow_pb2.FlowRecord, tenant: str, *, dry_run: bool) -> verdict_pb2.Verdict:
        """The verdict of one flow."""
        asked = _Asked(flow, tenant, dry_run, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return await asked.answer

    async def _send(self) -> None:
        try:
            while self._waiting:
                first = self._waiting[0]
                waiting = [asked for asked in self._waiting if not asked.answer.cancelled()]
                batch = [asked for asked in waiting if asked[1:3] == first[1:3]][: self._batch_limit]
                taken = set(map(id, batch))
                self._waiting = [asked for asked in waiting if id(asked) not in taken]
                await self._answer(batch)
        finally:
            self._sending = None

    async def _answer(self, batch: Sequence[_Asked]) -> None:
        if not batch:
            return
        try:
            response = await self._together([asked.flow for asked in batch], batch[0].tenant, dry_run=batch[0].dry_run)
        except InvalidArgumentError as error:
            if len(batch) > 1:
                # Nothing was scored yet. What cannot be right fails alone, and the others do not wait for each other.
                await asyncio.gather(*(self._answer([asked]) for asked in batch))
            else:
                _fail(batch, error)
        except Exception as error:  # noqa: BLE001 - every caller must hear of it
            _fail(batch, error)
        else:
            for asked, verdict in zip(batch, response.verdicts, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(verdict)

    async def _together(
        self, flows: Sequence[flow_pb2.FlowRecord], tenant: str, *, dry_run: bool
    ) -> peers_pb2.AnalyzeTogetherResponse:
        request = peers_pb2.AnalyzeTogetherRequest(flows=flows, dry_run=dry_run)
        await self._reach()
        try:
            response: peers_pb2.AnalyzeTogetherResponse = await self._peers.AnalyzeTogether(
                request, metadata=peer_metadata(tenant), timeout=_LONGEST_ANSWER
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        return response

    async def analyze_batch(
        self, request: detection_pb2.AnalyzeBatchRequest, tenant: str
    ) -> detection_pb2.AnalyzeBatchResponse:
        """The verdicts of a batch."""
        await self._reach()
        try:
            response: detection_pb2.AnalyzeBatchResponse = await self._detection.AnalyzeBatch(
                request, metadata=peer_metadata(tenant)
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        return response

    async def analyze_stream(
        self, requests: AsyncIterator[detection_pb2.AnalyzeStreamRequest], tenant: str
    ) -> AsyncGenerator[detection_pb2.AnalyzeStreamResponse, None]:
        """The verdicts of a stream."""
        await self._reach()
        call = self._detection.AnalyzeStream(requests, metadata=peer_metadata(tenant))
        try:
            async for response in call:
                yield response
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    async def _reach(self) -> None:
        """Waits for the process, which may be starting, where it would be an error to a call."""
        if self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            return
        try:
            await asyncio.wait_for(self._channel.channel_ready(), _PATIENCE)
        except TimeoutError:
            raise UnavailableError(
                "the process that owns this state is starting", reason="OWNER_STARTING", retry_after=1.0
            ) from None


def _fail(batch: Sequence[_Asked], error: Exception) -> None:
    for asked in batch:
        if not asked.answer.done():
            asked.answer.set_exception(error)


class Owners:
    """The other processes, by what they own.

    Args:
        place: of this process.
        batch_limit: calls of one flow that are handed on together at most.
    """

    def __init__(self, place: Place, *, batch_limit: int) -> None:
        self._place = place
        self._channels = {
            number: open_peer_channel(place, number) for number in range(place.count) if number != place.number
        }
        self._peers = {number: Peer(channel, batch_limit=batch_limit) for number, channel in self._channels.items()}

    def elsewhere(self, tenant: str, scope: str) -> Peer | None:
        """The process that owns a state; None where this one does."""
        return self._peers.get(owner(tenant, scope, self._place.count))

    async def close(self) -> None:
        """Hands no more calls on."""
        for channel in self._channels.values():
            await channel.close()


@lru_cache(4096)
def owner(tenant: str, scope: str, count: int) -> int:
    """The process, of so many, that owns a state."""
    name = f"{tenant}\0{scope}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big") % count


class OwnedServicer:
    """DetectionService of one of several processes: flows go to the owner of their state.

    Args:
        local: does all else, and scores what this process owns.
        owners: of the rest.
        stream_window: batches of a stream that may be on their way.
    """

    def __init__(self, local: DetectionServicer, owners: Owners, *, stream_window: int) -> None:
        self._local = local
        self._owners = owners
        self._stream_window = stream_window

    def __getattr__(self, name: str) -> Any:
        return getattr(self._local, name)

    async def Analyze(  # noqa: N802 - the contract's name
        self, request: detection_pb2.AnalyzeRequest, context: Any
    ) -> detection_pb2.AnalyzeResponse:
        """Scores one flow."""
        tenant = current_principal().tenant
        peer = self._owners.elsewhere(tenant, "")
        if peer is None:
            return await self._local.Analyze(request, context)
        return detection_pb2.AnalyzeResponse(verdict=await peer.analyze(request.flow, tenant, dry_run=request.dry_run))

    async def AnalyzeBatch(  # noqa: N802 - likewise
        self, request: detection_pb2.AnalyzeBatchRequest, context: Any
    ) -> detection_pb2.AnalyzeBatchResponse:
        """Scores columns."""
        tenant = current_principal().tenant
        peer = self._owners.elsewhere(tenant, request.options.state_scope)
        if peer is None:
            return await self._local.AnalyzeBatch(request, context)
        return await peer.analyze_batch(request, tenant)

    async def AnalyzeStream(  # noqa: N802 - likewise
        self, requests: AsyncIterator[detection_pb2.AnalyzeStreamRequest], context: Any
    ) -> AsyncIterator[detection_pb2.AnalyzeStreamResponse]:
        """Scores batches as they come, each where its state is."""
        tenant = current_principal().tenant

        def lane_of(request: detection_pb2.AnalyzeStreamRequest) -> Peer | None:
            return self._owners.elsewhere(tenant, request.options.state_scope)

        def opened(peer: Any, lane: AsyncIterator[Any]) -> Any:
            return self._local.AnalyzeStream(lane, context) if peer is None else peer.analyze_stream(lane, tenant)

        async with aclosing(by_lane(requests, lane_of, opened, window=self._stream_window)) as responses:
            async for response in responses:
                yield response
