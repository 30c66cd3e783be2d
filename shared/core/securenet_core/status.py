"""Errors on the wire: :class:`SecurenetError` to ``google.rpc.Status`` and back. The only place that knows both."""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from securenet_core.exceptions import (
    BY_CODE,
    Code,
    FieldViolation,
    PreconditionViolation,
    SecurenetError,
)

#: ``ErrorInfo.domain`` of every error of this suite.
DOMAIN: Final = "securenet"
#: Trailing metadata key of the serialised ``google.rpc.Status``.
DETAILS_KEY: Final = "grpc-status-details-bin"
#: Trailing metadata key of the id that finds a call in the log.
REQUEST_ID_KEY: Final = "x-request-id"
_STATUS_BYTES: Final = 4096
_MESSAGE_LIMIT: Final = 512
_VIOLATIONS_LIMIT: Final = 20

GRPC_CODES: Final[dict[Code, grpc.StatusCode]] = {Code(code.value[0]): code for code in grpc.StatusCode}
_CODES: Final[dict[grpc.StatusCode, Code]] = {theirs: ours for ours, theirs in GRPC_CODES.items()}


def clip(text: str, limit: int = _MESSAGE_LIMIT) -> str:
    """At most `limit` characters of `text`, with an ellipsis where some had to go."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def to_status(error: SecurenetError) -> status_pb2.Status:
    """The error as ``google.rpc.Status``, with ErrorInfo and what else applies: fields, conditions, retry delay.

    It takes at most 4 KiB, because peers refuse trailers of more than 8 KiB: the last violations go first, then the
    message is cut.
    """
    kept, length = _VIOLATIONS_LIMIT, _MESSAGE_LIMIT
    status = _build(error, kept, length)
    while status.ByteSize() > _STATUS_BYTES and (kept or length > 1):
        if kept:
            kept //= 2
        else:
            length //= 2
        status = _build(error, kept, length)
    return status


def _build(error: SecurenetError, kept: int, length: int) -> status_pb2.Status:
    status = status_pb2.Status(code=int(error.code), message=clip(error.message, length))
    info = error_details_pb2.ErrorInfo(reason=clip(error.reason, 63), domain=DOMAIN)
    for key, value in list(error.metadata.items())[:8]:
        info.metadata[clip(key, 64)] = clip(value, min(128, length))
    status.details.add().Pack(info)
    if error.fields[:kept]:
        bad = error_details_pb2.BadRequest()
        for field in error.fields[:kept]:
            bad.field_violations.add(field=clip(field.field, 128), description=clip(field.description, 256))
        status.details.add().Pack(bad)
    if error.preconditions[:kept]:
        failure = error_details_pb2.PreconditionFailure()
        for condition in error.preconditions[:kept]:
            failure.violations.add(
                type=clip(condition.type, 64),
                subject=clip(condition.subject, 128),
                description=clip(condition.description, 256),
            )
        status.details.add().Pack(failure)
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def from_status(status: status_pb2.Status) -> SecurenetError:
    """The error that `status` describes; a detail of an unknown type is passed over."""
    cls = BY_CODE.get(_code(status.code), SecurenetError)
    error = cls(status.message)
    for detail in status.details:
        _read_detail(error, detail)
    return error


def _code(number: int) -> Code:
    try:
        return Code(number)
    except ValueError:
        return Code.UNKNOWN


def _read_detail(error: SecurenetError, detail: any_pb2.Any) -> None:
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    failure = error_details_pb2.PreconditionFailure()
    retry = error_details_pb2.RetryInfo()
    if detail.Unpack(info):
        error.reason = info.reason
        error.metadata = dict(info.metadata)
    elif detail.Unpack(bad):
        error.fields = tuple(FieldViolation(v.field, v.description) for v in bad.field_violations)
    elif detail.Unpack(failure):
        error.preconditions = tuple(PreconditionViolation(v.type, v.subject, v.description) for v in failure.violations)
    elif detail.Unpack(retry):
        error.retry_after = retry.retry_delay.ToNanoseconds() / 1e9


def from_rpc_error(error: grpc.RpcError) -> SecurenetError:
    """The error that a client call raised, as the exception that the server meant.

    Without ``google.rpc.Status`` in the trailers (a proxy answered, or the server could not be reached) the class
    follows the plain status code.
    """
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return SecurenetError(str(error))
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            status = status_pb2.Status.FromString(value if isinstance(value, bytes) else value.encode("latin-1"))
            return from_status(status)
    code = _CODES[error.code()]
    return BY_CODE.get(code, SecurenetError)(error.details() or code.name)
