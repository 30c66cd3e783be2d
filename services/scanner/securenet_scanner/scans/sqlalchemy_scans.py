"""Keeps scans in the service's database."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from securenet_core.sqlalchemy_database import Database
from securenet_scanner.network.connecting import PortState
from securenet_scanner.scans.scan import (
    AuditEntry,
    Event,
    Exposure,
    Plan,
    PortFacts,
    Progress,
    Scan,
    ScanState,
    StateChange,
)
from securenet_scanner.scans.sqlalchemy_models import EventRow, FindingRow, PortRow, ScanRow
from securenet_scanner.scans.sqlalchemy_rows import (
    EVENT_READERS,
    audit_row,
    finding_columns,
    hosts_of,
    port_columns,
    port_of,
    scan_of,
    scan_row,
    set_progress,
    state_payload,
    to_micros,
)
from securenet_scanner.scans.stores import Found, Page, QueueFullError, StateChangeAt

_EXPOSURE_SCANS = 50
"""Scans looked through for a host's exposure, the latest first."""
_OPEN_ENDED = (ScanState.PENDING.value, ScanState.RUNNING.value)


class SqlalchemyScanStore:
    """`ScanStore` on the service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, scan: Scan, request_id: str, audit: AuditEntry, max_pending: int) -> tuple[Scan, bool]:
        """Keep a new scan."""

        def work(session: Session) -> tuple[Scan, bool]:
            if request_id:
                known = session.scalar(
                    select(ScanRow).where(ScanRow.tenant == scan.tenant, ScanRow.request_id == request_id)
                )
                if known is not None:
                    return scan_of(known), False
            pending = ScanRow.state == ScanState.PENDING.value
            waiting = session.scalar(select(func.count()).select_from(ScanRow).where(pending)) or 0
            if waiting >= max_pending:
                raise QueueFullError(waiting)
            row = scan_row(scan, request_id)
            session.add_all([row, audit_row(audit)])
            session.flush()
            _append(session, row, [("state", state_payload(StateChange(scan.state)))])
            return scan, True

        try:
            return await self._database.run(work)
        except IntegrityError:
            # Another replica stored the same request in between; now it is there to be read.
            return await self._database.run(work)

    async def get(self, tenant: str, scan_id: str) -> Scan | None:
        """A scan with its hosts."""

        def work(session: Session) -> Scan | None:
            row = _row(session, tenant, scan_id)
            if row is None:
                return None
            scan = scan_of(row)
            return replace(scan, hosts=hosts_of(session, scan))

        return await self._database.run(work)

    async def head(self, tenant: str, scan_id: str) -> Scan | None:
        """A scan without its hosts."""

        def work(session: Session) -> Scan | None:
            row = _row(session, tenant, scan_id)
            return None if row is None else scan_of(row)

        return await self._database.run(work)

    async def page(self, tenant: str, state: ScanState | None, page: Page) -> list[Scan]:
        """One page, the latest first."""
        query = select(ScanRow).where(ScanRow.tenant == tenant)
        if state is not None:
            query = query.where(ScanRow.state == state.value)
        if page.after is not None:
            query = query.where(tuple_(ScanRow.create_time, ScanRow.id) < page.after)
        query = query.order_by(ScanRow.create_time.desc(), ScanRow.id.desc()).limit(page.size)
        return await self._database.run(lambda session: [scan_of(row) for row in session.scalars(query)])

    async def unfinished(self, tenant: str | None = None) -> list[Scan]:
        """Pending and running scans, the oldest first."""
        query = select(ScanRow).where(ScanRow.state.in_(_OPEN_ENDED)).order_by(ScanRow.create_time, ScanRow.id)
        if tenant is not None:
            query = query.where(ScanRow.tenant == tenant)
        return await self._database.run(lambda session: [scan_of(row) for row in session.scalars(query)])

    async def delete(self, tenant: str, scan_id: str, audit: AuditEntry) -> None:
        """Remove a scan with all that hangs on it."""

        def work(session: Session) -> None:
            session.execute(delete(ScanRow).where(ScanRow.tenant == tenant, ScanRow.id == scan_id))
            session.add(audit_row(audit))

        await self._database.run(work)

    async def begin(self, scan_id: str, at: datetime) -> None:
        """It runs now."""

        def work(session: Session) -> None:
            row = session.get(ScanRow, scan_id, with_for_update=True)
            if row is not None and row.state == ScanState.PENDING.value:
                row.state = ScanState.RUNNING.value
                row.start_time = to_micros(at)
                _append(session, row, [("state", state_payload(StateChange(ScanState.RUNNING)))])

        await self._database.run(work)

    async def record(self, scan_id: str, found: Found, checkpoint: int, progress: Progress) -> None:
        """Keep what was found."""

        def work(session: Session) -> None:
            row = session.get(ScanRow, scan_id, with_for_update=True)
            if row is None:
                return
            events: list[tuple[str, str]] = []
            for facts in found.ports:
                session.merge(PortRow(scan_id=scan_id, tenant=row.tenant, **port_columns(facts)))
                if facts.state is PortState.OPEN:
                    events.append(("port", json.dumps(port_columns(facts))))
            for finding in found.findings:
                if session.get(FindingRow, (scan_id, finding.id)) is None:
                    session.add(FindingRow(scan_id=scan_id, **finding_columns(finding)))
                    events.append(("finding", json.dumps(finding_columns(finding))))
            _append(session, row, events)
            row.checkpoint = checkpoint
            row.knowledge_version = found.knowledge_version or row.knowledge_version
            set_progress(row, progress)

        await self._database.run(work)

    async def finish(self, scan_id: str, change: StateChangeAt, audit: AuditEntry | None = None) -> None:
        """It has ended."""

        def work(session: Session) -> None:
            row = session.get(ScanRow, scan_id, with_for_update=True)
            if audit is not None:
                session.add(audit_row(audit))
            if row is None or ScanState(row.state).ended:
                return
            row.state, row.error, row.end_time = change.state.value, change.error, to_micros(change.at)
            if change.progress is not None:
                set_progress(row, change.progress)
            _append(session, row, [("state", state_payload(StateChange(change.state, change.error)))])

        await self._database.run(work)

    async def opened(self, scan_id: str) -> list[PortFacts]:
        """The ports that were found open so far."""
        query = select(PortRow).where(PortRow.scan_id == scan_id, PortRow.state == PortState.OPEN.value)
        return await self._database.run(lambda session: [port_of(row) for row in session.scalars(query)])

    async def events(self, scan_id: str, from_sequence: int, limit: int) -> list[Event]:
        """Events from a sequence on."""
        query = (
            select(EventRow)
            .where(EventRow.scan_id == scan_id, EventRow.sequence >= from_sequence)
            .order_by(EventRow.sequence)
            .limit(limit)
        )
        return await self._database.run(
            lambda session: [
                Event(row.sequence, EVENT_READERS[row.kind](row.payload)) for row in session.scalars(query)
            ]
        )

    async def exposure(self, tenant: str, address: str) -> Exposure:
        """What the latest scans of a host found on each port; a port that a later scan found shut is not open."""
        query = (
            select(ScanRow)
            .where(ScanRow.tenant == tenant)
            .order_by(ScanRow.create_time.desc(), ScanRow.id.desc())
            .limit(_EXPOSURE_SCANS)
        )

        def work(session: Session) -> Exposure:
            asked: set[int] = set()
            opened: list[PortFacts] = []
            newest: datetime | None = None
            for row in session.scalars(query):
                scan = scan_of(row)
                if not _covers(scan.plan, address):
                    continue
                found = PortRow.scan_id == scan.id
                ports = [
                    port_of(port) for port in session.scalars(select(PortRow).where(found, PortRow.address == address))
                ]
                complete = scan.state is ScanState.SUCCEEDED
                if ports or complete:
                    newest = newest or scan.end_time or scan.create_time
                opened += [facts for facts in ports if facts.port not in asked and facts.state is PortState.OPEN]
                asked.update(scan.plan.ports if complete else (facts.port for facts in ports))
            return Exposure(address, tuple(sorted(opened, key=lambda facts: facts.port)), newest)

        return await self._database.run(work)

    async def audit(self, entry: AuditEntry) -> None:
        """Keep who did what."""
        await self._database.run(lambda session: session.add(audit_row(entry)))


def _covers(plan: Plan, address: str) -> bool:
    at = ipaddress.ip_address(address)
    return any(span.first.version == at.version and int(span.first) <= int(at) <= int(span.last) for span in plan.spans)


def _row(session: Session, tenant: str, scan_id: str) -> ScanRow | None:
    return session.scalar(select(ScanRow).where(ScanRow.tenant == tenant, ScanRow.id == scan_id))


def _append(session: Session, row: ScanRow, events: Sequence[tuple[str, str]]) -> None:
    for kind, payload in events:
        row.last_sequence += 1
        session.add(EventRow(scan_id=row.id, sequence=row.last_sequence, kind=kind, payload=payload))
