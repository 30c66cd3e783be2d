"""Tables of the detection service, and the domain's words in them."""

from __future__ import annotations

import json

from sqlalchemy import BigInteger, Float, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from securenet_detection.findings.finding import AnalystVerdict, Finding, FindingStatus, Suppression, address_key
from securenet_detection.findings.history import FindingAction, FindingEvent, Label
from securenet_detection.threats import AnalyticType, Contribution, Evidence, Technique, ThreatLevel


class Base(DeclarativeBase):
    """Tables of the detection service."""


class FindingRow(Base):
    """One finding; what is never searched for stands in `body` as JSON."""

    __tablename__ = "findings"
    __table_args__ = (
        Index("findings_by_change", "tenant", "change", unique=True),
        Index("findings_by_entity", "tenant", "entity_key"),
        Index("findings_by_update", "update_ns"),
    )

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    status: Mapped[int] = mapped_column(Integer)
    threat_level: Mapped[int] = mapped_column(Integer)
    risk: Mapped[float] = mapped_column(Float)
    entity: Mapped[str] = mapped_column(String(64))
    entity_key: Mapped[bytes] = mapped_column(LargeBinary(16))
    detector: Mapped[str] = mapped_column(String(64))
    port: Mapped[int | None] = mapped_column(Integer)
    first_seen_ns: Mapped[int] = mapped_column(BigInteger)
    last_seen_ns: Mapped[int] = mapped_column(BigInteger)
    create_ns: Mapped[int] = mapped_column(BigInteger)
    update_ns: Mapped[int] = mapped_column(BigInteger)
    count: Mapped[int] = mapped_column(BigInteger)
    analyst_verdict: Mapped[int] = mapped_column(Integer)
    comment: Mapped[str] = mapped_column(Text)
    updated_by: Mapped[str] = mapped_column(String(255))
    revision: Mapped[int] = mapped_column(BigInteger)
    change: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[str] = mapped_column(Text)


class SuppressionRow(Base):
    """One suppression."""

    __tablename__ = "suppressions"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    detector: Mapped[str] = mapped_column(String(64))
    entity_cidr: Mapped[str] = mapped_column(String(64))
    peer_cidr: Mapped[str] = mapped_column(String(64))
    port: Mapped[int | None] = mapped_column(Integer)
    expire_ns: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(String(255))
    create_ns: Mapped[int] = mapped_column(BigInteger)


class CounterRow(Base):
    """Numbers that only rise: `change` counts changes to findings."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class EventRow(Base):
    """One entry of a finding's history."""

    __tablename__ = "finding_events"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    finding_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    change: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    action: Mapped[int] = mapped_column(Integer, primary_key=True)
    time_ns: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(String(255))
    status_before: Mapped[int] = mapped_column(Integer)
    status_after: Mapped[int] = mapped_column(Integer)
    verdict_before: Mapped[int] = mapped_column(Integer)
    verdict_after: Mapped[int] = mapped_column(Integer)
    comment: Mapped[str] = mapped_column(Text)
    revision: Mapped[int] = mapped_column(BigInteger)


class LabelRow(Base):
    """What a person found out about a finding, with its flows as JSON in `body`."""

    __tablename__ = "labels"
    __table_args__ = (Index("labels_by_change", "tenant", "change"),)

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    finding_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    change: Mapped[int] = mapped_column(BigInteger)
    verdict: Mapped[int] = mapped_column(Integer)
    detector: Mapped[str] = mapped_column(String(64))
    labeled_by: Mapped[str] = mapped_column(String(255))
    label_ns: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[str] = mapped_column(Text)


class TenantRow(Base):
    """What is known of a tenant: the latest start of its flows, and the latest change that retention deleted."""

    __tablename__ = "tenants"

    tenant: Mapped[str] = mapped_column(String(63), primary_key=True)
    newest_ns: Mapped[int | None] = mapped_column(BigInteger)
    deleted_change: Mapped[int] = mapped_column(BigInteger)


def finding_row(finding: Finding) -> FindingRow:
    """The row of a finding."""
    body = {
        "evidence": {
            **finding.evidence._asdict(),
            "techniques": [technique._asdict() for technique in finding.evidence.techniques],
            "contributions": [one._asdict() for one in finding.evidence.contributions],
        },
        "peers": finding.peers,
        "flow_ids": finding.flow_ids,
        "sensor_ids": finding.sensor_ids,
        "suppressions": finding.suppressions,
        "state_scope": finding.state_scope,
        "flows": finding.flows,
        "held_status": finding.held_status,
    }
    return FindingRow(
        tenant=finding.tenant,
        id=finding.id,
        status=int(finding.status),
        threat_level=int(finding.threat_level),
        risk=finding.risk,
        entity=finding.entity,
        entity_key=address_key(finding.entity),
        detector=finding.evidence.detector,
        port=finding.port,
        first_seen_ns=finding.first_seen_ns,
        last_seen_ns=finding.last_seen_ns,
        create_ns=finding.create_ns,
        update_ns=finding.update_ns,
        count=finding.count,
        analyst_verdict=int(finding.analyst_verdict),
        comment=finding.comment,
        updated_by=finding.updated_by,
        revision=finding.revision,
        change=finding.change,
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
    )


def finding(row: FindingRow) -> Finding:
    """The finding of a row."""
    body = json.loads(row.body)
    evidence = body["evidence"]
    held = body.get("held_status")
    return Finding(
        tenant=row.tenant,
        id=row.id,
        status=FindingStatus(row.status),
        threat_level=ThreatLevel(row.threat_level),
        risk=row.risk,
        entity=row.entity,
        evidence=Evidence(
            **{
                **evidence,
                "level": ThreatLevel(evidence["level"]),
                "analytic_type": AnalyticType(evidence["analytic_type"]),
                "techniques": tuple(Technique(**technique) for technique in evidence["techniques"]),
                "flow_ids": tuple(evidence["flow_ids"]),
                "contributions": tuple(Contribution(**one) for one in evidence.get("contributions", ())),
            }
        ),
        peers=tuple(body["peers"]),
        port=row.port,
        flow_ids=tuple(body["flow_ids"]),
        sensor_ids=tuple(body["sensor_ids"]),
        first_seen_ns=row.first_seen_ns,
        last_seen_ns=row.last_seen_ns,
        create_ns=row.create_ns,
        update_ns=row.update_ns,
        count=row.count,
        analyst_verdict=AnalystVerdict(row.analyst_verdict),
        comment=row.comment,
        updated_by=row.updated_by,
        revision=row.revision,
        suppressions=tuple(body["suppressions"]),
        change=row.change,
        # Rows of earlier versions have none of these.
        state_scope=body.get("state_scope", ""),
        flows=tuple(body.get("flows", ())),
        held_status=None if held is None else FindingStatus(held),
    )


def suppression(row: SuppressionRow) -> Suppression:
    """The suppression of a row."""
    return Suppression(
        tenant=row.tenant,
        id=row.id,
        detector=row.detector,
        entity_cidr=row.entity_cidr,
        peer_cidr=row.peer_cidr,
        port=row.port,
        expire_ns=row.expire_ns,
        reason=row.reason,
        created_by=row.created_by,
        create_ns=row.create_ns,
    )


def event_row(tenant: str, finding_id: str, entry: FindingEvent) -> EventRow:
    """The row of an entry of a finding's history."""
    return EventRow(
        tenant=tenant,
        finding_id=finding_id,
        change=entry.change,
        action=int(entry.action),
        time_ns=entry.time_ns,
        actor=entry.actor,
        status_before=int(entry.status_before),
        status_after=int(entry.status_after),
        verdict_before=int(entry.verdict_before),
        verdict_after=int(entry.verdict_after),
        comment=entry.comment,
        revision=entry.revision,
    )


def event(row: EventRow) -> FindingEvent:
    """The entry of a row."""
    return FindingEvent(
        change=row.change,
        time_ns=row.time_ns,
        action=FindingAction(row.action),
        actor=row.actor,
        status_before=FindingStatus(row.status_before),
        status_after=FindingStatus(row.status_after),
        verdict_before=AnalystVerdict(row.verdict_before),
        verdict_after=AnalystVerdict(row.verdict_after),
        comment=row.comment,
        revision=row.revision,
    )


def label_row(known: Label) -> LabelRow:
    """The row of a label."""
    body = {"techniques": [technique._asdict() for technique in known.techniques], "flows": known.flows}
    return LabelRow(
        tenant=known.tenant,
        finding_id=known.finding_id,
        change=known.change,
        verdict=int(known.verdict),
        detector=known.detector,
        labeled_by=known.labeled_by,
        label_ns=known.label_ns,
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
    )


def label(row: LabelRow) -> Label:
    """The label of a row."""
    body = json.loads(row.body)
    return Label(
        tenant=row.tenant,
        finding_id=row.finding_id,
        change=row.change,
        verdict=AnalystVerdict(row.verdict),
        detector=row.detector,
        techniques=tuple(Technique(**technique) for technique in body["techniques"]),
        labeled_by=row.labeled_by,
        label_ns=row.label_ns,
        flows=tuple(body["flows"]),
    )
