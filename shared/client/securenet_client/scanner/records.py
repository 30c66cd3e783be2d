"""What the scanner answers, as records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One vulnerability under all of its names, with why it applies. `epss` is a probability, 0–1."""

    id: str
    aliases: tuple[str, ...]
    summary: str
    severity: str
    cvss_vector: str
    cvss_score: float | None
    known_exploited: bool
    epss: float | None
    fixed_versions: tuple[str, ...]
    reason: str
    confidence: float
    publish_time: datetime | None
    references: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values under the names that the command line promises."""
        return {
            "id": self.id,
            "aliases": list(self.aliases),
            "severity": self.severity,
            "kev": self.known_exploited,
            "epss": self.epss,
            "fixed_versions": list(self.fixed_versions),
            "reason": self.reason,
            "summary": self.summary,
            "cvss_score": self.cvss_score,
            "cvss_vector": self.cvss_vector or None,
            "confidence": self.confidence,
        }


@dataclass(frozen=True, slots=True)
class PackageMatch:
    """What is known of one package URL. Not covered is not clean."""

    purl: str
    coverage: str
    coverage_detail: str
    vulnerabilities: tuple[Vulnerability, ...]
    upgrade_version: str

    @property
    def covered(self) -> bool:
        """Whether no vulnerability means that none is known."""
        return self.coverage == "covered"


@dataclass(frozen=True, slots=True)
class PackageMatches:
    """Answers in the order of the package URLs, with the knowledge that gave them."""

    matches: tuple[PackageMatch, ...]
    knowledge_version: str
    knowledge_time: datetime | None


@dataclass(frozen=True, slots=True)
class KnowledgeFeed:
    """One source of advisories."""

    name: str
    source: str
    data_time: datetime | None
    records: int
    records_rejected: int
    digest: str


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the knowledge base holds, and which ecosystems it can speak of."""

    version: str
    build_time: datetime | None
    data_time: datetime | None
    feeds: tuple[KnowledgeFeed, ...]
    covered_ecosystems: tuple[str, ...]
    uncovered_ecosystems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnowledgeProgress:
    """How far an import is; `knowledge` comes with the last step."""

    feed: str
    records_read: int
    bytes_read: int
    bytes_total: int | None
    records_rejected: int
    rejections: tuple[str, ...]
    knowledge: Knowledge | None


@dataclass(frozen=True, slots=True)
class Port:
    """What was learned of one port. `round_trip` is in seconds."""

    port: int
    transport: str
    state: str
    service: str
    product: str
    version: str
    cpe: str
    banner: str
    tls: bool
    round_trip: float | None


@dataclass(frozen=True, slots=True)
class ScanFinding:
    """Something that a person should mend."""

    name: str
    id: str
    address: str
    port: int
    severity: str
    title: str
    evidence: str
    remedy: str
    vulnerability: Vulnerability | None
    create_time: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the command line."""
        return {
            "id": self.id,
            "address": self.address,
            "port": self.port or None,
            "severity": self.severity,
            "title": self.title,
            "evidence": self.evidence,
            "remedy": self.remedy,
            "vulnerability": None if self.vulnerability is None else self.vulnerability.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class Host:
    """One address and what was found on it."""

    address: str
    host_name: str
    ports: tuple[Port, ...]
    findings: tuple[ScanFinding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values under the names that the command line promises."""
        return {
            "address": self.address,
            "host_name": self.host_name or None,
            "ports": [
                {
                    "port": port.port,
                    "transport": port.transport,
                    "state": port.state,
                    "service": port.service or None,
                    "product": port.product or None,
                    "version": port.version or None,
                    "cpe": port.cpe or None,
                    "tls": port.tls,
                    "banner": port.banner or None,
                }
                for port in self.ports
            ],
            "findings": [finding.as_dict() for finding in self.findings],
        }


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """How far a scan is; `remaining` is in seconds."""

    probes_total: int
    probes_done: int
    ports_open: int
    hosts_up: int
    remaining: float | None


@dataclass(frozen=True, slots=True)
class ScanSpec:
    """What was asked."""

    targets: tuple[str, ...]
    ports: str
    profile: str
    probe_timeout: float | None
    max_rate: int
    retries: int | None
    skip_banners: bool
    description: str


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan; `hosts` only where the scan was fetched by name."""

    name: str
    spec: ScanSpec | None
    state: str
    progress: ScanProgress | None
    error: str
    created_by: str
    create_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    scopes: tuple[str, ...]
    hosts: tuple[Host, ...]
    knowledge_version: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in {"succeeded", "failed", "cancelled"}


@dataclass(frozen=True, slots=True)
class PortFound:
    """A port of a host."""

    address: str
    port: Port | None


@dataclass(frozen=True, slots=True)
class ScanStateChange:
    """A new state."""

    state: str
    error: str


@dataclass(frozen=True, slots=True)
class ScanEvent:
    """One thing that happened; just one of the four is not None."""

    sequence: int
    progress: ScanProgress | None
    port: PortFound | None
    finding: ScanFinding | None
    state_change: ScanStateChange | None


@dataclass(frozen=True, slots=True)
class Scope:
    """A permission to scan."""

    name: str
    cidrs: tuple[str, ...]
    authorized_by: str
    reason: str
    expire_time: datetime | None
    created_by: str
    create_time: datetime | None


@dataclass(frozen=True, slots=True)
class Exposure:
    """What scans know of one host. Without a `scan_time` nothing here means that it is safe."""

    address: str
    ports: tuple[Port, ...]
    worst_vulnerability: Vulnerability | None
    vulnerability_count: int
    known_exploited: bool
    epss: float | None
    scan_time: datetime | None
