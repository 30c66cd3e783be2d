"""What the detection service is asked and what it answers, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any


class ThreatLevel(IntEnum):
    """How urgently a person should look. The numbers are those of the contract."""

    UNSPECIFIED = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Flow:
    """One network flow, after Zeek's conn.log. What is None is absent, which is not 0.

    Attributes:
        src_ip, dst_ip: originator and responder, in text form.
        protocol: `tcp`, `udp`, `icmp`, `icmp6`, or an IANA protocol number.
        start_time: first packet; now if not given.
        duration: seconds.
        orig_bytes, resp_bytes: payload bytes of each side.
        orig_ip_bytes, resp_ip_bytes: bytes with IP headers.
        conn_state: Zeek's, such as SF or S0.
        local_orig, local_resp: the side is inside the monitored network.
        dns, tls, http, ssh: fields of DnsActivity, TlsActivity, HttpActivity, SshActivity by name; at most one of them.
    """

    src_ip: str
    dst_ip: str
    protocol: str | int = "tcp"
    start_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    flow_id: str = ""
    duration: float | None = None
    src_port: int | None = None
    dst_port: int | None = None
    service: str | None = None
    orig_bytes: int | None = None
    resp_bytes: int | None = None
    orig_ip_bytes: int | None = None
    resp_ip_bytes: int | None = None
    orig_pkts: int | None = None
    resp_pkts: int | None = None
    conn_state: str | None = None
    history: str | None = None
    missed_bytes: int | None = None
    local_orig: bool | None = None
    local_resp: bool | None = None
    sensor_id: str | None = None
    community_id: str | None = None
    dns: Mapping[str, Any] | None = None
    tls: Mapping[str, Any] | None = None
    http: Mapping[str, Any] | None = None
    ssh: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AttackTechnique:
    """One technique of MITRE ATT&CK."""

    id: str
    name: str
    tactic: str


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature added to a model's score, in log odds."""

    feature: str
    value: float
    baseline: float
    contribution: float


@dataclass(frozen=True, slots=True)
class ModelRef:
    """The model version that scored."""

    name: str
    alias: str
    digest: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """One detector's reason to suspect a flow. `measured` and `threshold` are of what `measure` names."""

    id: str
    detector: str
    detector_version: str
    analytic_type: str
    level: ThreatLevel
    confidence: float
    summary: str
    measured: float
    threshold: float
    contributions: tuple[Contribution, ...]
    techniques: tuple[AttackTechnique, ...]
    flow_ids: tuple[str, ...]
    measure: str = ""


@dataclass(frozen=True, slots=True)
class SkippedDetector:
    """A detector that could not judge, and why."""

    detector: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What detection thinks of one flow; `score` is the calibrated probability that it is malicious."""

    flow_id: str
    threat_level: ThreatLevel
    score: float
    evidence: tuple[Evidence, ...]
    model: ModelRef | None
    skipped: tuple[SkippedDetector, ...]
    evidence_omitted: bool = False


@dataclass(frozen=True, slots=True)
class RowError:
    """A value of a batch that cannot be right; its row was not scored."""

    row: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One incident: evidence about an entity and its peers, accumulated.

    `risk` is 0–100 now, `peak_risk` the highest that it reached, which the threat level is of.
    """

    name: str
    status: str
    threat_level: ThreatLevel
    risk: float
    entity: str
    detectors: tuple[str, ...]
    techniques: tuple[AttackTechnique, ...]
    peers: tuple[str, ...]
    port: int | None
    summary: str
    evidence: tuple[Evidence, ...]
    flow_ids: tuple[str, ...]
    first_seen_time: datetime | None
    last_seen_time: datetime | None
    create_time: datetime | None
    update_time: datetime | None
    count: int
    analyst_verdict: str
    comment: str
    updated_by: str
    revision: int
    suppressions: tuple[str, ...]
    sensor_ids: tuple[str, ...]
    state_scope: str = ""
    peak_risk: float = 0.0

    @property
    def id(self) -> str:
        """The last part of the name, which is also the id of its evidence."""
        return self.name.rpartition("/")[2]

    def as_dict(self) -> dict[str, Any]:
        """Plain values under the names that the command line promises."""
        return {
            "finding_id": self.id,
            "entity": self.entity,
            "threat_level": str(self.threat_level),
            "risk": round(self.risk, 2),
            "peak_risk": round(self.peak_risk, 2),
            "detectors": list(self.detectors),
            "techniques": [technique.id for technique in self.techniques],
            "peers": list(self.peers),
            "port": self.port,
            "first_seen": _iso(self.first_seen_time),
            "last_seen": _iso(self.last_seen_time),
            "count": self.count,
            "status": self.status,
            "analyst_verdict": self.analyst_verdict,
            "summary": self.summary,
            "revision": self.revision,
        }


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class FindingChange:
    """A change to a finding, or a sign of life without one; `resume_token` goes on after it."""

    finding: Finding | None
    resume_token: str


@dataclass(frozen=True, slots=True)
class FindingEvent:
    """One entry of a finding's history; `actor` is empty for the service itself."""

    event_time: datetime | None
    action: str
    actor: str
    status_before: str
    status_after: str
    analyst_verdict_before: str
    analyst_verdict_after: str
    comment: str
    revision: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values by the names of the fields."""
        return {
            "event_time": _iso(self.event_time),
            "action": self.action,
            "actor": self.actor,
            "status_before": self.status_before,
            "status_after": self.status_after,
            "analyst_verdict_before": self.analyst_verdict_before,
            "analyst_verdict_after": self.analyst_verdict_after,
            "comment": self.comment,
            "revision": self.revision,
        }


@dataclass(frozen=True, slots=True)
class Suppression:
    """Keeps findings that match all of its conditions out of the list until it expires."""

    name: str
    detector: str
    entity_cidr: str
    peer_cidr: str
    port: int | None
    expire_time: datetime | None
    reason: str
    created_by: str
    create_time: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values; empty conditions match everything."""
        return {
            "suppression_id": self.name.rpartition("/")[2],
            "detector": self.detector,
            "entity_cidr": self.entity_cidr,
            "peer_cidr": self.peer_cidr,
            "port": self.port,
            "expire_time": _iso(self.expire_time),
            "reason": self.reason,
            "created_by": self.created_by,
            "create_time": _iso(self.create_time),
        }


@dataclass(frozen=True, slots=True)
class Threshold:
    """One setting of a detector."""

    name: str
    value: float
    unit: str
    description: str


@dataclass(frozen=True, slots=True)
class DetectorState:
    """How much a detector remembers."""

    entries: int
    capacity: int
    evictions: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector, as the service describes it."""

    name: str
    version: str
    description: str
    analytic_type: str
    thresholds: tuple[Threshold, ...]
    required_fields: tuple[str, ...]
    techniques: tuple[AttackTechnique, ...]
    state: DetectorState | None

    def threshold(self, name: str) -> float | None:
        """The value of one setting."""
        return next((threshold.value for threshold in self.thresholds if threshold.name == name), None)


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """How far one feature is from the training: its population stability index."""

    feature: str
    stability_index: float


@dataclass(frozen=True, slots=True)
class ModelDrift:
    """Whether traffic still looks like what the model was trained on."""

    day_start_time: datetime | None
    sampled_rows: int
    features: tuple[FeatureDrift, ...]
    alert_rate: float
    signals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServingModel:
    """A model version in service."""

    model: ModelRef | None
    since_time: datetime | None
    generation: int
    feature_schema_hash: str
    load_duration: float | None
    limitations: tuple[str, ...] = ()
    drift: ModelDrift | None = None


@dataclass(frozen=True, slots=True)
class ModelServing:
    """What scores now, what did before, and why there is none; and the anomaly model that scores beside it."""

    current: ServingModel | None
    previous: ServingModel | None
    detail: str
    anomaly: ServingModel | None = None
    anomaly_detail: str = ""
