"""What the steps around a call ask of gRPC, and when."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from securenet.detection.v1 import detection_pb2
from securenet_core import Policy, Role, ServerSettings
from securenet_core.authentication import Authenticator
from securenet_core.calls import CallBinder, CallSteps
from securenet_core.logs import AccessLog
from securenet_core.metrics import CallMetrics

pytestmark = pytest.mark.unit

SERVICE = detection_pb2.DESCRIPTOR.services_by_name["DetectionService"]
WATCH = f"{SERVICE.full_name}/WatchFindings"


class Context:
    """A call that is no more once its caller has left; gRPC would end the process where it is asked then."""

    def __init__(self) -> None:
        self.gone = False

    def peer(self) -> str:
        assert not self.gone
        return "ipv4:192.0.2.1:50000"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        assert not self.gone
        return ()

    def auth_context(self) -> dict[str, list[bytes]]:
        assert not self.gone
        return {}

    def time_remaining(self) -> float | None:
        return None


class Watching:
    """One change, and then none."""

    async def WatchFindings(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield detection_pb2.WatchFindingsResponse(resume_token="1")
        await asyncio.Event().wait()


async def test_nothing_is_asked_of_a_call_whose_caller_has_left() -> None:
    written = io.StringIO()
    log = AccessLog("test", as_json=True, stream=written)
    steps = CallSteps(
        authenticator=Authenticator.from_settings(ServerSettings()),
        policy=Policy({WATCH: frozenset(Role)}),
        metrics=CallMetrics(),
        access_log=log,
        tracer=None,
        max_in_flight=1,
        draining=asyncio.Event(),
    )
    binder = CallBinder(steps)
    binder.attach(SERVICE, Watching())
    method = type("Details", (grpc.HandlerCallDetails,), {"method": f"/{WATCH}", "invocation_metadata": ()})()
    handler: Any = binder.handler(SERVICE).service(method)
    context = Context()
    responses = handler.unary_stream(detection_pb2.WatchFindingsRequest(), context)
    assert (await anext(responses)).resume_token == "1"
    context.gone = True
    await responses.aclose()
    log.close()
    assert "192.0.2.1:50000" in written.getvalue()
    assert binder.in_flight == 0
