"""Everything that stands between the wire and a servicer's method, fused into one wrapper a method.

A chain of interceptors costs more than the work it does, so the steps below (limits, identity, policy, validation,
metrics, trace, access log, errors) are small functions called in line, bound once at registration. Handler wrapping
lives here and nowhere else.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from securenet_core.authentication import Authenticator
from securenet_core.authorization import Policy
from securenet_core.exceptions import (
    Code,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    SecurenetError,
    UnavailableError,
    UnimplementedError,
)
from securenet_core.logs import AccessLog, get_logger, now
from securenet_core.metrics import CallMetrics, MethodMetrics
from securenet_core.principal import Principal, set_current_principal
from securenet_core.status import DETAILS_KEY, GRPC_CODES, REQUEST_ID_KEY, clip, to_status
from securenet_core.validation import RequestValidator

if TYPE_CHECKING:
    from securenet_core.tracing import CallSpan, CallTracer

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Malformed:
    """Stands for bytes that are not a message of the method's request type."""

    reason: str


@dataclass(frozen=True, slots=True)
class CallSteps:
    """What every call passes through.

    Attributes:
        authenticator: says who calls.
        policy: says who may.
        metrics: counts.
        access_log: writes a line a call; None writes none.
        tracer: samples; None samples nothing.
        max_in_flight: calls handled at once.
        draining: set once the server takes no more work.
    """

    authenticator: Authenticator
    policy: Policy
    metrics: CallMetrics
    access_log: AccessLog | None
    tracer: CallTracer | None
    max_in_flight: int
    draining: asyncio.Event


class _Call:
    """One call on its way through the steps."""

    __slots__ = ("begun", "binder", "code", "context", "metrics", "peer", "principal", "request_id", "span")

    def __init__(self, binder: CallBinder, metrics: MethodMetrics, context: Any) -> None:
        self.begun = time.perf_counter()
        self.binder = binder
        self.context = context
        self.metrics = metrics
        self.code = Code.OK
        self.principal: Principal | None = None
        self.request_id = ""
        self.span: CallSpan | None = None
        # Not at the end, when the stream of a caller who left may have no call any more: gRPC would ask it for the peer
        # all the same, and the process would end there.
        self.peer: str = context.peer() if binder.steps.access_log is not None else ""
        binder.in_flight += 1
        metrics.start()

    def admit(self) -> None:
        """Limits, request id, trace, identity, policy."""
        binder = self.binder
        steps = binder.steps
        metadata = self.context.invocation_metadata()
        for key, value in metadata or ():
            if key == REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
                self.request_id = value
        if not self.request_id:
            self.request_id = f"{binder.request_id_prefix}-{next(binder.request_ids):x}"
        if binder.in_flight > steps.max_in_flight:
            raise ResourceExhaustedError(
                f"{binder.in_flight} calls in flight; at most {steps.max_in_flight} are handled at once",
                reason="TOO_MANY_CALLS",
                retry_after=0.1,
            )
        if steps.tracer is not None:
            self.span = steps.tracer.start(self.metrics.method, metadata)
        self.principal = steps.authenticator.identify(self.context)
        steps.policy.check(self.principal, self.metrics.method)
        set_current_principal(self.principal)

    async def fail(self, error: SecurenetError) -> NoReturn:
        """Ends the call with `error` on the wire."""
        self.code = error.code
        trailers = (
            (DETAILS_KEY, to_status(error).SerializeToString()),
            (REQUEST_ID_KEY, self.request_id),
        )
        await self.context.abort(GRPC_CODES[error.code], clip(error.message), trailers)
        raise AssertionError("abort returned")

    async def crash(self, error: Exception) -> NoReturn:
        """Ends the call with a bare INTERNAL; the traceback stands in the log under the same id."""
        _log.error("unhandled", method=self.metrics.method, request_id=self.request_id, exc_info=error)
        await self.fail(
            InternalError(
                f"internal error; the server's log has the particulars under {self.request_id}",
                metadata={"correlation_id": self.request_id},
            )
        )

    def cancelled(self) -> None:
        """The caller went away, or its time ran out."""
        remaining = self.context.time_remaining()
        self.code = Code.DEADLINE_EXCEEDED if remaining is not None and remaining <= 0 else Code.CANCELLED

    def finish(self) -> None:
        """Metrics, trace, access log."""
        seconds = time.perf_counter() - self.begun
        self.binder.in_flight -= 1
        self.metrics.finish(self.code, seconds)
        if self.span is not None:
            self.span.end(self.code)
        log = self.binder.steps.access_log
        if log is not None:
            who = self.principal
            log.append(
                (
                    now(),
                    self.metrics.method,
                    self.code,
                    seconds,
                    who.subject if who else "",
                    who.tenant if who else "",
                    self.peer,
                    self.request_id,
                    self.span.trace_id if self.span else "",
                )
            )


class CallBinder:
    """Makes gRPC handlers from a service's descriptor and its servicer.

    Args:
        steps: what every call passes through.
    """

    def __init__(self, steps: CallSteps) -> None:
        self.steps = steps
        self.in_flight = 0
        self.request_ids = count(1)
        self.request_id_prefix = secrets.token_hex(4)
        self._validator = RequestValidator()
        self._servicers: dict[str, object] = {}

    def attach(self, service: ServiceDescriptor, servicer: object) -> None:
        """Hands the service's calls to `servicer` from now on; until then they answer UNAVAILABLE."""
        self._servicers[service.full_name] = servicer

    def handler(self, service: ServiceDescriptor) -> grpc.GenericRpcHandler:
        """The handler of every RPC of `service`."""
        return grpc.method_handlers_generic_handler(
            service.full_name, {method.name: self._bind(service, method) for method in service.methods}
        )

    def _bind(self, service: ServiceDescriptor, method: MethodDescriptor) -> grpc.RpcMethodHandler[Any, Any]:
        shapes: dict[tuple[bool, bool], tuple[Any, Callable[[Any, MethodMetrics], Any]]] = {
            (False, False): (grpc.unary_unary_rpc_method_handler, self._unary_unary),
            (False, True): (grpc.unary_stream_rpc_method_handler, self._unary_stream),
            (True, False): (grpc.stream_unary_rpc_method_handler, self._stream_unary),
            (True, True): (grpc.stream_stream_rpc_method_handler, self._stream_stream),
        }
        make, wrap = shapes[method.client_streaming, method.server_streaming]
        handler: grpc.RpcMethodHandler[Any, Any] = make(
            wrap(
                self._target(service.full_name, method.name),
                self.steps.metrics.method(f"{service.full_name}/{method.name}"),
            ),
            request_deserializer=_parser(GetMessageClass(method.input_type)),
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
        return handler

    def _target(self, service: str, name: str) -> Callable[[], Callable[[Any, Any], Any]]:
        bound: Callable[[Any, Any], Any] | None = None

        def resolve() -> Callable[[Any, Any], Any]:
            nonlocal bound
            if bound is None:
                servicer = self._servicers.get(service)
                if servicer is None:
                    raise UnavailableError(f"{service} is starting", reason="STARTING", retry_after=1.0)
                bound = getattr(servicer, name, None)
                if bound is None:
                    raise UnimplementedError(f"{service}/{name} is not in this build")
            return bound

        return resolve

    def _unary_unary(
        self, resolve: Callable[[], Callable[[Any, Any], Awaitable[Message]]], metrics: MethodMetrics
    ) -> Callable[[Any, Any], Awaitable[Message]]:
        check = self._check

        async def handle(request: Any, context: Any) -> Message:
            call = _Call(self, metrics, context)
            try:
                call.admit()
                check(request)
                return await resolve()(request, context)
            except SecurenetError as error:
                await call.fail(error)
            except asyncio.CancelledError:
                call.cancelled()
                raise
            except Exception as error:  # noqa: BLE001 - the last line of defence; the log gets the traceback
                await call.crash(error)
            finally:
                call.finish()

        return handle

    def _unary_stream(
        self, resolve: Callable[[], Callable[[Any, Any], AsyncIterator[Message]]], metrics: MethodMetrics
    ) -> Callable[[Any, Any], AsyncIterator[Message]]:
        check = self._check
        # A watch has no end of its own, so a drain must end it; its caller resumes elsewhere.
        ends_on_drain = metrics.method.rpartition("/")[2].startswith("Watch")

        async def handle(request: Any, context: Any) -> AsyncIterator[Message]:
            call = _Call(self, metrics, context)
            try:
                call.admit()
                check(request)
                responses = resolve()(request, context)
                async for response in self._until_draining(responses) if ends_on_drain else responses:
                    yield response
            except SecurenetError as error:
                await call.fail(error)
            except (asyncio.CancelledError, GeneratorExit):
                call.cancelled()
                raise
            except Exception as error:  # noqa: BLE001 - the last line of defence; the log gets the traceback
                await call.crash(error)
            finally:
                call.finish()

        return handle

    def _stream_unary(
        self, resolve: Callable[[], Callable[[Any, Any], Awaitable[Message]]], metrics: MethodMetrics
    ) -> Callable[[Any, Any], Awaitable[Message]]:
        async def handle(requests: AsyncIterator[Any], context: Any) -> Message:
            call = _Call(self, metrics, context)
            try:
                call.admit()
                return await resolve()(self._checked(requests), context)
            except SecurenetError as error:
                await call.fail(error)
            except asyncio.CancelledError:
                call.cancelled()
                raise
            except Exception as error:  # noqa: BLE001 - the last line of defence; the log gets the traceback
                await call.crash(error)
            finally:
                call.finish()

        return handle

    def _stream_stream(
        self, resolve: Callable[[], Callable[[Any, Any], AsyncIterator[Message]]], metrics: MethodMetrics
    ) -> Callable[[Any, Any], AsyncIterator[Message]]:
        async def handle(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Message]:
            call = _Call(self, metrics, context)
            try:
                call.admit()
                async for response in resolve()(self._checked(requests), context):
                    yield response
            except SecurenetError as error:
                await call.fail(error)
            except (asyncio.CancelledError, GeneratorExit):
                call.cancelled()
                raise
            except Exception as error:  # noqa: BLE001 - the last line of defence; the log gets the traceback
                await call.crash(error)
            finally:
                call.finish()

        return handle

    def _check(self, request: Any) -> None:
        if request.__class__ is Malformed:
            raise InvalidArgumentError.of("request", request.reason)
        self._validator.check(request)

    async def _checked(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            self._check(request)
            yield request

    async def _until_draining(self, responses: AsyncIterator[Message]) -> AsyncIterator[Message]:
        draining = asyncio.ensure_future(self.steps.draining.wait())
        upcoming: asyncio.Future[Message] | None = None
        try:
            while True:
                upcoming = asyncio.ensure_future(anext(responses))
                await asyncio.wait((upcoming, draining), return_when=asyncio.FIRST_COMPLETED)
                if not upcoming.done():
                    raise UnavailableError(
                        "the server is draining; resume elsewhere", reason="DRAINING", retry_after=1.0
                    )
                try:
                    response = upcoming.result()
                except StopAsyncIteration:
                    return
                yield response
        finally:
            draining.cancel()
            if upcoming is not None and not upcoming.done():
                upcoming.cancel()
                await asyncio.wait((upcoming,))


def _parser(message: type[Message]) -> Callable[[bytes], Message | Malformed]:
    """A deserialiser that never raises: gRPC would answer INTERNAL for what is the caller's mistake."""

    def parse(data: bytes) -> Message | Malformed:
        try:
            return message.FromString(data)
        except DecodeError:
            return Malformed(f"{len(data)} bytes that are not a {message.DESCRIPTOR.full_name}")

    return parse
