"""How to reach the services, and how a call is made: deadlines, identity, errors."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc

from securenet_core.channels import ChannelSettings, call_metadata, open_aio_channel, open_channel
from securenet_core.exceptions import InvalidArgumentError
from securenet_core.status import from_rpc_error

#: Where each service listens by default.
DEFAULT_ADDRESSES: Final[Mapping[str, str]] = {
    "detection": "127.0.0.1:50051",
    "scanner": "127.0.0.1:50052",
    "registry": "127.0.0.1:50053",
}

#: Seconds that a call which is not a stream may take unless the caller says otherwise.
DEFAULT_TIMEOUT: Final = 60.0


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Where the services are and who calls.

    Attributes:
        addresses: `host:port` by service name; a service that is not named is at its default address.
        ca: PEM file of the CA that signed the servers' certificates; None is plaintext, which only loopback may be.
        certificate: PEM file of the client's certificate.
        key: PEM file of its key.
        token: bearer token.
        server_name: name in the servers' certificates where it is not the host of the address.
        timeout: seconds that a call which is not a stream may take.
    """

    addresses: Mapping[str, str] = field(default_factory=dict)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: str | None = None
    server_name: str | None = None
    timeout: float = DEFAULT_TIMEOUT

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> ConnectionSettings:
        """What SECURENET_DETECTION_ADDRESS (and so on), SECURENET_CA, _CERT, _KEY and _TOKEN say."""
        found = os.environ if environment is None else environment

        def path(name: str) -> Path | None:
            return Path(found[name]) if found.get(name) else None

        addresses = {name: found.get(f"SECURENET_{name.upper()}_ADDRESS", "") for name in DEFAULT_ADDRESSES}
        return cls(
            addresses={name: address for name, address in addresses.items() if address},
            ca=path("SECURENET_CA"),
            certificate=path("SECURENET_CERT"),
            key=path("SECURENET_KEY"),
            token=found.get("SECURENET_TOKEN") or None,
        )

    def address(self, service: str) -> str:
        """Where a service is."""
        return self.addresses.get(service) or DEFAULT_ADDRESSES[service]

    def channel(self, service: str) -> ChannelSettings:
        """The channel to a service.

        Raises:
            InvalidArgumentError: the address is not `host:port`, or plaintext would leave this machine.
        """
        address = self.address(service)
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise InvalidArgumentError.of(f"address of {service}", f"{address!r}; expected host:port")
        try:
            return ChannelSettings(address, self.ca, self.certificate, self.key, self.token, self.server_name)
        except ValueError as error:
            raise InvalidArgumentError(str(error)) from error


class Caller:
    """Makes calls on one channel, which it closes. Errors are :class:`securenet_core.exceptions.SecurenetError`."""

    def __init__(self, settings: ConnectionSettings, service: str) -> None:
        described = settings.channel(service)
        self.address = described.address
        self._metadata = call_metadata(described)
        self._timeout = settings.timeout
        try:
            self.channel = open_channel(described)
        except OSError as error:
            raise InvalidArgumentError(f"certificate: {error}") from error

    def unary(self, call: Any, request: Any, timeout: float | None = None) -> Any:
        """The response to one request."""
        try:
            return call(request, timeout=timeout or self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    def pages(self, call: Any, request: Any, field: str) -> Iterator[Any]:
        """What stands in `field` of one page after another, until the last."""
        while True:
            response = self.unary(call, request)
            yield from getattr(response, field)
            request.page_token = response.next_page_token
            if not request.page_token:
                return

    def stream(self, call: Any, request: Any) -> Generator[Any, None, None]:
        """The responses to one request or to an iterator of requests; leaving early cancels the call."""
        responses = call(request, metadata=self._metadata)
        try:
            yield from responses
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            responses.cancel()

    def upload(self, call: Any, requests: Iterator[Any]) -> Any:
        """The response to a stream of requests."""
        try:
            return call(requests, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    def close(self) -> None:
        """Closes the channel."""
        self.channel.close()


class AsyncCaller:
    """Makes calls on one asyncio channel, which it closes."""

    def __init__(self, settings: ConnectionSettings, service: str) -> None:
        described = settings.channel(service)
        self.address = described.address
        self._metadata = call_metadata(described)
        self._timeout = settings.timeout
        try:
            self.channel = open_aio_channel(described)
        except OSError as error:
            raise InvalidArgumentError(f"certificate: {error}") from error

    async def unary(self, call: Any, request: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - gRPC's own deadline
        """The response to one request."""
        try:
            return await call(request, timeout=timeout or self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    async def pages(self, call: Any, request: Any, field: str) -> AsyncIterator[Any]:
        """What stands in `field` of one page after another, until the last."""
        while True:
            response = await self.unary(call, request)
            for item in getattr(response, field):
                yield item
            request.page_token = response.next_page_token
            if not request.page_token:
                return

    async def stream(self, call: Any, request: Any) -> AsyncIterator[Any]:
        """The responses to one request or to an asynchronous iterator of them; leaving early cancels the call."""
        responses = call(request, metadata=self._metadata)
        try:
            async for response in responses:
                yield response
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            responses.cancel()

    async def upload(self, call: Any, requests: AsyncIterator[Any]) -> Any:
        """The response to a stream of requests."""
        try:
            return await call(requests, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    async def close(self) -> None:
        """Closes the channel."""
        await self.channel.close()


class Client:
    """A synchronous client of one service; a context manager."""

    service: str

    def __init__(self, address: str | None = None, settings: ConnectionSettings | None = None) -> None:
        settings = settings or ConnectionSettings.from_environment()
        self._call = Caller(_at(settings, self.service, address), self.service)

    @property
    def address(self) -> str:
        """Where the service is."""
        return self._call.address

    def close(self) -> None:
        """Closes the channel."""
        self._call.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncClient:
    """An asyncio client of one service; an asynchronous context manager."""

    service: str

    def __init__(self, address: str | None = None, settings: ConnectionSettings | None = None) -> None:
        settings = settings or ConnectionSettings.from_environment()
        self._call = AsyncCaller(_at(settings, self.service, address), self.service)

    @property
    def address(self) -> str:
        """Where the service is."""
        return self._call.address

    async def close(self) -> None:
        """Closes the channel."""
        await self._call.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


def _at(settings: ConnectionSettings, service: str, address: str | None) -> ConnectionSettings:
    if address is None:
        return settings
    return ConnectionSettings(
        {**settings.addresses, service: address},
        settings.ca, settings.certificate, settings.key, settings.token, settings.server_name, settings.timeout,
    )  # fmt: skip
