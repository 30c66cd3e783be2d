"""Keeps scans in the service's database."""

from __future__ import annotations

import ipaddress
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from securenet_core.sqlalchemy_database import Database
from securenet_scanner.cvss import Severity
from securenet_scanner.network.connecting import PortState
from securenet_scanner.network.ports import PortProfile
from securenet_scanner.network.targets import Span
from securenet_scanner.scans.scan import (
    AuditEntry,
    Event,
    Exposure,
    Finding,
    Host,
    Plan,
    PortFacts,
    Progress,
    Scan,
    ScanSpec,
    ScanState,
    StateChange,
)
from securenet_scanner.scans.sqlalchemy_models import AuditRow, EventRow, FindingRow, PortRow, ScanRow
from securenet_scanner.scans.stores import Page, QueueFullError, StateChangeAt

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXPOSURE_SCANS = 50
"""Scans looked through for a host's exposure, the latest first."""
_OPEN_ENDED = (ScanState.PENDING.value, ScanState.RUNNING.value)


def to_micros(when: datetime) -> int:
    """Microseconds since 1970."""
    return (when - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int | None) -> datetime | None:
    """The time again."""
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)


def audit_row(entry: AuditEntry) -> AuditRow:
    """An audit entry as a row."""
    return AuditRow(
        time=to_micros(entry.time),
        tenant=entry.tenant,
        subject=entry.subject,
        action=entry.action,
        resource=entry.resource,
        authority=json.dumps(entry.authority),
        detail=entry.detail,
    )


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
                    return _scan(known), False
            pending = ScanRow.state == ScanState.PENDING.value
            waiting = session.scalar(select(func.count()).select_from(ScanRow).where(pending)) or 0
            if waiting >= max_pending:
                raise QueueFullError(waiting)
            row = _scan_row(scan, request_id)
            session.add_all([row, audit_row(audit)])
            session.flush()
            _append(session, row, [("state", _state_payload(StateChange(scan.state)))])
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
            scan = _scan(row)
            return replace(scan, hosts=_hosts(session, scan))

        return await self._database.run(work)

    async def head(self, tenant: str, scan_id: str) -> Scan | None:
        """A scan without its hosts."""

        def work(session: Session) -> Scan | None:
            row = _row(session, tenant, scan_id)
            return None if row is None else _scan(row)

        return await self._database.run(work)

    async def page(self, tenant: str, state: ScanState | None, page: Page) -> list[Scan]:
        """One page, the latest first."""
        query = select(ScanRow).where(ScanRow.tenant == tenant)
        if state is not None:
            query = query.where(ScanRow.state == state.value)
        if page.after is not None:
            query = query.where(tuple_(ScanRow.create_time, ScanRow.id) < page.after)
        query = query.order_by(ScanRow.create_time.desc(), ScanRow.id.desc()).limit(page.size)
        return await self._database.run(lambda session: [_scan(row) for row in session.scalars(query)])

    async def unfinished(self, tenant: str | None = None) -> list[Scan]:
        """Pending and running scans, the oldest first."""
        query = select(ScanRow).where(ScanRow.state.in_(_OPEN_ENDED)).order_by(ScanRow.create_time, ScanRow.id)
        if tenant is not None:
            query = query.where(ScanRow.tenant == tenant)
        return await self._database.run(lambda session: [_scan(row) for row in session.scalars(query)])

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
                _append(session, row, [("state", _state_payload(StateChange(ScanState.RUNNING)))])

        await self._database.run(work)

    async def record(
        self, scan_id: str, ports: Sequence[PortFacts], findings: Sequence[Finding], checkpoint: int, progress: Progress
    ) -> None:
        """Keep what was found."""

        def work(session: Session) -> None:
            row = session.get(ScanRow, scan_id, with_for_update=True)
            if row is None:
                return
            events: list[tuple[str, str]] = []
            for facts in ports:
                session.merge(PortRow(scan_id=scan_id, tenant=row.tenant, **_port_columns(facts)))
                if facts.state is PortState.OPEN:
                    events.append(("port", json.dumps(_port_columns(facts))))
            for finding in findings:
                if session.get(FindingRow, (scan_id, finding.id)) is None:
                    session.add(FindingRow(scan_id=scan_id, **_finding_columns(finding)))
                    events.append(("finding", json.dumps(_finding_columns(finding))))
            _append(session, row, events)
            row.checkpoint = checkpoint
            _set_progress(row, progress)

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
                _set_progress(row, change.progress)
            _append(session, row, [("state", _state_payload(StateChange(change.state, change.error)))])

        await self._database.run(work)

    async def opened(self, scan_id: str) -> list[PortFacts]:
        """The ports that were found open so far."""
        query = select(PortRow).where(PortRow.scan_id == scan_id, PortRow.state == PortState.OPEN.value)
        return await self._database.run(lambda session: [_port(row) for row in session.scalars(query)])

    async def events(self, scan_id: str, from_sequence: int, limit: int) -> list[Event]:
        """Events from a sequence on."""
        query = (
            select(EventRow)
            .where(EventRow.scan_id == scan_id, EventRow.sequence >= from_sequence)
            .order_by(EventRow.sequence)
            .limit(limit)
        )
        return await self._database.run(
            lambda session: [Event(row.sequence, _READERS[row.kind](row.payload)) for row in session.scalars(query)]
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
                scan = _scan(row)
                if not _covers(scan.plan, address):
                    continue
                found = PortRow.scan_id == scan.id
                ports = [
                    _port(port) for port in session.scalars(select(PortRow).where(found, PortRow.address == address))
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


def _set_progress(row: ScanRow, progress: Progress) -> None:
    row.probes_done = progress.probes_done
    row.ports_open = progress.ports_open
    row.hosts_up = progress.hosts_up


def _scan_row(scan: Scan, request_id: str) -> ScanRow:
    spec = asdict(scan.spec) | {"profile": scan.spec.profile.value if scan.spec.profile else None}
    ports = struct.pack(f">{len(scan.plan.ports)}H", *scan.plan.ports)
    return ScanRow(
        id=scan.id,
        tenant=scan.tenant,
        request_id=request_id or None,
        spec=json.dumps(spec),
        spans=json.dumps([[str(span.first), str(span.last), span.host_name] for span in scan.plan.spans]),
        ports=zlib.compress(ports),
        state=scan.state.value,
        error=scan.error,
        created_by=scan.created_by,
        create_time=to_micros(scan.create_time),
        scopes=json.dumps(scan.scopes),
        probes_total=scan.progress.probes_total,
        probes_done=0,
        ports_open=0,
        hosts_up=0,
        checkpoint=0,
        last_sequence=0,
    )


def _scan(row: ScanRow) -> Scan:
    spec = json.loads(row.spec)
    spec["targets"] = tuple(spec["targets"])
    spec["profile"] = PortProfile(spec["profile"]) if spec["profile"] else None
    packed = zlib.decompress(row.ports)
    spans = tuple(
        Span(ipaddress.ip_address(first), ipaddress.ip_address(last), name)
        for first, last, name in json.loads(row.spans)
    )
    return Scan(
        id=row.id,
        tenant=row.tenant,
        spec=ScanSpec(**spec),
        plan=Plan(spans, struct.unpack(f">{len(packed) // 2}H", packed)),
        state=ScanState(row.state),
        progress=Progress(row.probes_total, row.probes_done, row.ports_open, row.hosts_up),
        created_by=row.created_by,
        create_time=_EPOCH + timedelta(microseconds=row.create_time),
        scopes=tuple(json.loads(row.scopes)),
        start_time=from_micros(row.start_time),
        end_time=from_micros(row.end_time),
        error=row.error,
        checkpoint=row.checkpoint,
    )


def _hosts(session: Session, scan: Scan) -> tuple[Host, ...]:
    ports: dict[str, list[PortFacts]] = {}
    findings: dict[str, list[Finding]] = {}
    for port in session.scalars(select(PortRow).where(PortRow.scan_id == scan.id).order_by(PortRow.port)):
        ports.setdefault(port.address, []).append(_port(port))
    for finding in session.scalars(select(FindingRow).where(FindingRow.scan_id == scan.id)):
        findings.setdefault(finding.address, []).append(_finding(finding))
    names = {str(span.first): span.host_name for span in scan.plan.spans if span.host_name}
    return tuple(
        Host(
            address,
            names.get(address, ""),
            tuple(ports.get(address, ())),
            tuple(sorted(findings.get(address, ()), key=lambda item: (-item.severity, item.port, item.id))),
        )
        for address in sorted({*ports, *findings}, key=lambda text: (":" in text, int(ipaddress.ip_address(text))))
    )


def _port_columns(facts: PortFacts) -> dict[str, object]:
    return asdict(facts) | {"state": facts.state.value}


def _finding_columns(finding: Finding) -> dict[str, object]:
    return asdict(finding) | {"severity": int(finding.severity), "create_time": to_micros(finding.create_time)}


def _port(row: PortRow) -> PortFacts:
    return PortFacts(
        address=row.address,
        port=row.port,
        state=PortState(row.state),
        round_trip=row.round_trip,
        identified=row.identified,
        service=row.service,
        product=row.product,
        version=row.version,
        cpe=row.cpe,
        banner=row.banner,
        tls=row.tls,
    )


def _finding(row: FindingRow) -> Finding:
    return Finding(
        id=row.id,
        address=row.address,
        port=row.port,
        severity=Severity(row.severity),
        title=row.title,
        evidence=row.evidence,
        remedy=row.remedy,
        create_time=_EPOCH + timedelta(microseconds=row.create_time),
    )


def _state_payload(change: StateChange) -> str:
    return json.dumps([change.state.value, change.error])


def _read_state(payload: str) -> StateChange:
    state, error = json.loads(payload)
    return StateChange(ScanState(state), error)


def _read_port(payload: str) -> PortFacts:
    columns = json.loads(payload)
    return PortFacts(**(columns | {"state": PortState(columns["state"])}))


def _read_finding(payload: str) -> Finding:
    columns = json.loads(payload)
    when = _EPOCH + timedelta(microseconds=columns["create_time"])
    return Finding(**(columns | {"severity": Severity(columns["severity"]), "create_time": when}))


_READERS: dict[str, Callable[[str], PortFacts | Finding | StateChange]] = {
    "state": _read_state,
    "port": _read_port,
    "finding": _read_finding,
}
