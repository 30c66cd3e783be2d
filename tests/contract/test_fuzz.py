"""Generated messages, right and wrong, to every RPC: it answers, it blames the right side, it lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from contract_messages import messages
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service_process import ServiceProcess

from securenet.detection.v1 import detection_pb2
from securenet.registry.v1 import registry_pb2
from securenet.scanner.v1 import scanner_pb2
from securenet_core.channels import ChannelSettings, open_channel

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SERVICES = {
    "detection": detection_pb2.DESCRIPTOR.services_by_name["DetectionService"],
    "scanner": scanner_pb2.DESCRIPTOR.services_by_name["ScannerService"],
    "registry": registry_pb2.DESCRIPTOR.services_by_name["ModelRegistryService"],
}
METHODS = [(name, method) for name, service in SERVICES.items() for method in service.methods]

#: The server's own faults; and what gRPC answers for an exception that nobody caught.
FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
#: Streams that go on until the caller leaves.
ENDLESS = ("Watch", "TrainModel")
SECONDS = 30.0
LOOK_SECONDS = 1.0


def answer(channel: grpc.Channel, method: MethodDescriptor, requests: list[Any]) -> grpc.StatusCode:
    """Calls the method and reads at most a hundred responses; the status it ended with."""
    response_type = GetMessageClass(method.output_type)
    path = f"/{method.containing_service.full_name}/{method.name}"
    shape = (
        ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
    )
    call = getattr(channel, shape)(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response_type.FromString,
    )
    argument = iter(requests) if method.client_streaming else requests[0]
    endless = method.name.startswith(ENDLESS)
    try:
        if not method.server_streaming:
            call(argument, timeout=SECONDS)
            return grpc.StatusCode.OK
        responses = call(argument, timeout=LOOK_SECONDS if endless else SECONDS)
        for _, _response in zip(range(100), responses, strict=False):
            pass
        responses.cancel()
    except grpc.RpcError as error:
        return grpc.StatusCode.OK if endless and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize(("name", "method"), METHODS, ids=[f"{name}-{method.name}" for name, method in METHODS])
def test_no_message_is_a_fault_of_the_server(
    services: Callable[[str], ServiceProcess], name: str, method: MethodDescriptor
) -> None:
    service = services(name)
    requests = st.lists(messages(method.input_type), min_size=1, max_size=4 if method.client_streaming else 1)
    examples = 5 if method.name.startswith(ENDLESS) else 30

    with open_channel(ChannelSettings(service.address)) as channel:

        @settings(
            max_examples=examples, deadline=None, database=None, derandomize=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )  # fmt: skip
        @given(requests)
        def check(sent: list[Any]) -> None:
            status = answer(channel, method, sent)
            assert status not in FAULTS, f"{method.name} answered {status.name} to {sent}\n{tail(service)}"
            assert status is not grpc.StatusCode.DEADLINE_EXCEEDED, f"{method.name} hangs at {sent}"

        check()
    assert service.process.poll() is None, tail(service)
    assert service.health() == health_pb2.HealthCheckResponse.SERVING


def tail(service: ServiceProcess) -> str:
    return service.log.read_text()[-3000:]
