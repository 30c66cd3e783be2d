"""What must outlive the process: the ports behind which it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from securenet_scanner.network.scopes import Scope
from securenet_scanner.scans.scan import (
    AuditEntry,
    Event,
    Exposure,
    Finding,
    PortFacts,
    Progress,
    Scan,
    ScanState,
)


@dataclass(frozen=True, slots=True)
class Page:
    """A place in a list that is sorted by time of creation, the latest first."""

    size: int
    after: tuple[int, str] | None = None
    """(create time in microseconds since 1970, id) of the last item of the page before."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a scan found since it was stored last."""

    ports: Sequence[PortFacts] = ()
    findings: Sequence[Finding] = ()
    knowledge_version: str = ""
    """Of the knowledge that services were matched with; empty where none was since."""


class QueueFullError(Exception):
    """As many scans wait as may."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} scans are waiting already")
        self.waiting = waiting


class ScanStore(Protocol):
    """Scans with what they found. Every method that changes something answers after its commit."""

    async def create(self, scan: Scan, request_id: str, audit: AuditEntry, max_pending: int) -> tuple[Scan, bool]:
        """Keep a new scan; answers the stored one, and whether it is new: a known `request_id` answers the first.

        Raises `QueueFullError` where `max_pending` wait already.
        """
        ...

    async def get(self, tenant: str, scan_id: str) -> Scan | None:
        """A scan with its hosts; None where the tenant has none of this id."""
        ...

    async def head(self, tenant: str, scan_id: str) -> Scan | None:
        """As `get`, without its hosts."""
        ...

    async def page(self, tenant: str, state: ScanState | None, page: Page) -> list[Scan]:
        """One page, without hosts."""
        ...

    async def unfinished(self, tenant: str | None = None) -> list[Scan]:
        """Scans that are pending or running, the oldest first; of every tenant where none is given."""
        ...

    async def delete(self, tenant: str, scan_id: str, audit: AuditEntry) -> None:
        """Remove a scan with all that hangs on it."""
        ...

    async def begin(self, scan_id: str, at: datetime) -> None:
        """It runs now; says so once, also where it was running before a restart."""
        ...

    async def record(self, scan_id: str, found: Found, checkpoint: int, progress: Progress) -> None:
        """Keep what was found; what was known of a port before is replaced."""
        ...

    async def finish(self, scan_id: str, change: StateChangeAt, audit: AuditEntry | None = None) -> None:
        """It has ended. A scan that has ended before stays as it was."""
        ...

    async def opened(self, scan_id: str) -> list[PortFacts]:
        """The ports that were found open so far."""
        ...

    async def events(self, scan_id: str, from_sequence: int, limit: int) -> list[Event]:
        """Events from a sequence on, in order."""
        ...

    async def exposure(self, tenant: str, address: str) -> Exposure:
        """What the tenant's latest scan of a host found on each port."""
        ...

    async def audit(self, entry: AuditEntry) -> None:
        """Keep who did what."""
        ...


@dataclass(frozen=True, slots=True)
class StateChangeAt:
    """A final state, when, and how far it came."""

    state: ScanState
    at: datetime
    error: str = ""
    progress: Progress | None = None


class ScopeStore(Protocol):
    """The tenants' scopes; loopback is not among them, it is always there."""

    async def create(self, scope: Scope, request_id: str, audit: AuditEntry) -> Scope:
        """Keep a scope; a known `request_id` answers the first."""
        ...

    async def active(self, tenant: str, now: datetime) -> list[Scope]:
        """Scopes that hold now."""
        ...

    async def page(self, tenant: str, now: datetime, page: Page) -> list[Scope]:
        """One page of those that hold now, the latest first."""
        ...

    async def delete(self, tenant: str, scope_id: str, audit: AuditEntry) -> bool:
        """End a scope; False where the tenant has none of this id."""
        ...
