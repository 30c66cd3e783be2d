"""Who calls: a subject, its tenant and its roles."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from securenet_core.exceptions import UnauthenticatedError


class Role(StrEnum):
    """What a caller may do; the policy says which RPCs that means."""

    READER = "reader"
    ANALYST = "analyst"
    SCANNER_OPERATOR = "scanner-operator"
    MODEL_PUBLISHER = "model-publisher"
    ADMIN = "admin"


ALL_ROLES: Final = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Principal:
    """An identified caller.

    Attributes:
        subject: name of the person or service.
        tenant: whose data it sees, ``[a-z][a-z0-9-]{0,62}``; never taken from a request's body.
        roles: what it may do.
    """

    subject: str
    tenant: str
    roles: frozenset[Role]


#: Caller on a plaintext loopback port without tokens: whoever can open it is on this machine already.
LOCAL: Final = Principal(subject="local", tenant="default", roles=ALL_ROLES)

_current: ContextVar[Principal] = ContextVar("securenet_principal")


def current_principal() -> Principal:
    """The caller of the RPC that this task handles.

    Raises:
        UnauthenticatedError: this task does not handle an RPC.
    """
    try:
        return _current.get()
    except LookupError:
        raise UnauthenticatedError("no caller: this code does not run inside a call") from None


def set_current_principal(principal: Principal) -> None:
    """Makes `principal` the caller for the rest of this task."""
    _current.set(principal)
