"""Where findings are kept. Calls block; the ledger keeps them off the event loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from securenet_detection.findings.finding import Finding, FindingStatus, Suppression
from securenet_detection.findings.history import FindingEvent, Label
from securenet_detection.findings.sighting import Sighting


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """Which findings to list. Empty statuses mean all but SUPPRESSED; empty texts and None match everything."""

    min_threat_level: int = 0
    statuses: tuple[FindingStatus, ...] = ()
    detector: str = ""
    entity: str = ""
    seen_after_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """Findings with a later change, and whether one that had a later change is deleted."""

    findings: list[Finding]
    deleted: bool


@dataclass(frozen=True, slots=True)
class Pruned:
    """What retention deleted: findings that were too old, findings beyond a tenant's number, and labels beyond it."""

    expired: int
    surplus: int
    labels: int


class FindingStore(Protocol):
    """Findings and suppressions of all tenants. Each call is one transaction."""

    def record(self, sightings: Sequence[Sighting], now_ns: int) -> None:
        """Adds sightings to their findings, in order; durable when it returns."""

    def page(self, tenant: str, wanted: FindingFilter, before_change: int | None, limit: int) -> list[Finding]:
        """Findings in descending order of their latest change."""

    def get(self, tenant: str, finding_id: str) -> Finding | None:
        """One finding."""

    def edit(self, tenant: str, finding_id: str, change: Callable[[Finding], Finding], now_ns: int) -> Finding | None:
        """Replaces a finding by what `change` makes of it, as far as suppressions let it, and writes its history.

        None where there is none. What `change` raises undoes all. A verdict becomes a label.
        """

    def events(self, tenant: str, finding_id: str, before: tuple[int, int] | None, limit: int) -> list[FindingEvent]:
        """History of a finding, the latest first; `before` is the change and action of the last one that was read."""

    def labels(self, tenant: str, after_ns: int, after_change: int, limit: int) -> list[Label]:
        """Labels that were given at or after a time, in the order of their changes."""

    def newest(self, tenant: str) -> int | None:
        """Latest start of a tenant's flows that was stored."""

    def advance(self, tenant: str, newest_ns: int) -> None:
        """Stores the latest start of a tenant's flows."""

    def changed_since(self, tenant: str, change: int, limit: int) -> Changes:
        """Findings with a later change, the earliest change first."""

    def identity(self) -> int:
        """A number of this store alone, which nobody outside can know."""

    def latest_change(self) -> int:
        """Number of the latest change of all, 0 before the first."""

    def suppress(self, suppression: Suppression, now_ns: int) -> tuple[Suppression, int]:
        """Stores a suppression, unless one of its id exists, and applies it; answers how many findings it holds."""

    def suppressions(self, tenant: str, after_id: str, limit: int) -> list[Suppression]:
        """Suppressions by id."""

    def unsuppress(self, tenant: str, suppression_id: str, now_ns: int, actor: str) -> int | None:
        """Deletes a suppression; answers how many findings are open again, None where there is none of the id."""

    def expire(self, now_ns: int) -> int:
        """Deletes suppressions that ended; answers how many."""

    def matching(self, suppression: Suppression, limit: int) -> tuple[int, list[Finding]]:
        """How many findings a suppression would hold, and the gravest of them."""

    def prune(self, before_ns: int, keep: int, keep_labels: int, limit: int) -> Pruned:
        """Deletes at most `limit` findings not changed since, and as many beyond `keep` of a tenant.

        What is resolved goes first, then what is suppressed, then the rest, each the oldest change first. Labels stay
        when their finding goes; the oldest beyond `keep_labels` of a tenant go.
        """
