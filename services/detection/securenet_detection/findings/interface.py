"""Where findings are kept. Calls block; the ledger keeps them off the event loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from securenet_detection.findings.finding import Finding, FindingStatus, Suppression
from securenet_detection.findings.sighting import Sighting


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """Which findings to list. Empty statuses mean all but SUPPRESSED; empty texts and None match everything."""

    min_threat_level: int = 0
    statuses: tuple[FindingStatus, ...] = ()
    detector: str = ""
    entity: str = ""
    seen_after_ns: int | None = None


class FindingStore(Protocol):
    """Findings and suppressions of all tenants. Each call is one transaction."""

    def record(self, sightings: Sequence[Sighting], now_ns: int) -> None:
        """Adds sightings to their findings, in order; durable when it returns."""

    def page(self, tenant: str, wanted: FindingFilter, before_change: int | None, limit: int) -> list[Finding]:
        """Findings in descending order of their latest change."""

    def get(self, tenant: str, finding_id: str) -> Finding | None:
        """One finding."""

    def edit(self, tenant: str, finding_id: str, change: Callable[[Finding], Finding]) -> Finding | None:
        """Replaces a finding by what `change` makes of it; None where there is none. What it raises undoes all."""

    def changed_since(self, tenant: str, change: int, limit: int) -> list[Finding]:
        """Findings with a later change, the earliest change first."""

    def latest_change(self) -> int:
        """Number of the latest change of all, 0 before the first."""

    def suppress(self, suppression: Suppression, now_ns: int) -> tuple[Suppression, int]:
        """Stores a suppression, unless one of its id exists, and holds back what it matches; answers how many."""

    def suppressions(self, tenant: str, after_id: str, limit: int) -> list[Suppression]:
        """Suppressions by id."""

    def unsuppress(self, tenant: str, suppression_id: str, now_ns: int) -> int | None:
        """Deletes a suppression; answers how many findings are open again, None where there is none of the id."""

    def expire(self, now_ns: int) -> int:
        """Deletes suppressions that ended; answers how many."""

    def matching(self, suppression: Suppression, limit: int) -> tuple[int, list[Finding]]:
        """How many findings a suppression matches, and the gravest of them."""
