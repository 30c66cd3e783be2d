"""The only translation between the contract and the domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from securenet.scanner.v1 import scan_pb2, scanner_pb2, vulnerability_pb2
from securenet_core.exceptions import InvalidArgumentError
from securenet_core.pagination import decode_page_token, encode_page_token
from securenet_scanner.advisories.importing import ImportStep
from securenet_scanner.advisories.knowledge import Knowledge
from securenet_scanner.advisories.matching import Coverage, PackageMatch, Vulnerability
from securenet_scanner.cvss import Severity
from securenet_scanner.network.connecting import PortState
from securenet_scanner.network.ports import PortProfile
from securenet_scanner.network.scopes import Scope
from securenet_scanner.scans.scan import (
    Event,
    Exposure,
    Finding,
    Host,
    PortFacts,
    Progress,
    Scan,
    ScanSpec,
    ScanState,
    StateChange,
)
from securenet_scanner.scans.stores import Page

_BANNER_BYTES = 1 << 20
_INT64 = 1 << 63
_PROFILES = {
    PortProfile.TOP_100: scan_pb2.PORT_PROFILE_TOP_100,
    PortProfile.TOP_1000: scan_pb2.PORT_PROFILE_TOP_1000,
    PortProfile.ALL: scan_pb2.PORT_PROFILE_ALL,
}
_PROFILES_BACK = {number: profile for profile, number in _PROFILES.items()}
_STATES = {
    ScanState.PENDING: scan_pb2.SCAN_STATE_PENDING,
    ScanState.RUNNING: scan_pb2.SCAN_STATE_RUNNING,
    ScanState.SUCCEEDED: scan_pb2.SCAN_STATE_SUCCEEDED,
    ScanState.FAILED: scan_pb2.SCAN_STATE_FAILED,
    ScanState.CANCELLED: scan_pb2.SCAN_STATE_CANCELLED,
}
_STATES_BACK = {number: state for state, number in _STATES.items()}
_PORT_STATES = {
    PortState.OPEN: scan_pb2.PORT_STATE_OPEN,
    PortState.CLOSED: scan_pb2.PORT_STATE_CLOSED,
    PortState.FILTERED: scan_pb2.PORT_STATE_FILTERED,
}
_SEVERITIES = {
    Severity.UNKNOWN: vulnerability_pb2.SEVERITY_UNSPECIFIED,
    Severity.NONE: vulnerability_pb2.SEVERITY_NONE,
    Severity.LOW: vulnerability_pb2.SEVERITY_LOW,
    Severity.MEDIUM: vulnerability_pb2.SEVERITY_MEDIUM,
    Severity.HIGH: vulnerability_pb2.SEVERITY_HIGH,
    Severity.CRITICAL: vulnerability_pb2.SEVERITY_CRITICAL,
}
_COVERAGES = {
    Coverage.COVERED: vulnerability_pb2.COVERAGE_COVERED,
    Coverage.ECOSYSTEM_NOT_COVERED: vulnerability_pb2.COVERAGE_ECOSYSTEM_NOT_COVERED,
    Coverage.VERSION_NOT_COMPARABLE: vulnerability_pb2.COVERAGE_VERSION_NOT_COMPARABLE,
}


def identifier(name: str) -> str:
    """`scans/abc` or `scopes/abc` → `abc`; the contract's field rule has seen to the form."""
    return name.partition("/")[2]


def scan_spec(message: scan_pb2.ScanSpec) -> ScanSpec:
    """What to scan and how."""
    return ScanSpec(
        targets=tuple(message.targets),
        ports=message.ports,
        profile=_PROFILES_BACK.get(message.profile),
        probe_timeout=message.probe_timeout.ToNanoseconds() / 1e9 if message.HasField("probe_timeout") else None,
        max_rate=message.max_rate,
        retries=message.retries if message.HasField("retries") else None,
        skip_banners=message.skip_banners,
        description=message.description,
    )


def scan_state(number: int) -> ScanState | None:
    """A state to choose by; None for all."""
    return _STATES_BACK.get(number)  # type: ignore[call-overload,no-any-return]  # the enum is an int on the wire


def page(token: str, size: int, *query: int) -> Page:
    """The page that a token continues with; `query` is what else chooses the items."""
    position = decode_page_token(token, query, length=2)
    if position is None:
        return Page(size)
    micros, scan_id = position
    if not isinstance(micros, int) or not -_INT64 <= micros < _INT64 or not isinstance(scan_id, str):
        raise InvalidArgumentError.of("page_token", "not a token of this service; take next_page_token as it came")
    return Page(size, (micros, scan_id))


def scans_response(scans: Sequence[Scan], asked: Page, *query: int) -> scanner_pb2.ListScansResponse:
    """One page of scans."""
    last = scans[-1] if len(scans) == asked.size else None
    return scanner_pb2.ListScansResponse(
        scans=[scan_message(scan) for scan in scans],
        next_page_token=_token(last.create_time, last.id, query) if last else "",
    )


def scopes_response(scopes: Sequence[Scope], asked: Page) -> scanner_pb2.ListScopesResponse:
    """One page of scopes; the built-in one, which has no time of creation, is the last of all."""
    last = scopes[-1] if len(scopes) == asked.size else None
    return scanner_pb2.ListScopesResponse(
        scopes=[scope_message(item) for item in scopes],
        next_page_token=_token(last.create_time, last.id, ()) if last and last.create_time else "",
    )


def _token(created: datetime, item_id: str, query: Sequence[int]) -> str:
    micros = (created - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return encode_page_token((micros, item_id), query)


def scan_message(scan: Scan) -> scan_pb2.Scan:
    """A scan, with its hosts where they were read.

    A host that talks on every port could make the message larger than callers accept: banners share a budget, and those
    beyond it are left out here; WatchScan has them all.
    """
    spec = scan.spec
    budget = _BannerBudget(_BANNER_BYTES)
    return scan_pb2.Scan(
        name=scan.name,
        spec=scan_pb2.ScanSpec(
            targets=spec.targets,
            ports=spec.ports,
            profile=_PROFILES[spec.profile] if spec.profile else scan_pb2.PORT_PROFILE_UNSPECIFIED,
            probe_timeout=_duration(spec.probe_timeout),
            max_rate=spec.max_rate,
            retries=spec.retries,
            skip_banners=spec.skip_banners,
            description=spec.description,
        ),
        state=_STATES[scan.state],
        progress=progress_message(scan.progress),
        error=scan.error,
        created_by=scan.created_by,
        create_time=timestamp(scan.create_time),
        start_time=timestamp(scan.start_time),
        end_time=timestamp(scan.end_time),
        scopes=scan.scopes,
        hosts=[_host(scan, host, budget) for host in scan.hosts],
        knowledge_version=scan.knowledge_version,
    )


def progress_message(progress: Progress) -> scan_pb2.ScanProgress:
    """How far a scan is."""
    return scan_pb2.ScanProgress(
        probes_total=progress.probes_total,
        probes_done=progress.probes_done,
        ports_open=progress.ports_open,
        hosts_up=progress.hosts_up,
        remaining=_duration(progress.remaining),
    )


def watch_response(scan_name: str, event: Event) -> scanner_pb2.WatchScanResponse:
    """One thing that happened."""
    what = event.what
    response = scanner_pb2.WatchScanResponse(sequence=event.sequence)
    if isinstance(what, Progress):
        response.progress.CopyFrom(progress_message(what))
    elif isinstance(what, PortFacts):
        response.port.CopyFrom(scanner_pb2.PortFound(address=what.address, port=_port(what)))
    elif isinstance(what, Finding):
        response.finding.CopyFrom(_finding(scan_name, what))
    else:
        response.state_change.CopyFrom(_state_change(what))
    return response


def scope(message: scan_pb2.Scope) -> Scope:
    """A scope as a caller wants it; name, tenant and maker are the service's to fill."""
    return Scope(
        id="",
        tenant="",
        cidrs=tuple(message.cidrs),
        authorized_by=message.authorized_by,
        reason=message.reason,
        expire_time=_time("scope.expire_time", message.expire_time) if message.HasField("expire_time") else None,
        created_by="",
        create_time=None,
    )


def scope_message(value: Scope) -> scan_pb2.Scope:
    """A scope as stored."""
    return scan_pb2.Scope(
        name=value.name,
        cidrs=value.cidrs,
        authorized_by=value.authorized_by,
        reason=value.reason,
        expire_time=timestamp(value.expire_time),
        created_by=value.created_by,
        create_time=timestamp(value.create_time),
    )


def exposure_message(exposure: Exposure) -> scan_pb2.Exposure:
    """What is known of a host. Vulnerabilities of services are not matched yet, so none is claimed."""
    return scan_pb2.Exposure(
        address=exposure.address,
        ports=[_port(facts) for facts in exposure.ports],
        scan_time=timestamp(exposure.scan_time),
    )


def match_response(matches: Iterable[PackageMatch], knowledge: Knowledge) -> scanner_pb2.MatchPackagesResponse:
    """What is known of packages, and by which knowledge."""
    return scanner_pb2.MatchPackagesResponse(
        matches=[_match(match) for match in matches],
        knowledge_version=knowledge.version,
        knowledge_time=timestamp(knowledge.data_time),
    )


def knowledge_response(knowledge: Knowledge | None) -> scanner_pb2.GetKnowledgeResponse:
    """What the knowledge base holds, if anything."""
    return scanner_pb2.GetKnowledgeResponse(knowledge=None if knowledge is None else knowledge_message(knowledge))


def knowledge_message(knowledge: Knowledge) -> scanner_pb2.Knowledge:
    """What the knowledge base holds."""
    return scanner_pb2.Knowledge(
        version=knowledge.version,
        build_time=timestamp(knowledge.build_time),
        data_time=timestamp(knowledge.data_time),
        feeds=[
            scanner_pb2.KnowledgeFeed(
                name=feed.name,
                source=feed.source,
                data_time=timestamp(feed.data_time),
                records=feed.records,
                records_rejected=feed.rejected,
                digest=feed.digest,
            )
            for feed in knowledge.feeds
        ],
        covered_ecosystems=knowledge.covered,
        uncovered_ecosystems=knowledge.uncovered,
    )


def import_response(step: ImportStep) -> scanner_pb2.UpdateKnowledgeResponse:
    """How far an import is."""
    return scanner_pb2.UpdateKnowledgeResponse(
        feed=step.feed,
        records_read=step.records_read,
        bytes_read=step.bytes_read,
        bytes_total=step.bytes_total,
        records_rejected=step.rejected,
        rejections=step.rejections,
        knowledge=None if step.knowledge is None else knowledge_message(step.knowledge),
    )


def timestamp(when: datetime | None) -> Timestamp | None:
    """A time for the wire."""
    if when is None:
        return None
    message = Timestamp()
    message.FromDatetime(when)
    return message


def _time(field: str, message: Timestamp) -> datetime:
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidArgumentError.of(field, f"no time between the years 1 and 9999: {error}") from error


def _duration(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


class _BannerBudget:
    """Lets banners pass until so many bytes have passed."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, banner: str) -> str:
        if len(banner) > self._left:
            return ""
        self._left -= len(banner)
        return banner


def _host(scan: Scan, host: Host, budget: _BannerBudget) -> scan_pb2.Host:
    return scan_pb2.Host(
        address=host.address,
        host_name=host.host_name,
        ports=[_port(replace(facts, banner=budget.take(facts.banner))) for facts in host.ports],
        findings=[_finding(scan.name, finding) for finding in host.findings],
    )


def _port(facts: PortFacts) -> scan_pb2.Port:
    return scan_pb2.Port(
        port=facts.port,
        transport=scan_pb2.PORT_TRANSPORT_TCP,
        state=_PORT_STATES[facts.state],
        service=facts.service,
        product=facts.product,
        version=facts.version,
        cpe=facts.cpe,
        banner=facts.banner,
        tls=facts.tls,
        round_trip=_duration(facts.round_trip or None),
    )


def _finding(scan_name: str, finding: Finding) -> scan_pb2.ScanFinding:
    return scan_pb2.ScanFinding(
        name=f"{scan_name}/findings/{finding.id}",
        id=finding.id,
        address=finding.address,
        port=finding.port,
        severity=_SEVERITIES[finding.severity],
        title=finding.title,
        evidence=finding.evidence,
        remedy=finding.remedy,
        vulnerability=_vulnerability(finding.vulnerability) if finding.vulnerability else None,
        create_time=timestamp(finding.create_time),
    )


def _state_change(change: StateChange) -> scanner_pb2.ScanStateChange:
    return scanner_pb2.ScanStateChange(state=_STATES[change.state], error=change.error)


def _match(match: PackageMatch) -> vulnerability_pb2.PackageMatch:
    return vulnerability_pb2.PackageMatch(
        purl=match.purl,
        coverage=_COVERAGES[match.coverage],
        coverage_detail=match.detail,
        vulnerabilities=[_vulnerability(item) for item in match.vulnerabilities],
        upgrade_version=match.upgrade_version,
    )


def _vulnerability(item: Vulnerability) -> vulnerability_pb2.Vulnerability:
    return vulnerability_pb2.Vulnerability(
        id=item.id,
        aliases=item.aliases,
        summary=item.summary,
        severity=_SEVERITIES[item.severity],
        cvss_vector=item.vector,
        cvss_score=item.score,
        known_exploited=item.known_exploited,
        epss=item.epss,
        fixed_versions=item.fixed_versions,
        reason=item.reason,
        confidence=item.confidence,
        publish_time=_published(item.published),
        references=item.references,
    )


def _published(text: str) -> Timestamp | None:
    try:
        when = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return timestamp(when if when is None or when.tzinfo else when.replace(tzinfo=UTC))
