"""Risk fades: it halves for every half-life that the flows have gone on since a finding was seen last.

Time is the flows' own: the latest start among the flows of a tenant, which stands still while none come, and never lies
ahead of the service's clock, so that one sensor with a wrong clock cannot make everything look old.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Final

from securenet_detection.findings.finding import Finding

#: Risks that round to 0 of 100 are 0.
_NOTHING: Final = 0.005


def faded(finding: Finding, now_ns: int | None, half_life_ns: int) -> Finding:
    """The finding with the share of its risk that is left.

    A finding of a named state is about a capture, which has no now: it does not fade.

    Args:
        now_ns: time of the tenant's flows; None where it is not known.
        half_life_ns: nanoseconds, at least 1.
    """
    if now_ns is None or finding.state_scope:
        return finding
    share = 0.5 ** (max(now_ns - finding.last_seen_ns, 0) / half_life_ns)
    return replace(finding, fading=share if finding.risk * share >= _NOTHING else 0.0)


class FlowClock:
    """The latest start of each tenant's flows, for a bounded number of tenants.

    Args:
        tenants: how many; the one whose flows came longest ago is forgotten first.
    """

    def __init__(self, tenants: int = 10_000) -> None:
        self._tenants = tenants
        self._newest: OrderedDict[str, int] = OrderedDict()

    def advance(self, tenant: str, start_ns: int, now_ns: int) -> None:
        """Flows came, the latest of which started at `start_ns`; `now_ns` is the service's clock."""
        known = self._newest.pop(tenant, None)
        if known is None and len(self._newest) >= self._tenants:
            self._newest.popitem(last=False)
        reached = min(start_ns, now_ns)
        self._newest[tenant] = reached if known is None else max(known, reached)

    def now(self, tenant: str) -> int | None:
        """Time of a tenant's flows, nanoseconds since the epoch; None before the first."""
        return self._newest.get(tenant)

    def items(self) -> list[tuple[str, int]]:
        """Every tenant with the time of its flows."""
        return list(self._newest.items())
