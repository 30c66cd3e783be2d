"""Every error that a caller may see, free of gRPC. :mod:`securenet_core.status` puts them on the wire and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar


class Code(IntEnum):
    """The canonical status codes, with gRPC's numbers (google/rpc/code.proto)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that breaks its rule.

    Attributes:
        field: path from the request, such as ``flow.src_ip`` or ``targets[2]``.
        description: what came and what is accepted.
    """

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class PreconditionViolation:
    """One condition that does not hold.

    Attributes:
        type: kind of condition, such as ``gate``.
        subject: which one.
        description: what was measured and what is required.
    """

    type: str
    subject: str
    description: str


class SecurenetError(Exception):
    """The root of every error that a caller may see.

    Attributes:
        code: canonical status code; fixed by the class.
        reason: constant in upper snake case, for programs; goes into ``ErrorInfo.reason``.
        message: the thing, what came and what was expected, for people.
        metadata: particulars for programs; goes into ``ErrorInfo.metadata``.
        retry_after: seconds after which a retry makes sense, or None.
        fields: fields that break their rules.
        preconditions: conditions that do not hold.
    """

    code: ClassVar[Code] = Code.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: dict[str, str] | None = None,
        retry_after: float | None = None,
        fields: Sequence[FieldViolation] = (),
        preconditions: Sequence[PreconditionViolation] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.code.name
        self.metadata = metadata or {}
        self.retry_after = retry_after
        self.fields = tuple(fields)
        self.preconditions = tuple(preconditions)


class InvalidArgumentError(SecurenetError):
    """A field of the request cannot be right."""

    code = Code.INVALID_ARGUMENT

    @classmethod
    def of(cls, field: str, description: str) -> InvalidArgumentError:
        """The error of a single field; `description` says what came and what is accepted."""
        return cls(f"{field}: {description}", fields=[FieldViolation(field, description)])


class NotFoundError(SecurenetError):
    """There is no such thing, or it belongs to another tenant."""

    code = Code.NOT_FOUND


class AlreadyExistsError(SecurenetError):
    """There is such a thing already."""

    code = Code.ALREADY_EXISTS


class UnauthenticatedError(SecurenetError):
    """Nobody knows who calls."""

    code = Code.UNAUTHENTICATED


class PermissionDeniedError(SecurenetError):
    """The caller may not."""

    code = Code.PERMISSION_DENIED


class ResourceExhaustedError(SecurenetError):
    """A bound is reached; `retry_after` says when to come again."""

    code = Code.RESOURCE_EXHAUSTED


class FailedPreconditionError(SecurenetError):
    """The state of things does not allow it."""

    code = Code.FAILED_PRECONDITION


class AbortedError(SecurenetError):
    """Somebody else was faster: read again and retry."""

    code = Code.ABORTED


class OutOfRangeError(SecurenetError):
    """What was asked for lies before or after what is kept."""

    code = Code.OUT_OF_RANGE


class UnimplementedError(SecurenetError):
    """The operation is in the contract and not in this build."""

    code = Code.UNIMPLEMENTED


class UnavailableError(SecurenetError):
    """The service cannot answer now."""

    code = Code.UNAVAILABLE


class DeadlineExceededError(SecurenetError):
    """The caller's time ran out."""

    code = Code.DEADLINE_EXCEEDED


class CancelledError(SecurenetError):
    """The caller, or somebody for it, gave up."""

    code = Code.CANCELLED


class DataLossError(SecurenetError):
    """Stored bytes are not what was stored."""

    code = Code.DATA_LOSS


class InternalError(SecurenetError):
    """A fault of the service; the correlation id finds the traceback in its log."""

    code = Code.INTERNAL


class SettingsError(Exception):
    """A setting is wrong; the process ends with exit code 2 and this message."""


#: The class of each code, for the way back from the wire.
BY_CODE: dict[Code, type[SecurenetError]] = {
    cls.code: cls
    for cls in (
        InvalidArgumentError,
        NotFoundError,
        AlreadyExistsError,
        UnauthenticatedError,
        PermissionDeniedError,
        ResourceExhaustedError,
        FailedPreconditionError,
        AbortedError,
        OutOfRangeError,
        UnimplementedError,
        UnavailableError,
        DeadlineExceededError,
        CancelledError,
        DataLossError,
        InternalError,
    )
}
