"""What callers may do with scans and scopes, over the real store on both databases and fakes for the network."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

import securenet_scanner
from securenet_core.exceptions import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
)
from securenet_core.principal import ALL_ROLES, Principal
from securenet_core.sqlalchemy_database import Database
from securenet_scanner.advisories.knowledge import Knowledge
from securenet_scanner.advisories.matching import Coverage, PackageMatch, Vulnerability
from securenet_scanner.convert import scan_message
from securenet_scanner.cvss import Severity
from securenet_scanner.network.banners import Banner
from securenet_scanner.network.connecting import PortState
from securenet_scanner.network.ports import PortProfile
from securenet_scanner.network.scopes import Scope
from securenet_scanner.scans.execution import RunnerLimits, Sources
from securenet_scanner.scans.exposing import ServiceAdvisor
from securenet_scanner.scans.running import ScanRunner
from securenet_scanner.scans.scan import Finding, PortFacts, Progress, Scan, ScanSpec, ScanState, StateChange
from securenet_scanner.scans.scanning import ScanLimits, Scans
from securenet_scanner.scans.scoping import Scopes, authority_of
from securenet_scanner.scans.sqlalchemy_models import AuditRow
from securenet_scanner.scans.sqlalchemy_scans import SqlalchemyScanStore
from securenet_scanner.scans.sqlalchemy_scopes import SqlalchemyScopeStore
from securenet_scanner.scans.stores import Found, Page

pytestmark = pytest.mark.integration

MIGRATIONS = Path(securenet_scanner.__file__).parent / "migrations"
ANNA = Principal("anna", "red", ALL_ROLES)
BERT = Principal("bert", "blue", ALL_ROLES)


class FakeBanners:
    """Says the same of every port; waits before where it is told to."""

    def __init__(self) -> None:
        self.data = b"+PONG\r\n"
        self.hold = asyncio.Event()
        self.hold.set()
        self.asked: list[int] = []

    async def read(self, address: str, port: int) -> Banner:
        self.asked.append(port)
        await self.hold.wait()
        return Banner(self.data, "redis", tls=False)


class FakePackages:
    """One advisory of Werkzeug; or no knowledge at all."""

    def __init__(self) -> None:
        self.there = True

    async def knowledge(self) -> Knowledge | None:
        return Knowledge("v7", datetime.now(UTC), None, (), ("PyPI",), ()) if self.there else None

    async def match(self, purls: Sequence[str]) -> tuple[list[PackageMatch], Knowledge]:
        knowledge = await self.knowledge()
        assert knowledge is not None
        assert purls == ["pkg:pypi/werkzeug@2.0.0"]
        found = Vulnerability(
            "PYSEC-1", ("CVE-1",), "too much", Severity.HIGH, "", 7.5, True, 0.5, ("2.0.3",), "why", 1.0,
            "2024-01-01T00:00:00Z", ("https://example.org/1",),
        )  # fmt: skip
        return [PackageMatch(purls[0], Coverage.COVERED, "", (found,), "2.0.3")], knowledge


@dataclass
class Desk:
    """The use-cases with their parts."""

    scans: Scans
    scopes: Scopes
    runner: ScanRunner
    store: SqlalchemyScanStore
    banners: FakeBanners
    packages: FakePackages
    database: Database


@asynccontextmanager
async def desk(url: str, *, limits: ScanLimits | None = None, running: int = 2) -> AsyncIterator[Desk]:
    async def resolver(name: str) -> Sequence[str]:
        return {"here.example": ["127.0.0.1"], "both.example": ["127.0.0.1", "10.9.9.9"]}[name]

    database = Database(url, MIGRATIONS)
    await database.open()
    store = SqlalchemyScanStore(database)
    scopes = Scopes(SqlalchemyScopeStore(database), loopback=True)

    async def authority(scan: Scan) -> str:
        return await authority_of(scopes, scan)

    banners = FakeBanners()
    packages = FakePackages()
    sources = Sources(banners, ServiceAdvisor(packages))
    runner = ScanRunner(store, sources, RunnerLimits(max_running=running), authority)
    await runner.open()
    try:
        yield Desk(
            Scans(store, scopes, runner, resolver, limits or ScanLimits()),
            scopes,
            runner,
            store,
            banners,
            packages,
            database,
        )
    finally:
        await runner.close()
        await database.close()


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        yield listener.getsockname()[1]


def spec(port: int, *targets: str) -> ScanSpec:
    return ScanSpec(targets=targets or ("127.0.0.1",), ports=str(port))


async def finished(desk: Desk, who: Principal, scan_id: str) -> Scan:
    async with asyncio.timeout(60):
        async for _ in desk.scans.watch(who, scan_id, 1):
            pass
    return await desk.scans.get(who, scan_id)


async def until(desk: Desk, scan_id: str, kind: type[StateChange | PortFacts]) -> None:
    """Wait until a scan runs, or has found its first port."""
    async with asyncio.timeout(60):
        async for event in desk.scans.watch(ANNA, scan_id, 2):
            if isinstance(event.what, kind):
                return


async def audit(desk: Desk) -> list[tuple[str, str, str]]:
    def work(session: object) -> list[tuple[str, str, str]]:
        rows = session.scalars(select(AuditRow).order_by(AuditRow.key))  # type: ignore[attr-defined]  # a Session
        return [(row.subject, row.action, row.authority) for row in rows]

    return await desk.database.run(work)


async def test_a_scan_from_its_start_to_its_findings(database_url: str, port: int) -> None:
    async with desk(database_url) as d:
        scan = await d.scans.start(ANNA, spec(port, "here.example"), "", validate_only=False)
        assert (scan.state, scan.scopes, scan.progress.probes_total) == (ScanState.PENDING, ("scopes/loopback",), 1)
        done = await finished(d, ANNA, scan.id)
        assert (done.state, done.progress.probes_done, done.progress.ports_open) == (ScanState.SUCCEEDED, 1, 1)
        (host,) = done.hosts
        assert (host.address, host.host_name) == ("127.0.0.1", "here.example")
        assert (host.ports[0].service, host.ports[0].banner) == ("redis", "+PONG\\r\\n")
        assert host.findings[0].title == "Redis answers commands without a password"
        # No package listens there, so nothing was matched.
        assert (host.findings[0].vulnerability, done.knowledge_version) == (None, "")
        exposure = await d.scans.exposure(ANNA, "::ffff:127.0.0.1")
        assert [facts.port for facts in exposure.ports] == [port]
        assert (await d.scans.exposure(BERT, "127.0.0.1")).scan_time is None
        assert ("anna", "scan.start", '["scopes/loopback (built in: a machine may look at itself)"]') in await audit(d)


@pytest.mark.parametrize("there", [True, False])
async def test_what_listens_is_matched_with_advisories(database_url: str, port: int, *, there: bool) -> None:
    async with desk(database_url) as d:
        d.packages.there = there
        d.banners.data = b"HTTP/1.1 200 OK\r\nServer: Werkzeug/2.0.0 Python/3.9.2\r\n\r\n"
        scan = await d.scans.start(ANNA, spec(port), "", validate_only=False)
        done = await finished(d, ANNA, scan.id)
        told = [e.what for e in [e async for e in d.scans.watch(ANNA, scan.id, 0)] if isinstance(e.what, Finding)]
        assert tuple(told) == done.hosts[0].findings
        assert done.knowledge_version == ("v7" if there else "")
        if there:
            (finding,) = told
            assert (finding.severity, finding.title) == (Severity.HIGH, "Werkzeug 2.0.0: PYSEC-1 too much")
            assert finding.remedy == "Upgrade to 2.0.3 or later."
            assert finding.vulnerability is not None
            assert (finding.vulnerability.aliases, finding.vulnerability.confidence) == (("CVE-1",), 0.7)
            message = scan_message(done)
            assert message.knowledge_version == "v7"
            assert message.hosts[0].findings[0].vulnerability.id == "PYSEC-1"
        else:
            assert told == []


async def test_events_are_numbered_and_a_watch_resumes(database_url: str, port: int) -> None:
    async with desk(database_url) as d:
        scan = await d.scans.start(ANNA, spec(port), "", validate_only=False)
        await finished(d, ANNA, scan.id)
        events = [e async for e in d.scans.watch(ANNA, scan.id, 0)]
        assert [e.sequence for e in events] == list(range(1, len(events) + 1))
        assert [type(e.what).__name__ for e in events] == [
            "StateChange", "StateChange", "PortFacts", "PortFacts", "Finding", "StateChange",
        ]  # fmt: skip
        assert events[-1].what == StateChange(ScanState.SUCCEEDED)
        assert [e.sequence async for e in d.scans.watch(ANNA, scan.id, 5)] == [5, 6]
        assert [e async for e in d.scans.watch(ANNA, scan.id, 99)] == []


async def test_the_same_request_is_the_same_scan(database_url: str, port: int) -> None:
    async with desk(database_url) as d:
        first = await d.scans.start(ANNA, spec(port), "key", validate_only=False)
        again = await d.scans.start(ANNA, spec(port), "key", validate_only=False)
        other = await d.scans.start(BERT, spec(port), "key", validate_only=False)
        assert first.id == again.id != other.id


async def test_validation_starts_nothing(database_url: str, port: int) -> None:
    async with desk(database_url) as d:
        scan = await d.scans.start(
            ANNA, ScanSpec(("127.0.0.0/24",), profile=PortProfile.TOP_100), "", validate_only=True
        )
        assert scan.progress.probes_total == 25_600
        assert await d.scans.page(ANNA, None, Page(10)) == []


@pytest.mark.parametrize("target", ["10.0.0.1", "both.example", "127.0.0.0/7", "::2", "::ffff:10.0.0.1"])
async def test_out_of_scope_no_packet_leaves_and_it_is_noted(database_url: str, port: int, target: str) -> None:
    async with desk(database_url) as d:
        with pytest.raises((PermissionDeniedError, InvalidArgumentError)) as caught:
            await d.scans.start(ANNA, spec(port, "127.0.0.1", target), "", validate_only=False)
        if isinstance(caught.value, PermissionDeniedError):
            assert caught.value.reason == "OUT_OF_SCOPE"
            assert [entry[1] for entry in await audit(d)] == ["scan.refused"]
        assert await d.scans.page(ANNA, None, Page(10)) == []
        assert d.banners.asked == []


async def test_wrong_specifications_name_the_field(database_url: str) -> None:
    async with desk(database_url, limits=ScanLimits(max_probes=1000)) as d:
        for wrong, field in (
            (ScanSpec(("127.0.0.1",), ports="0"), "spec.ports"),
            (ScanSpec(("127.0.0.1",), ports="1", profile=PortProfile.ALL), "spec.profile"),
            (ScanSpec(("nonsense!",), ports="1"), "spec.targets"),
            (ScanSpec(("127.0.0.0/24",), ports="1-100"), "spec"),
        ):
            with pytest.raises(InvalidArgumentError) as caught:
                await d.scans.start(ANNA, wrong, "", validate_only=False)
            assert [violation.field for violation in caught.value.fields] == [field]


async def test_tenants_do_not_see_each_other(database_url: str, port: int) -> None:
    async with desk(database_url) as d:
        scan = await d.scans.start(ANNA, spec(port), "", validate_only=False)
        with pytest.raises(NotFoundError):
            await d.scans.get(BERT, scan.id)
        with pytest.raises(NotFoundError):
            await d.scans.cancel(BERT, scan.id)
        with pytest.raises(NotFoundError):
            await anext(d.scans.watch(BERT, scan.id, 1))
        assert await d.scans.page(BERT, None, Page(10)) == []


async def test_the_queue_is_bounded_and_a_waiting_scan_can_be_cancelled(database_url: str, port: int) -> None:
    async with desk(database_url, limits=ScanLimits(max_pending=1), running=1) as d:
        d.banners.hold.clear()
        running = await d.scans.start(ANNA, spec(port), "", validate_only=False)
        await until(d, running.id, StateChange)
        waiting = await d.scans.start(ANNA, spec(port), "", validate_only=False)
        with pytest.raises(ResourceExhaustedError) as caught:
            await d.scans.start(ANNA, spec(port), "", validate_only=False)
        assert caught.value.retry_after is not None
        with pytest.raises(FailedPreconditionError):
            await d.scans.delete(ANNA, waiting.id)
        assert (await d.scans.cancel(ANNA, waiting.id)).state is ScanState.CANCELLED
        async with asyncio.timeout(10):
            assert (await d.scans.cancel(ANNA, running.id)).state is ScanState.CANCELLED
        assert (await d.scans.cancel(ANNA, running.id)).state is ScanState.CANCELLED
        await d.scans.delete(ANNA, waiting.id)
        with pytest.raises(NotFoundError):
            await d.scans.get(ANNA, waiting.id)


async def test_pages(database_url: str, port: int) -> None:
    async with desk(database_url) as d:
        ids = [(await d.scans.start(ANNA, spec(port), "", validate_only=False)).id for _ in range(5)]
        seen: list[str] = []
        after: tuple[int, str] | None = None
        while page := await d.scans.page(ANNA, None, Page(2, after)):
            seen += [scan.id for scan in page]
            micros = round(page[-1].create_time.timestamp() * 1_000_000)
            after = (micros, page[-1].id)
        assert seen == ids[::-1]
        for scan_id in ids:
            await finished(d, ANNA, scan_id)
        assert len(await d.scans.page(ANNA, ScanState.SUCCEEDED, Page(10))) == 5
        assert await d.scans.page(ANNA, ScanState.RUNNING, Page(10)) == []


async def test_a_scan_goes_on_after_the_process_ended(database_url: str, port: int) -> None:
    async with desk(database_url) as d:
        d.banners.hold.clear()
        scan = await d.scans.start(ANNA, spec(port), "", validate_only=False)
        await until(d, scan.id, PortFacts)
    async with desk(database_url) as d:
        done = await finished(d, ANNA, scan.id)
        assert done.state is ScanState.SUCCEEDED
        assert done.hosts[0].ports[0].service == "redis"
        assert done.progress.ports_open == 1
        assert d.banners.asked == [port]


async def test_a_port_that_was_shut_since_is_not_exposed(database_url: str) -> None:
    async with desk(database_url) as d:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(16)
            number = listener.getsockname()[1]
            await finished(d, ANNA, (await d.scans.start(ANNA, spec(number), "", validate_only=False)).id)
            assert len((await d.scans.exposure(ANNA, "127.0.0.1")).ports) == 1
        await finished(d, ANNA, (await d.scans.start(ANNA, spec(number), "", validate_only=False)).id)
        exposure = await d.scans.exposure(ANNA, "127.0.0.1")
        assert exposure.ports == ()
        assert exposure.scan_time is not None


def wanted(*cidrs: str, **changes: object) -> Scope:
    values: dict[str, object] = {
        "id": "", "tenant": "", "cidrs": cidrs, "authorized_by": "the boss", "reason": "inventory",
        "expire_time": datetime.now(UTC) + timedelta(days=1), "created_by": "", "create_time": None,
    }  # fmt: skip
    return Scope(**(values | changes))  # type: ignore[arg-type]  # a test may want it wrong


async def test_scopes_are_made_listed_used_and_ended(database_url: str, port: int) -> None:
    async with desk(database_url) as d:
        scope = await d.scopes.create(ANNA, wanted("10.20.0.0/16"), "key")
        assert (await d.scopes.create(ANNA, wanted("10.20.0.0/16"), "key")).id == scope.id
        assert [item.id for item in await d.scopes.page(ANNA, Page(10))] == [scope.id, "loopback"]
        assert [item.id for item in await d.scopes.page(BERT, Page(10))] == ["loopback"]
        allowed = await d.scans.start(ANNA, spec(port, "10.20.30.40"), "", validate_only=True)
        assert allowed.scopes == (scope.name,)
        with pytest.raises(PermissionDeniedError):
            await d.scans.start(BERT, spec(port, "10.20.30.40"), "", validate_only=True)
        with pytest.raises(NotFoundError):
            await d.scopes.delete(BERT, scope.id)
        await d.scopes.delete(ANNA, scope.id)
        with pytest.raises(PermissionDeniedError):
            await d.scans.start(ANNA, spec(port, "10.20.30.40"), "", validate_only=True)
        with pytest.raises(FailedPreconditionError):
            await d.scopes.delete(ANNA, "loopback")
        assert [entry[1] for entry in await audit(d)] == [
            "scope.create", "scan.refused", "scope.delete", "scan.refused",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "field"),
    [
        (wanted(), "scope.cidrs"),
        (wanted("10.0.0.0/8", "10.0.0.1/8"), "scope.cidrs[1]"),
        (wanted("10.0.0.0/8", authorized_by=" "), "scope.authorized_by"),
        (wanted("10.0.0.0/8", reason=""), "scope.reason"),
        (wanted("10.0.0.0/8", expire_time=None), "scope.expire_time"),
        (wanted("10.0.0.0/8", expire_time=datetime(2020, 1, 1, tzinfo=UTC)), "scope.expire_time"),
    ],
)
async def test_a_scope_says_all_that_it_must(database_url: str, scope: Scope, field: str) -> None:
    async with desk(database_url) as d:
        with pytest.raises(InvalidArgumentError) as caught:
            await d.scopes.create(ANNA, scope, "")
        assert [violation.field for violation in caught.value.fields] == [field]


async def test_scans_that_rest_on_an_ended_scope_end(database_url: str) -> None:
    async with desk(database_url, running=1) as d:
        scope = await d.scopes.create(ANNA, wanted("127.0.0.0/8"), "")
        slow = ScanSpec(("127.0.0.1",), ports="1-1000", max_rate=10)
        scan = await d.scans.start(ANNA, slow, "", validate_only=False)
        assert scan.scopes == (scope.name,)
        await d.scopes.delete(ANNA, scope.id)
        assert await d.scans.cancel_resting_on(ANNA, "scopes/loopback") == 0
        assert await d.scans.cancel_resting_on(ANNA, scope.name) == 1
        assert (await d.scans.get(ANNA, scan.id)).state is ScanState.CANCELLED


async def test_recording_twice_replaces_a_port_and_keeps_one_finding(database_url: str) -> None:
    async with desk(database_url) as d:
        d.banners.hold.clear()
        scan = await d.scans.start(ANNA, ScanSpec(("127.0.0.1",), ports="1-1000", max_rate=1), "", validate_only=False)
        facts = PortFacts("127.0.0.1", 7, PortState.OPEN)
        finding = Finding("f", "127.0.0.1", 7, Severity.LOW, "t", "e", "r", datetime.now(UTC))
        first = Found([facts], [finding], "v1")
        await d.store.record(scan.id, first, 5, Progress(1000, 5, 1, 1))
        later = Found([PortFacts("127.0.0.1", 7, PortState.OPEN, service="echo")], [finding])
        await d.store.record(scan.id, later, 6, Progress(1000, 6, 1, 1))
        stored = await d.store.get("red", scan.id)
        assert stored is not None
        assert [port.service for port in stored.hosts[0].ports] == ["echo"]
        assert stored.hosts[0].findings == (finding,)
        assert (stored.checkpoint, stored.knowledge_version) == (6, "v1")
