"""Permission to scan: which networks, until when, by whose word. Without it no packet leaves."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from securenet_scanner.network.targets import Network, Span, parse_network


@dataclass(frozen=True, slots=True)
class Scope:
    """A tenant's permission to scan some networks."""

    id: str
    tenant: str
    cidrs: tuple[str, ...]
    authorized_by: str
    reason: str
    expire_time: datetime | None
    """None only for the built-in loopback."""
    created_by: str
    create_time: datetime | None

    @property
    def name(self) -> str:
        """Resource name."""
        return f"scopes/{self.id}"

    def active(self, now: datetime) -> bool:
        """Whether it has not ended yet."""
        return self.expire_time is None or now < self.expire_time


LOOPBACK_ID = "loopback"


def loopback(tenant: str) -> Scope:
    """The scope that every tenant has: this machine, seen from itself."""
    return Scope(
        id=LOOPBACK_ID,
        tenant=tenant,
        cidrs=("127.0.0.0/8", "::1/128"),
        authorized_by="built in",
        reason="a machine may look at itself",
        expire_time=None,
        created_by="securenet",
        create_time=None,
    )


class OutOfScopeError(Exception):
    """Some address lies in no scope that holds now."""

    def __init__(self, span: Span, scopes: Sequence[Scope]) -> None:
        name = f"{span.host_name} ({span})" if span.host_name else str(span)
        allowed = ", ".join(cidr for scope in scopes for cidr in scope.cidrs[:4]) or "nothing"
        super().__init__(f"{name} is not wholly in a scope of this tenant; in scope now: {allowed}")
        self.target = str(span)


def authorize(spans: Iterable[Span], scopes: Sequence[Scope], now: datetime) -> tuple[str, ...]:
    """The names of the scopes that together allow every address of every span, sorted.

    Raises `OutOfScopeError` for the first span that reaches beyond them, even by one address.
    """
    active = [scope for scope in scopes if scope.active(now)]
    networks = [(parse_network(cidr), scope.name) for scope in active for cidr in scope.cidrs]
    used: set[str] = set()
    for span in spans:
        names = _covering(span, networks)
        if names is None:
            raise OutOfScopeError(span, active)
        used |= names
    return tuple(sorted(used))


def _covering(span: Span, networks: Sequence[tuple[Network, str]]) -> set[str] | None:
    """Names of the scopes that cover a span without a gap; None where there is one."""
    blocks = sorted(
        (int(network.network_address), int(network.broadcast_address), name)
        for network, name in networks
        if isinstance(network, ipaddress.IPv4Network) is isinstance(span.first, ipaddress.IPv4Address)
    )
    at, last = int(span.first), int(span.last)
    names: set[str] = set()
    for low, high, name in blocks:
        if low > at:
            break
        if high >= at:
            names.add(name)
            at = high + 1
            if at > last:
                return names
    return None
