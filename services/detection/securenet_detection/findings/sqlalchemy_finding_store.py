"""Findings in a relational database: SQLite by default, PostgreSQL by the same models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    select,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from securenet_detection.findings.finding import (
    AnalystVerdict,
    Finding,
    FindingStatus,
    Suppression,
    address_key,
    hold_back,
    merge,
    network_range,
)
from securenet_detection.findings.interface import FindingFilter
from securenet_detection.findings.sighting import Sighting
from securenet_detection.threats import AnalyticType, Evidence, Technique, ThreatLevel

MIGRATIONS: Final = Path(__file__).parent.parent / "migrations"

#: Findings read at a time where all of a tenant are looked at.
_PAGE: Final = 500


class Base(DeclarativeBase):
    """Tables of the detection service."""


class FindingRow(Base):
    """One finding; what is never searched for stands in `body` as JSON."""

    __tablename__ = "findings"
    __table_args__ = (
        Index("findings_by_change", "tenant", "change", unique=True),
        Index("findings_by_entity", "tenant", "entity_key"),
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


class SqlalchemyFindingStore:
    """A :class:`securenet_detection.findings.interface.FindingStore`.

    Args:
        engine: of a database with the latest migrations.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, sightings: Sequence[Sighting], now_ns: int) -> None:
        """Adds sightings to their findings, in order; durable when it returns."""
        with Session(self._engine) as session, session.begin():
            found: dict[tuple[str, str], Finding] = {}
            change = _next_changes(session.connection(), len(sightings))
            for sighting in sightings:
                key = (sighting.tenant, sighting.evidence.id)
                if key not in found:
                    row = session.get(FindingRow, key)
                    known = None if row is None else _finding(row)
                else:
                    known = found[key]
                change += 1
                found[key] = replace(merge(known, sighting, now_ns), change=change)
            held = {tenant: self._held(session, tenant) for tenant in {tenant for tenant, _ in found}}
            for finding in found.values():
                session.merge(_row(hold_back(finding, held[finding.tenant])))

    def _held(self, session: Session, tenant: str) -> list[Suppression]:
        rows = session.scalars(select(SuppressionRow).where(SuppressionRow.tenant == tenant))
        return [_suppression(row) for row in rows]

    def page(self, tenant: str, wanted: FindingFilter, before_change: int | None, limit: int) -> list[Finding]:
        """Findings in descending order of their latest change."""
        query = select(FindingRow).where(FindingRow.tenant == tenant)
        if wanted.statuses:
            query = query.where(FindingRow.status.in_([int(status) for status in wanted.statuses]))
        else:
            query = query.where(FindingRow.status != int(FindingStatus.SUPPRESSED))
        query = query.where(FindingRow.threat_level >= wanted.min_threat_level)
        if wanted.detector:
            query = query.where(FindingRow.detector == wanted.detector)
        if wanted.entity:
            query = query.where(FindingRow.entity_key.between(*network_range(wanted.entity)))
        if wanted.seen_after_ns is not None:
            query = query.where(FindingRow.last_seen_ns >= wanted.seen_after_ns)
        if before_change is not None:
            query = query.where(FindingRow.change < before_change)
        with Session(self._engine) as session:
            return [_finding(row) for row in session.scalars(query.order_by(FindingRow.change.desc()).limit(limit))]

    def get(self, tenant: str, finding_id: str) -> Finding | None:
        """One finding."""
        with Session(self._engine) as session:
            row = session.get(FindingRow, (tenant, finding_id))
            return None if row is None else _finding(row)

    def edit(self, tenant: str, finding_id: str, change: Callable[[Finding], Finding]) -> Finding | None:
        """Replaces a finding by what `change` makes of it; None where there is none."""
        with Session(self._engine) as session, session.begin():
            number = _next_changes(session.connection(), 1) + 1
            row = session.get(FindingRow, (tenant, finding_id))
            if row is None:
                return None
            finding = replace(change(_finding(row)), change=number)
            session.merge(_row(finding))
            return finding

    def changed_since(self, tenant: str, change: int, limit: int) -> list[Finding]:
        """Findings with a later change, the earliest change first."""
        query = select(FindingRow).where(FindingRow.tenant == tenant, FindingRow.change > change)
        with Session(self._engine) as session:
            return [_finding(row) for row in session.scalars(query.order_by(FindingRow.change).limit(limit))]

    def latest_change(self) -> int:
        """Number of the latest change of all, 0 before the first."""
        with Session(self._engine) as session:
            row = session.get(CounterRow, "change")
            return 0 if row is None else row.value

    def suppress(self, suppression: Suppression, now_ns: int) -> tuple[Suppression, int]:
        """Stores a suppression, unless one of its id exists, and holds back what it matches."""
        with Session(self._engine) as session, session.begin():
            known = session.get(SuppressionRow, (suppression.tenant, suppression.id))
            if known is not None:
                suppression = _suppression(known)
            else:
                session.add(SuppressionRow(**asdict(suppression)))
            session.flush()
            return suppression, self._reconsider(session, suppression, now_ns)

    def _reconsider(self, session: Session, suppression: Suppression, now_ns: int) -> int:
        """Applies all suppressions to the findings that one of them is about; answers how many it now matches."""
        held = self._held(session, suppression.tenant)
        matched = 0
        for finding in list(self._candidates(session, suppression)):
            matched += suppression.matches(finding)
            after = hold_back(finding, held)
            if (after.status, after.suppressions) != (finding.status, finding.suppressions):
                change = _next_changes(session.connection(), 1) + 1
                session.merge(_row(replace(after, change=change, update_ns=now_ns, revision=after.revision + 1)))
        return matched

    def _candidates(self, session: Session, suppression: Suppression) -> Iterable[Finding]:
        conditions: list[ColumnElement[bool]] = [FindingRow.tenant == suppression.tenant]
        if suppression.detector:
            conditions.append(FindingRow.detector == suppression.detector)
        if suppression.port is not None:
            conditions.append(FindingRow.port == suppression.port)
        if suppression.entity_cidr:
            conditions.append(FindingRow.entity_key.between(*network_range(suppression.entity_cidr)))
        for row in session.scalars(select(FindingRow).where(*conditions).execution_options(yield_per=_PAGE)):
            yield _finding(row)

    def suppressions(self, tenant: str, after_id: str, limit: int) -> list[Suppression]:
        """Suppressions by id."""
        query = select(SuppressionRow).where(SuppressionRow.tenant == tenant, SuppressionRow.id > after_id)
        with Session(self._engine) as session:
            return [_suppression(row) for row in session.scalars(query.order_by(SuppressionRow.id).limit(limit))]

    def unsuppress(self, tenant: str, suppression_id: str, now_ns: int) -> int | None:
        """Deletes a suppression; answers how many findings are open again."""
        with Session(self._engine) as session, session.begin():
            row = session.get(SuppressionRow, (tenant, suppression_id))
            return None if row is None else self._end(session, row, now_ns)

    def _end(self, session: Session, row: SuppressionRow, now_ns: int) -> int:
        suppression = _suppression(row)
        before = [f.id for f in self._candidates(session, suppression) if f.status == FindingStatus.SUPPRESSED]
        session.delete(row)
        session.flush()
        self._reconsider(session, suppression, now_ns)
        session.flush()
        opened = (session.get(FindingRow, (suppression.tenant, finding_id)) for finding_id in before)
        return sum(found is not None and found.status != FindingStatus.SUPPRESSED for found in opened)

    def expire(self, now_ns: int) -> int:
        """Deletes suppressions that ended; answers how many."""
        with Session(self._engine) as session, session.begin():
            ended = session.scalars(select(SuppressionRow).where(SuppressionRow.expire_ns <= now_ns)).all()
            for row in ended:
                self._end(session, row, now_ns)
            return len(ended)

    def matching(self, suppression: Suppression, limit: int) -> tuple[int, list[Finding]]:
        """How many findings a suppression matches, and the gravest of them."""
        with Session(self._engine) as session:
            found = [finding for finding in self._candidates(session, suppression) if suppression.matches(finding)]
        return len(found), sorted(found, key=lambda finding: (-finding.risk, finding.id))[:limit]


def _next_changes(connection: Connection, count: int) -> int:
    """Reserves `count` numbers and returns the one before the first. The row lock puts writers in line."""
    value = connection.scalar(
        update(CounterRow).where(CounterRow.name == "change").values(value=CounterRow.value + count)
        .returning(CounterRow.value)
    )  # fmt: skip
    return int(value or 0) - count


def _row(finding: Finding) -> FindingRow:
    body = {
        "evidence": asdict(finding.evidence),
        "peers": finding.peers,
        "flow_ids": finding.flow_ids,
        "sensor_ids": finding.sensor_ids,
        "suppressions": finding.suppressions,
        "state_scope": finding.state_scope,
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


def _finding(row: FindingRow) -> Finding:
    body = json.loads(row.body)
    evidence = body["evidence"]
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
        # Rows of before there were scopes have none.
        state_scope=body.get("state_scope", ""),
    )


def _suppression(row: SuppressionRow) -> Suppression:
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
