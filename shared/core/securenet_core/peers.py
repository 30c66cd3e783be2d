"""Processes of one service among themselves: each has a private socket, over which the others hand calls on to it.

The sockets stand in a folder that only the service's own user can open, so whoever calls there is one of the service;
the tenant that it speaks for travels in the metadata.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from prometheus_client.registry import CollectorRegistry

from securenet_core.authentication import Authenticator, CallContext
from securenet_core.authorization import Policy
from securenet_core.calls import CallBinder, CallSteps
from securenet_core.channels import SERVICE_CONFIG
from securenet_core.exceptions import UnauthenticatedError
from securenet_core.metrics import CallMetrics
from securenet_core.principal import ALL_ROLES, Principal

#: Where the sockets are, which of them is this process's, and how many there are.
_PEERS: Final = "SECURENET_PEERS"

#: Key of the metadata that names the tenant.
_TENANT: Final = "x-securenet-tenant"

#: Longest path of a socket that every system takes, in bytes.
LONGEST_PATH: Final = 90

#: Milliseconds between attempts to reach a process that is being started again.
_RECONNECT_MS: Final = 200

#: Calls handed on at once; the processes that hand them on have bounds of their own.
_MOST_CALLS: Final = 1 << 16
_POLL: Final = 0.02


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the service's processes this one is.

    Attributes:
        number: from 0.
        count: of all.
        folder: of the sockets.
    """

    number: int
    count: int
    folder: Path

    @classmethod
    def from_environment(cls) -> Self | None:
        """The place that the parent gave this process; None where it is the only one."""
        text = os.environ.get(_PEERS)
        if not text:
            return None
        number, count, folder = json.loads(text)
        return cls(int(number), int(count), Path(folder))

    def environment(self) -> dict[str, str]:
        """What the process at this place is to be started with."""
        return {_PEERS: json.dumps([self.number, self.count, str(self.folder)])}

    def address(self, number: int) -> str:
        """gRPC's address of a process."""
        return f"unix:{self.folder / f'{number}.sock'}"

    def drained(self, number: int) -> Path:
        """The file by which a process says that it hands no more calls on."""
        return self.folder / f"{number}.drained"


class _PeerAuthenticator(Authenticator):
    """Takes a process of the service at its word."""

    def __init__(self) -> None:
        super().__init__({}, mutual_tls=False, anonymous=None)

    def identify(self, context: CallContext) -> Principal:
        """Whoever the tenant's call came to."""
        for key, value in context.invocation_metadata() or ():
            if key == _TENANT:
                return Principal("peer", value, ALL_ROLES)
        raise UnauthenticatedError(f"no {_TENANT}: not a process of this service")


@asynccontextmanager
async def serve_peers(
    place: Place, policy: Policy, servicers: Mapping[ServiceDescriptor, object], *, grace: float
) -> AsyncIterator[None]:
    """Answers the other processes while the context is open, and then until they hand no more calls on.

    Args:
        place: of this process.
        policy: of every RPC of the services.
        servicers: by service.
        grace: longest to wait for the others at the end, seconds.
    """
    binder = CallBinder(
        CallSteps(
            authenticator=_PeerAuthenticator(),
            policy=policy,
            # The process that took a call counts it.
            metrics=CallMetrics(CollectorRegistry(auto_describe=False)),
            access_log=None,
            tracer=None,
            max_in_flight=_MOST_CALLS,
            draining=asyncio.Event(),
        )
    )
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
    for descriptor, servicer in servicers.items():
        binder.attach(descriptor, servicer)
    server.add_generic_rpc_handlers(tuple(binder.handler(descriptor) for descriptor in servicers))
    server.add_insecure_port(place.address(place.number))
    place.drained(place.number).unlink(missing_ok=True)
    await server.start()
    try:
        yield
    finally:
        # Where it cannot be written (a full disk, a folder that is gone), the others end after the grace.
        with suppress(OSError):
            place.drained(place.number).touch()
        with suppress(TimeoutError):
            await asyncio.wait_for(_all_drained(place), grace)
        await server.stop(grace)


async def _all_drained(place: Place) -> None:
    # Other processes know no event of this one.
    while not all(place.drained(number).exists() for number in range(place.count)):  # noqa: ASYNC110
        await asyncio.sleep(_POLL)


def open_peer_channel(place: Place, number: int) -> grpc.aio.Channel:
    """A channel to another process; it connects at its first call."""
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", SERVICE_CONFIG),
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS),
        ("grpc.min_reconnect_backoff_ms", _RECONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS),
    ]
    return grpc.aio.insecure_channel(place.address(number), options=options)


def peer_metadata(tenant: str) -> tuple[tuple[str, str], ...]:
    """What a call that is handed on says of whom it is for."""
    return ((_TENANT, tenant),)
