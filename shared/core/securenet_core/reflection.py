"""gRPC reflection, v1 and v1alpha, so that grpcurl and buf curl work without files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import _async, reflection_pb2

V1_NAME: Final = "grpc.reflection.v1.ServerReflection"
V1ALPHA_NAME: Final = "grpc.reflection.v1alpha.ServerReflection"
_V1_FILE: Final = "grpc/reflection/v1/reflection.proto"


def reflection_handlers(services: Sequence[str]) -> tuple[grpc.GenericRpcHandler, ...]:
    """Handlers of both versions for the named services and for reflection itself.

    The installed package has v1alpha only. v1 is the same messages under another package name, so one servicer answers
    both, and its descriptor is made from v1alpha's.
    """
    _describe_v1()
    servicer = _async.ReflectionServicer((*services, V1_NAME, V1ALPHA_NAME))
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return tuple(
        grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method}) for name in (V1_NAME, V1ALPHA_NAME)
    )


def _describe_v1() -> None:
    pool = descriptor_pool.Default()
    try:
        pool.FindFileByName(_V1_FILE)
    except KeyError:
        renamed = descriptor_pb2.FileDescriptorProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(renamed)
        renamed.name = _V1_FILE
        renamed.package = "grpc.reflection.v1"
        renamed.ClearField("options")
        for message in renamed.message_type:
            for field in message.field:
                if field.HasField("type_name"):
                    field.type_name = field.type_name.replace(".v1alpha.", ".v1.")
        for service in renamed.service:
            for method in service.method:
                method.input_type = method.input_type.replace(".v1alpha.", ".v1.")
                method.output_type = method.output_type.replace(".v1alpha.", ".v1.")
        pool.AddSerializedFile(renamed.SerializeToString())
