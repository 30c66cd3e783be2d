"""Scans, ports, findings and events as rows, and back."""

from __future__ import annotations

import ipaddress
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from securenet_scanner.advisories.matching import Vulnerability
from securenet_scanner.cvss import Severity
from securenet_scanner.network.connecting import PortState
from securenet_scanner.network.ports import PortProfile
from securenet_scanner.network.targets import Span
from securenet_scanner.scans.scan import (
    AuditEntry,
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
from securenet_scanner.scans.sqlalchemy_models import AuditRow, FindingRow, PortRow, ScanRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


def set_progress(row: ScanRow, progress: Progress) -> None:
    row.probes_done = progress.probes_done
    row.ports_open = progress.ports_open
    row.hosts_up = progress.hosts_up


def scan_row(scan: Scan, request_id: str) -> ScanRow:
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


def scan_of(row: ScanRow) -> Scan:
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
        knowledge_version=row.knowledge_version,
    )


def hosts_of(session: Session, scan: Scan) -> tuple[Host, ...]:
    ports: dict[str, list[PortFacts]] = {}
    findings: dict[str, list[Finding]] = {}
    for port in session.scalars(select(PortRow).where(PortRow.scan_id == scan.id).order_by(PortRow.port)):
        ports.setdefault(port.address, []).append(port_of(port))
    for finding in session.scalars(select(FindingRow).where(FindingRow.scan_id == scan.id)):
        findings.setdefault(finding.address, []).append(finding_of(finding))
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


def port_columns(facts: PortFacts) -> dict[str, object]:
    return asdict(facts) | {"state": facts.state.value}


def finding_columns(finding: Finding) -> dict[str, object]:
    behind = json.dumps(asdict(finding.vulnerability)) if finding.vulnerability else None
    return asdict(finding) | {
        "severity": int(finding.severity),
        "create_time": to_micros(finding.create_time),
        "vulnerability": behind,
    }


def port_of(row: PortRow) -> PortFacts:
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


def finding_of(row: FindingRow) -> Finding:
    return Finding(
        id=row.id,
        address=row.address,
        port=row.port,
        severity=Severity(row.severity),
        title=row.title,
        evidence=row.evidence,
        remedy=row.remedy,
        create_time=_EPOCH + timedelta(microseconds=row.create_time),
        vulnerability=_vulnerability(row.vulnerability),
    )


def _vulnerability(text: str | None) -> Vulnerability | None:
    if text is None:
        return None
    fields = json.loads(text)
    lists = {name: tuple(fields[name]) for name in ("aliases", "fixed_versions", "references")}
    return Vulnerability(**(fields | lists | {"severity": Severity(fields["severity"])}))


def state_payload(change: StateChange) -> str:
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
    # Events of an earlier release do not speak of vulnerabilities.
    behind = _vulnerability(columns.get("vulnerability"))
    changed = {"severity": Severity(columns["severity"]), "create_time": when, "vulnerability": behind}
    return Finding(**(columns | changed))


EVENT_READERS: dict[str, Callable[[str], PortFacts | Finding | StateChange]] = {
    "state": _read_state,
    "port": _read_port,
    "finding": _read_finding,
}
