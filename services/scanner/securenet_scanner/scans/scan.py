"""A scan as a resource: what was asked, how far it is, what was found, and what happened in which order."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from securenet_scanner.advisories.matching import Vulnerability
from securenet_scanner.cvss import Severity
from securenet_scanner.network.connecting import PortState
from securenet_scanner.network.ports import PortProfile
from securenet_scanner.network.targets import Span


class ScanState(Enum):
    """Where a scan stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Nothing more will happen to it."""
        return self in {ScanState.SUCCEEDED, ScanState.FAILED, ScanState.CANCELLED}


@dataclass(frozen=True, slots=True)
class ScanSpec:
    """What was asked for, as it was asked for."""

    targets: tuple[str, ...]
    ports: str = ""
    profile: PortProfile | None = None
    probe_timeout: float | None = None
    """Seconds; None takes the service's."""
    max_rate: int = 0
    """Connections a second; 0 takes the service's limit."""
    retries: int | None = None
    skip_banners: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a scan does exactly: fixed when it is accepted, so that neither names nor profiles can change under it."""

    spans: tuple[Span, ...]
    ports: tuple[int, ...]

    @property
    def probes(self) -> int:
        """How many probes it takes."""
        return sum(span.size for span in self.spans) * len(self.ports)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scan is."""

    probes_total: int
    probes_done: int = 0
    ports_open: int = 0
    hosts_up: int = 0
    remaining: float | None = None
    """Estimate in seconds; None while there is none."""


@dataclass(frozen=True, slots=True)
class PortFacts:
    """What was learned of one TCP port."""

    address: str
    port: int
    state: PortState
    round_trip: float = 0.0
    """Seconds."""
    identified: bool = False
    """Its banner was asked for, whatever came."""
    service: str = ""
    product: str = ""
    version: str = ""
    cpe: str = ""
    banner: str = ""
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should mend."""

    id: str
    address: str
    port: int
    severity: Severity
    title: str
    evidence: str
    remedy: str
    create_time: datetime
    vulnerability: Vulnerability | None = None
    """What is behind it, where it was matched."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """A new state."""

    state: ScanState
    error: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, numbered from 1; progress alone bears the number of the event before it."""

    sequence: int
    what: PortFacts | Finding | StateChange | Progress


@dataclass(frozen=True, slots=True)
class Host:
    """One address and what was found on it."""

    address: str
    host_name: str
    ports: tuple[PortFacts, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan."""

    id: str
    tenant: str
    spec: ScanSpec
    plan: Plan
    state: ScanState
    progress: Progress
    created_by: str
    create_time: datetime
    scopes: tuple[str, ...]
    """Names of the scopes that allowed it."""
    start_time: datetime | None = None
    end_time: datetime | None = None
    error: str = ""
    checkpoint: int = 0
    """Every probe below this index is done and stored."""
    hosts: tuple[Host, ...] = field(default=())
    knowledge_version: str = ""
    """Of the knowledge that services were matched with last; empty where none was."""

    @property
    def name(self) -> str:
        """Resource name."""
        return f"scans/{self.id}"


@dataclass(frozen=True, slots=True)
class Exposure:
    """What scans know of one host. Without a scan time nothing is known, which is not safe."""

    address: str
    ports: tuple[PortFacts, ...]
    scan_time: datetime | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, when, on whose authority."""

    time: datetime
    tenant: str
    subject: str
    action: str
    """`scan.start`, `scan.refused`, `scan.cancel`, `scan.delete`, `scope.create`, `scope.delete`, `knowledge.update`"""
    resource: str
    authority: tuple[str, ...]
    """Scopes, and who authorised them."""
    detail: str
