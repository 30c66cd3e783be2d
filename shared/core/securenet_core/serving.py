"""The life of a gRPC process: listen, build, serve, drain, close."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import uvloop
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2_grpc

from securenet_core import memory
from securenet_core.authentication import Authenticator
from securenet_core.authorization import Policy
from securenet_core.calls import CallBinder, CallSteps
from securenet_core.containers import Runtime, ServiceContainer
from securenet_core.exceptions import SettingsError
from securenet_core.health import HealthMonitor, Probe
from securenet_core.http_endpoint import HttpEndpoint
from securenet_core.logs import AccessLog, configure_logging, get_logger
from securenet_core.metrics import CallMetrics
from securenet_core.reflection import reflection_handlers
from securenet_core.settings import ServerSettings

if TYPE_CHECKING:
    from securenet_core.tracing import CallTracer

_log = get_logger(__name__)

HEALTH_NAME: Final = "grpc.health.v1.Health"


class ExitCode(IntEnum):
    """How a process ended."""

    CLEAN = 0
    """Drained: no call was cut."""
    FAILED = 1
    """Could not start, or broke."""
    WRONG_SETTINGS = 2
    """A setting is wrong; stderr says which."""
    CALLS_CUT = 4
    """The grace was over before every call had ended."""


@dataclass(frozen=True, slots=True)
class ServiceDefinition:
    """What makes a process this service and no other.

    Attributes:
        name: short name, such as detection; stands in logs and metrics.
        descriptor: the gRPC service that it implements.
        policy: which roles may call which RPC; every RPC has an entry.
        container: builds servicer and probes.
    """

    name: str
    descriptor: ServiceDescriptor
    policy: Policy
    container: type[ServiceContainer]


class Server:
    """One gRPC server of one service. :func:`run` is the whole life; tests drive the parts.

    Args:
        settings: of the service.
        definition: of the service.
        make_container: builds the container; by default the definition's, so that tests hand in fakes at construction.
        shared_port: other processes of this service listen on the port too, so this one does not before it can serve.
    """

    def __init__(
        self,
        settings: ServerSettings,
        definition: ServiceDefinition,
        make_container: Callable[..., ServiceContainer] | None = None,
        *,
        shared_port: bool = False,
    ) -> None:
        self.settings = settings
        self.definition = definition
        self.runtime = Runtime()
        self.health = HealthMonitor([definition.descriptor.full_name])
        self.address = ""
        self.http: HttpEndpoint | None = None
        self._make_container = make_container or definition.container
        self._shared_port = shared_port
        self._container: ServiceContainer | None = None
        self._server: grpc.aio.Server | None = None
        self._binder: CallBinder | None = None
        self._access_log: AccessLog | None = None
        self._tracer: CallTracer | None = None

    async def start(self, *, logs_are_json: bool = True, own_process: bool = False) -> None:
        """Listens, saying NOT_SERVING, then builds the service, then says SERVING as soon as its probes do.

        Args:
            logs_are_json: form of the access log.
            own_process: the process is this server's alone, so memory that only its start needed is given back, and its
                threads let go of the interpreter sooner.

        Raises:
            SettingsError: credentials, policy or port cannot be used.
        """
        settings, definition = self.settings, self.definition
        authenticator = Authenticator.from_settings(settings)
        policy = definition.policy.overridden_by(settings.policy_file)
        metrics = CallMetrics(self.runtime.registry)
        if settings.access_log:
            self._access_log = AccessLog(definition.name, as_json=logs_are_json)
        self._tracer = _tracer(settings, definition.name)
        self._binder = CallBinder(
            CallSteps(
                authenticator=authenticator,
                policy=policy,
                metrics=metrics,
                access_log=self._access_log,
                tracer=self._tracer,
                max_in_flight=settings.max_in_flight,
                draining=self.runtime.draining,
            )
        )
        self._server = server = grpc.aio.server(options=_options(settings, shared_port=self._shared_port))
        server.add_generic_rpc_handlers((self._binder.handler(definition.descriptor),))
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, server)
        if settings.reflection:
            server.add_generic_rpc_handlers(reflection_handlers([definition.descriptor.full_name, HEALTH_NAME]))
        if not self._shared_port:
            await self._open(server)

        self._container = self._make_container(settings=settings, runtime=self.runtime)
        await _maybe_await(self._container.init_resources())
        servicer = await _maybe_await(self._container.servicer())
        probes: Sequence[Probe] = await _maybe_await(self._container.probes())
        if own_process:
            memory.settle()
        self._binder.attach(definition.descriptor, servicer)
        if self._shared_port:
            await self._open(server)
        await self.health.watch(probes)
        _log.info("started", service=definition.descriptor.full_name, serving=self.health.serving)

    async def _open(self, server: grpc.aio.Server) -> None:
        settings = self.settings
        self.address = _listen(server, settings)
        if settings.http_port is not None:
            try:
                self.http = HttpEndpoint(settings.http_host, settings.http_port, self.runtime.registry, self.health)
            except OSError as error:
                raise SettingsError(f"http_port {settings.http_port}: {error}") from error
        await self.health.begin()
        await server.start()
        _log.info(
            "listening", address=self.address, tls=settings.tls_certificate is not None,
            http=f"{settings.http_host}:{self.http.port}" if self.http else None,
        )  # fmt: skip
        if settings.address_file is not None:
            write_atomically(settings.address_file, self.address)

    async def stop(self) -> ExitCode:
        """Drains and closes: NOT_SERVING, no new calls, a grace for those in flight, then the container in reverse."""
        code = ExitCode.CLEAN
        self.runtime.draining.set()
        if self._server is not None:
            await self.health.drain()
            in_flight = self._binder.in_flight if self._binder else 0
            _log.info("draining", in_flight=in_flight, grace=self.settings.grace)
            begun = time.monotonic()
            await self._server.stop(self.settings.grace)
            if in_flight and time.monotonic() - begun >= self.settings.grace:
                code = ExitCode.CALLS_CUT
        if self._container is not None:
            try:
                await _maybe_await(self._container.shutdown_resources())
            except Exception as error:  # noqa: BLE001 - what else is open must be closed, and the exit code say so
                _log.error("could not close", exc_info=error)
                code = ExitCode.FAILED
        if self.http is not None:
            self.http.close()
        if self._tracer is not None:
            self._tracer.close()
        if self._access_log is not None:
            self._access_log.close()
        _log.info("stopped", exit_code=int(code))
        return code


def run(settings: ServerSettings, definition: ServiceDefinition, *, shared_port: bool = False) -> int:
    """Runs the service until SIGTERM or SIGINT; with `shared_port` as one of several processes.

    Returns:
        An :class:`ExitCode`.
    """
    as_json = configure_logging(settings, definition.name)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return int(runner.run(_run(settings, definition, logs_are_json=as_json, shared_port=shared_port)))


async def _run(
    settings: ServerSettings, definition: ServiceDefinition, *, logs_are_json: bool, shared_port: bool
) -> ExitCode:
    server = Server(settings, definition, shared_port=shared_port)
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    starting = asyncio.create_task(server.start(logs_are_json=logs_are_json, own_process=True))
    stopping = asyncio.create_task(asked.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait((starting,))
        elif starting.exception() is None:
            await stopping
        else:
            await starting
    except SettingsError as error:
        _log.error("wrong settings", detail=str(error))
        await server.stop()
        return ExitCode.WRONG_SETTINGS
    except Exception as error:  # noqa: BLE001 - whatever broke, what is open must be closed and the exit code say so
        _log.error("could not start", exc_info=error)
        await server.stop()
        return ExitCode.FAILED
    finally:
        stopping.cancel()
    return await server.stop()


def _tracer(settings: ServerSettings, service: str) -> CallTracer | None:
    if settings.otlp_endpoint is None:
        return None
    from securenet_core.tracing import CallTracer  # noqa: PLC0415 - loads OpenTelemetry's SDK, a tenth of a second

    return CallTracer.from_settings(settings, service)


def _options(settings: ServerSettings, *, shared_port: bool) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", 16 << 10),
        # A second process on the same port must fail rather than take half of the connections, unless it is wanted.
        ("grpc.so_reuseport", int(shared_port)),
        # A dead peer is noticed; one that pings too often is let go.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]


def _listen(server: grpc.aio.Server, settings: ServerSettings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host and not settings.host.startswith("[") else settings.host
    wanted = f"{host}:{settings.port}"
    try:
        if settings.tls_certificate is not None and settings.tls_key is not None:
            credentials = grpc.ssl_server_credentials(
                [(settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())],
                root_certificates=settings.tls_client_ca.read_bytes() if settings.tls_client_ca else None,
                require_client_auth=settings.tls_client_ca is not None and settings.tokens_file is None,
            )
            port = server.add_secure_port(wanted, credentials)
        else:
            port = server.add_insecure_port(wanted)
    except OSError as error:
        raise SettingsError(f"TLS: {error}") from error
    except RuntimeError as error:
        raise SettingsError(f"cannot listen on {wanted}: the address is in use or not one of this machine") from error
    if port == 0:
        raise SettingsError(f"cannot listen on {wanted}: certificate and key do not fit, or the address is not usable")
    return f"{host}:{port}"


def write_atomically(path: Path, text: str) -> None:
    """Readers of the file see all of the text or nothing of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


async def _maybe_await(value: Any) -> Any:
    """dependency-injector answers a future only where something asynchronous is involved."""
    return await value if inspect.isawaitable(value) else value
