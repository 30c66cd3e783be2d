"""Findings in a relational database: SQLite by default, PostgreSQL by the same models."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, Connection, Engine, select, tuple_, update
from sqlalchemy.orm import Session

from securenet_detection.findings import sqlalchemy_tables as tables
from securenet_detection.findings.finding import (
    Finding,
    FindingStatus,
    Suppression,
    hold_back,
    merge,
    network_range,
)
from securenet_detection.findings.history import (
    MAX_EVENTS,
    FindingAction,
    FindingEvent,
    Label,
    event,
    label,
    suppression_action,
)
from securenet_detection.findings.interface import Changes, FindingFilter
from securenet_detection.findings.sighting import Sighting
from securenet_detection.findings.sqlalchemy_retention import Retention
from securenet_detection.findings.sqlalchemy_tables import (
    CounterRow,
    EventRow,
    FindingRow,
    LabelRow,
    SuppressionRow,
    TenantRow,
)

MIGRATIONS: Final = Path(__file__).parent.parent / "migrations"

#: Findings read at a time where all of a tenant are looked at.
_PAGE: Final = 500


class SqlalchemyFindingStore(Retention):
    """A :class:`securenet_detection.findings.interface.FindingStore`.

    Every call that writes begins at the counter of changes, whose row puts writers in line: so changes become visible
    in the order of their numbers, and what is read before it is written cannot be stale.

    Args:
        engine: of a database with the latest migrations.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, sightings: Sequence[Sighting], now_ns: int) -> None:
        """Adds sightings to their findings, in order; durable when it returns."""
        with Session(self._engine) as session, session.begin():
            found: dict[tuple[str, str], Finding] = {}
            before: dict[tuple[str, str], Finding | None] = {}
            change = _next_changes(session.connection(), len(sightings))
            for sighting in sightings:
                key = (sighting.tenant, sighting.evidence.id)
                if key not in found:
                    row = session.get(FindingRow, key)
                    before[key] = None if row is None else tables.finding(row)
                change += 1
                found[key] = replace(merge(found.get(key, before[key]), sighting, now_ns), change=change)
            held = {tenant: self._held(session, tenant, now_ns) for tenant in {tenant for tenant, _ in found}}
            for key, finding in found.items():
                after = hold_back(finding, held[finding.tenant])
                session.merge(tables.finding_row(after))
                known = before[key]
                if known is not None and known.status == FindingStatus.RESOLVED:
                    _note(session, known, finding, FindingAction.REOPENED, "")
                _note_suppression(session, finding, after, "")
            self._advance(session, sightings)

    def _advance(self, session: Session, sightings: Sequence[Sighting]) -> None:
        newest: dict[str, int] = {}
        for sighting in sightings:
            if not sighting.state_scope:
                newest[sighting.tenant] = max(newest.get(sighting.tenant, sighting.last_seen_ns), sighting.last_seen_ns)
        for tenant, last_ns in newest.items():
            _advance(session, tenant, last_ns)

    def _held(self, session: Session, tenant: str, now_ns: int) -> list[Suppression]:
        standing = select(SuppressionRow).where(SuppressionRow.tenant == tenant, SuppressionRow.expire_ns > now_ns)
        return [tables.suppression(row) for row in session.scalars(standing)]

    def newest(self, tenant: str) -> int | None:
        """Latest start of a tenant's flows that was stored."""
        with Session(self._engine) as session:
            row = session.get(TenantRow, tenant)
            return None if row is None else row.newest_ns

    def advance(self, tenant: str, newest_ns: int) -> None:
        """Stores the latest start of a tenant's flows."""
        with Session(self._engine) as session, session.begin():
            _next_changes(session.connection(), 0)
            _advance(session, tenant, newest_ns)

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
            rows = session.scalars(query.order_by(FindingRow.change.desc()).limit(limit))
            return [tables.finding(row) for row in rows]

    def get(self, tenant: str, finding_id: str) -> Finding | None:
        """One finding."""
        with Session(self._engine) as session:
            row = session.get(FindingRow, (tenant, finding_id))
            return None if row is None else tables.finding(row)

    def edit(self, tenant: str, finding_id: str, change: Callable[[Finding], Finding], now_ns: int) -> Finding | None:
        """Replaces a finding by what `change` makes of it; None where there is none."""
        with Session(self._engine) as session, session.begin():
            number = _next_changes(session.connection(), 1) + 1
            row = session.get(FindingRow, (tenant, finding_id))
            if row is None:
                return None
            before = tables.finding(row)
            edited = replace(change(before), change=number, update_ns=now_ns)
            after = hold_back(edited, self._held(session, tenant, now_ns))
            session.merge(tables.finding_row(after))
            _note(session, before, after, FindingAction.UPDATED, after.updated_by)
            _note_suppression(session, edited, after, "")
            if after.analyst_verdict != before.analyst_verdict:
                _keep_label(session, after)
            return after

    def events(self, tenant: str, finding_id: str, before: tuple[int, int] | None, limit: int) -> list[FindingEvent]:
        """History of a finding, the latest first."""
        query = select(EventRow).where(EventRow.tenant == tenant, EventRow.finding_id == finding_id)
        if before is not None:
            query = query.where(tuple_(EventRow.change, EventRow.action) < before)
        query = query.order_by(EventRow.change.desc(), EventRow.action.desc()).limit(limit)
        with Session(self._engine) as session:
            return [tables.event(row) for row in session.scalars(query)]

    def labels(self, tenant: str, after_ns: int, after_change: int, limit: int) -> list[Label]:
        """Labels that were given at or after a time, in the order of their changes."""
        query = select(LabelRow).where(
            LabelRow.tenant == tenant, LabelRow.label_ns >= after_ns, LabelRow.change > after_change
        )
        with Session(self._engine) as session:
            return [tables.label(row) for row in session.scalars(query.order_by(LabelRow.change).limit(limit))]

    def changed_since(self, tenant: str, change: int, limit: int) -> Changes:
        """Findings with a later change, the earliest change first, and whether some were deleted."""
        query = select(FindingRow).where(FindingRow.tenant == tenant, FindingRow.change > change)
        with Session(self._engine) as session:
            found = [tables.finding(row) for row in session.scalars(query.order_by(FindingRow.change).limit(limit))]
            # Asked after the findings: what was deleted between the two questions shows.
            deleted = session.scalar(select(TenantRow.deleted_change).where(TenantRow.tenant == tenant)) or 0
            return Changes(found, deleted > change)

    def latest_change(self) -> int:
        """Number of the latest change of all, 0 before the first."""
        with Session(self._engine) as session:
            return session.scalar(select(CounterRow.value).where(CounterRow.name == "change")) or 0

    def identity(self) -> int:
        """A number of this database alone."""
        with Session(self._engine) as session:
            return session.scalar(select(CounterRow.value).where(CounterRow.name == "identity")) or 0

    def suppress(self, suppression: Suppression, now_ns: int) -> tuple[Suppression, int]:
        """Stores a suppression, unless one of its id exists, and holds back what it matches."""
        with Session(self._engine) as session, session.begin():
            _next_changes(session.connection(), 0)
            known = session.get(SuppressionRow, (suppression.tenant, suppression.id))
            if known is not None:
                suppression = tables.suppression(known)
            else:
                session.add(SuppressionRow(**asdict(suppression)))
            session.flush()
            return suppression, self._reconsider(session, suppression, now_ns, suppression.created_by)

    def _reconsider(self, session: Session, suppression: Suppression, now_ns: int, actor: str) -> int:
        """Applies all suppressions to the findings that one of them is about; answers how many it now holds."""
        standing = self._held(session, suppression.tenant, now_ns)
        held = 0
        for finding in self._candidates(session, suppression):
            after = hold_back(finding, standing)
            held += suppression.id in after.suppressions
            if (after.status, after.suppressions) != (finding.status, finding.suppressions):
                change = _next_changes(session.connection(), 1) + 1
                after = replace(after, change=change, update_ns=now_ns, revision=after.revision + 1)
                session.merge(tables.finding_row(after))
                _note_suppression(session, finding, after, actor)
        return held

    def _candidates(self, session: Session, suppression: Suppression) -> Iterator[Finding]:
        conditions: list[ColumnElement[bool]] = [FindingRow.tenant == suppression.tenant]
        if suppression.detector:
            conditions.append(FindingRow.detector == suppression.detector)
        if suppression.port is not None:
            conditions.append(FindingRow.port == suppression.port)
        if suppression.entity_cidr:
            conditions.append(FindingRow.entity_key.between(*network_range(suppression.entity_cidr)))
        last = ""
        while True:
            page = select(FindingRow).where(*conditions, FindingRow.id > last).order_by(FindingRow.id).limit(_PAGE)
            rows = session.scalars(page).all()
            yield from [tables.finding(row) for row in rows]
            if len(rows) < _PAGE:
                return
            last = rows[-1].id
            # What was changed is written, and the session lets go of the page.
            session.flush()
            session.expunge_all()

    def suppressions(self, tenant: str, after_id: str, limit: int) -> list[Suppression]:
        """Suppressions by id."""
        query = select(SuppressionRow).where(SuppressionRow.tenant == tenant, SuppressionRow.id > after_id)
        with Session(self._engine) as session:
            rows = session.scalars(query.order_by(SuppressionRow.id).limit(limit))
            return [tables.suppression(row) for row in rows]

    def unsuppress(self, tenant: str, suppression_id: str, now_ns: int, actor: str) -> int | None:
        """Deletes a suppression; answers how many findings are open again."""
        with Session(self._engine) as session, session.begin():
            _next_changes(session.connection(), 0)
            row = session.get(SuppressionRow, (tenant, suppression_id))
            return None if row is None else self._end(session, row, now_ns, actor)

    def _end(self, session: Session, row: SuppressionRow, now_ns: int, actor: str) -> int:
        suppression = tables.suppression(row)
        session.delete(row)
        session.flush()
        standing = self._held(session, suppression.tenant, now_ns)
        opened = 0
        for finding in self._candidates(session, suppression):
            after = hold_back(finding, standing)
            if after.suppressions == finding.suppressions:
                continue
            opened += finding.status == FindingStatus.SUPPRESSED != after.status
            change = _next_changes(session.connection(), 1) + 1
            after = replace(after, change=change, update_ns=now_ns, revision=after.revision + 1)
            session.merge(tables.finding_row(after))
            _note_suppression(session, finding, after, actor)
        return opened

    def expire(self, now_ns: int) -> int:
        """Deletes suppressions that ended; answers how many."""
        ended = select(SuppressionRow).where(SuppressionRow.expire_ns <= now_ns)
        with Session(self._engine) as session, session.begin():
            if session.scalar(ended.limit(1)) is None:
                return 0
            _next_changes(session.connection(), 0)
            rows = [tables.suppression(row) for row in session.scalars(ended)]
            for suppression in rows:
                row = session.get(SuppressionRow, (suppression.tenant, suppression.id))
                if row is not None:
                    self._end(session, row, now_ns, "")
            return len(rows)

    def matching(self, suppression: Suppression, limit: int) -> tuple[int, list[Finding]]:
        """How many findings a suppression would hold, and the gravest of them."""
        count = 0

        def held() -> Iterator[Finding]:
            nonlocal count
            for finding in self._candidates(session, suppression):
                if suppression.holds(finding):
                    count += 1
                    yield finding

        with Session(self._engine) as session:
            found = heapq.nsmallest(limit, held(), key=lambda finding: (-finding.risk, finding.id))
        return count, found


def _next_changes(connection: Connection, count: int) -> int:
    """Reserves `count` numbers and returns the one before the first. The row lock puts writers in line."""
    value = connection.scalar(
        update(CounterRow).where(CounterRow.name == "change").values(value=CounterRow.value + count)
        .returning(CounterRow.value)
    )  # fmt: skip
    return int(value or 0) - count


def _advance(session: Session, tenant: str, newest_ns: int) -> None:
    row = session.get(TenantRow, tenant)
    if row is None:
        session.add(TenantRow(tenant=tenant, newest_ns=newest_ns, deleted_change=0))
    else:
        row.newest_ns = newest_ns if row.newest_ns is None else max(row.newest_ns, newest_ns)


def _note(session: Session, before: Finding, after: Finding, action: FindingAction, actor: str) -> None:
    session.add(tables.event_row(after.tenant, after.id, event(before, after, action, actor)))
    session.flush()
    of_finding = (EventRow.tenant == after.tenant, EventRow.finding_id == after.id)
    oldest = select(EventRow).where(*of_finding).order_by(EventRow.change.desc(), EventRow.action.desc())
    for row in session.scalars(oldest.offset(MAX_EVENTS)):
        session.delete(row)


def _note_suppression(session: Session, before: Finding, after: Finding, actor: str) -> None:
    action = suppression_action(before, after)
    if action is not None:
        _note(session, before, after, action, actor)


def _keep_label(session: Session, finding: Finding) -> None:
    known = label(finding)
    if known is not None:
        session.merge(tables.label_row(known))
        return
    row = session.get(LabelRow, (finding.tenant, finding.id))
    if row is not None:
        session.delete(row)
