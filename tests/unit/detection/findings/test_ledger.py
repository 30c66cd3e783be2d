"""The ledger over SQLite and PostgreSQL: what is acknowledged is stored; lists, watches, edits, suppressions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import inspect

from securenet_core.exceptions import (
    AbortedError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    ResourceExhaustedError,
    UnavailableError,
)
from securenet_core.sqlalchemy_database import Database
from securenet_detection.findings.finding import AnalystVerdict, FindingStatus, Suppression
from securenet_detection.findings.interface import FindingFilter
from securenet_detection.findings.ledger import FindingEdit, Ledger, Retention
from securenet_detection.findings.sighting import Origin, Sighting, finding_id
from securenet_detection.findings.sqlalchemy_finding_store import MIGRATIONS, SqlalchemyFindingStore
from securenet_detection.findings.sqlalchemy_tables import Base
from securenet_detection.threats import AnalyticType, Evidence, Technique, ThreatLevel

pytestmark = pytest.mark.unit

NOW = 1_767_225_600 * 10**9


def sighting(
    entity: str = "10.0.0.5",
    *,
    tenant: str = "t",
    detector: str = "horizontal-scan",
    risk: float = 0.6,
    port: int = 445,
) -> Sighting:
    evidence = Evidence(
        finding_id(Origin(tenant), detector, entity, "remote", port), detector, "1", AnalyticType.BEHAVIORAL,
        ThreatLevel.HIGH, 0.9, "many hosts", 25.0, 25.0,
        (Technique("T1046", "Network Service Discovery", "Discovery"),), ("a",),
    )  # fmt: skip
    level = ThreatLevel.HIGH if risk >= 0.7 else ThreatLevel.MEDIUM
    return Sighting(tenant, evidence, entity, "remote", port, level, risk, ("192.0.2.1",), "s1", 100, 200, 25)


class BrokenOnce:
    """A store that fails its first write."""

    def __init__(self, store: SqlalchemyFindingStore) -> None:
        self._store = store
        self.broken = True
        self.commits = 0

    def record(self, sightings: Any, now_ns: Any) -> Any:
        self.commits += 1
        if self.broken:
            self.broken = False
            raise OSError("disk full")
        self._store.record(sightings, now_ns)

    def __getattr__(self, name: Any) -> Any:
        return getattr(self._store, name)


@pytest.fixture
async def database(database_url: str) -> Any:
    database = Database(database_url, MIGRATIONS)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def ledger(database: Any) -> Any:
    clock = iter(range(NOW, NOW + 10**9))
    ledger = Ledger(SqlalchemyFindingStore(database.engine), limit=1000, clock_ns=lambda: next(clock))
    yield ledger
    await ledger.close()


def names(found: Any) -> Any:
    return [finding.entity for finding in found]


async def test_migrations_make_the_tables_of_the_models(database: Any) -> None:
    inspector = inspect(database.engine)
    for table in Base.metadata.sorted_tables:
        columns = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name)}
        assert columns == {column.name: column.nullable for column in table.columns}
        indexes = {index["name"] for index in inspector.get_indexes(table.name)}
        assert indexes == {index.name for index in table.indexes}


async def test_recorded_is_stored_and_read_back_whole(ledger: Any) -> None:
    await ledger.record([sighting()])
    (found,) = await ledger.page("t", FindingFilter(), None, 10)
    assert found.evidence == sighting().evidence
    assert (found.peers, found.sensor_ids, found.port) == (("192.0.2.1",), ("s1",), 445)
    assert await ledger.get("t", found.id) == found


async def test_many_callers_share_commits(database: Any) -> None:
    store = BrokenOnce(SqlalchemyFindingStore(database.engine))
    store.broken = False
    ledger = Ledger(store, limit=1000)
    await asyncio.gather(*(ledger.record([sighting(f"10.0.0.{i}")]) for i in range(50)))
    assert store.commits < 10
    assert len(await ledger.page("t", FindingFilter(), None, 100)) == 50
    await ledger.close()


async def test_a_store_that_fails_is_said_so_and_nothing_is_forgotten(database: Any) -> None:
    ledger = Ledger(BrokenOnce(SqlalchemyFindingStore(database.engine)), limit=1000)
    with pytest.raises(UnavailableError):
        await ledger.record([sighting("10.0.0.1")])
    await ledger.record([sighting("10.0.0.2")])
    assert sorted(names(await ledger.page("t", FindingFilter(), None, 10))) == ["10.0.0.1", "10.0.0.2"]
    await ledger.close()


async def test_work_is_refused_while_too_much_waits(database: Any) -> None:
    ledger = Ledger(SqlalchemyFindingStore(database.engine), limit=1)
    ledger.check_room()
    waiting = asyncio.ensure_future(ledger.record([sighting()]))
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhaustedError):
        ledger.check_room()
    await waiting
    ledger.check_room()
    await ledger.close()


async def test_pages_come_latest_change_first_and_are_filtered(ledger: Any) -> None:
    for i in range(5):
        await ledger.record([sighting(f"10.0.0.{i}", risk=0.5 + i / 10)])
    await ledger.record([sighting("10.0.0.0")])
    first = await ledger.page("t", FindingFilter(), None, 2)
    assert names(first) == ["10.0.0.0", "10.0.0.4"]
    assert names(await ledger.page("t", FindingFilter(), first[-1].change, 9)) == ["10.0.0.3", "10.0.0.2", "10.0.0.1"]
    assert len(await ledger.page("t", FindingFilter(min_threat_level=3), None, 9)) == 3
    assert names(await ledger.page("t", FindingFilter(entity="10.0.0.2/31"), None, 9)) == ["10.0.0.3", "10.0.0.2"]
    assert await ledger.page("t", FindingFilter(detector="beacon"), None, 9) == []
    assert await ledger.page("t", FindingFilter(seen_after_ns=201), None, 9) == []
    with pytest.raises(InvalidArgumentError, match="entity"):
        await ledger.page("t", FindingFilter(entity="nonsense"), None, 9)


async def test_tenants_have_their_own(ledger: Any) -> None:
    await ledger.record([sighting(tenant="a"), sighting("10.9.9.9", tenant="b")])
    assert names(await ledger.page("a", FindingFilter(), None, 9)) == ["10.0.0.5"]
    other = (await ledger.page("b", FindingFilter(), None, 9))[0]
    with pytest.raises(NotFoundError):
        await ledger.get("a", other.id)


async def test_an_edit_checks_the_revision_and_keeps_the_label(ledger: Any) -> None:
    await ledger.record([sighting()])
    (found,) = await ledger.page("t", FindingFilter(), None, 1)
    edit = FindingEdit(FindingStatus.RESOLVED, AnalystVerdict.FALSE_POSITIVE, "ours", found.revision, "ann")
    after = await ledger.edit("t", found.id, edit)
    assert (after.status, after.analyst_verdict, after.updated_by) == (
        FindingStatus.RESOLVED, AnalystVerdict.FALSE_POSITIVE, "ann",
    )  # fmt: skip
    with pytest.raises(AbortedError, match="revision 2"):
        await ledger.edit("t", found.id, edit)
    await ledger.record([sighting()])
    again = await ledger.get("t", found.id)
    assert (again.status, again.analyst_verdict) == (FindingStatus.NEW, AnalystVerdict.FALSE_POSITIVE)


async def test_a_watch_resumes_where_it_left_off(ledger: Any) -> None:
    await ledger.record([sighting("10.0.0.1")])
    watch = ledger.watch("t", None, existing=True, min_threat_level=0)
    found, position = await anext(watch)
    assert found.entity == "10.0.0.1"
    await ledger.record([sighting("10.0.0.2"), sighting("10.0.0.3", risk=0.8)])
    assert (await anext(watch))[0].entity == "10.0.0.2"
    await watch.aclose()
    again = ledger.watch("t", position, existing=False, min_threat_level=3)
    assert (await anext(again))[0].entity == "10.0.0.3"
    await again.aclose()


async def test_a_watch_from_now_leaves_out_the_past(ledger: Any) -> None:
    await ledger.record([sighting("10.0.0.1")])
    watch = ledger.watch("t", None, existing=False, min_threat_level=0)
    waiting = asyncio.ensure_future(anext(watch))
    while not ledger._readers._work_queue.empty() or not waiting.done():
        await ledger.record([sighting("10.0.0.2")])
        await asyncio.sleep(0)
    assert waiting.result()[0].entity == "10.0.0.2"
    await watch.aclose()


def suppress(**changes: Any) -> Suppression:
    base = Suppression("t", "s1", "horizontal-scan", "10.0.0.0/24", "", None, NOW + 10**12, "ours", "ann", NOW)
    return replace(base, **changes)


async def test_a_suppression_applies_to_open_and_to_coming_findings(ledger: Any) -> None:
    await ledger.record([sighting("10.0.0.1"), sighting("10.0.1.1")])
    assert (await ledger.preview(suppress(), 10))[0] == 1
    stored, count = await ledger.suppress(suppress())
    assert (stored.id, count) == ("s1", 1)
    await ledger.record([sighting("10.0.0.2")])
    assert names(await ledger.page("t", FindingFilter(), None, 9)) == ["10.0.1.1"]
    held = await ledger.page("t", FindingFilter(statuses=(FindingStatus.SUPPRESSED,)), None, 9)
    assert sorted(names(held)) == ["10.0.0.1", "10.0.0.2"]
    assert await ledger.unsuppress("t", "s1") == 2
    assert len(await ledger.page("t", FindingFilter(), None, 9)) == 3
    with pytest.raises(NotFoundError):
        await ledger.unsuppress("t", "s1")


async def test_a_suppression_ends_by_itself(ledger: Any) -> None:
    await ledger.record([sighting("10.0.0.1")])
    await ledger.suppress(suppress(expire_ns=NOW + 20))
    found = []
    for _ in range(40):
        found = await ledger.page("t", FindingFilter(), None, 9)
    assert names(found) == ["10.0.0.1"]
    assert await ledger.suppressions("t", "", 9) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"entity_cidr": "x"}, "entity_cidr"),
        ({"peer_cidr": "1.2.3"}, "peer_cidr"),
        ({"reason": " "}, "reason"),
        ({"expire_ns": NOW - 1}, "expire_time"),
        ({"expire_ns": NOW + 10**18}, "expire_time"),
    ],
)
async def test_a_wrong_suppression_names_its_field(ledger: Any, changes: Any, field: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=field):
        await ledger.suppress(suppress(**changes))


async def test_a_repeated_suppression_is_the_same_one(ledger: Any) -> None:
    await ledger.suppress(suppress())
    stored, _ = await ledger.suppress(suppress(reason="again"))
    assert stored.reason == "ours"
    assert len(await ledger.suppressions("t", "", 9)) == 1


async def test_closing_writes_what_waits(database: Any) -> None:
    ledger = Ledger(SqlalchemyFindingStore(database.engine), limit=10)
    waiting = asyncio.ensure_future(ledger.record([sighting()]))
    await asyncio.sleep(0)
    await ledger.close()
    await waiting
    assert SqlalchemyFindingStore(database.engine).latest_change() == 1


def flow(flow_id: str) -> dict[str, str | int]:
    return {
        "start_time_ns": NOW, "src_ip": "10.0.0.5", "dst_ip": "192.0.2.1", "protocol": 6, "flow_id": flow_id,
    }  # fmt: skip


async def edit(ledger: Any, finding: Any, **changes: Any) -> Any:
    base = FindingEdit(None, None, None, 0, "ann")
    return await ledger.edit("t", finding.id, replace(base, **changes))


async def test_a_finding_has_a_history(ledger: Any) -> None:
    await ledger.record([sighting()])
    (found,) = await ledger.page("t", FindingFilter(), None, 1)
    await edit(ledger, found, status=FindingStatus.IN_PROGRESS, comment="looking")
    await edit(ledger, found, status=FindingStatus.RESOLVED, analyst_verdict=AnalystVerdict.BENIGN, by="bob")
    await ledger.record([sighting()])
    await ledger.suppress(suppress())
    await ledger.unsuppress("t", "s1", "eve")
    events = await ledger.events("t", found.id, None, 10)
    assert [
        (entry.action.name, entry.actor, entry.status_before.name, entry.status_after.name) for entry in events
    ] == [
        ("RELEASED", "eve", "SUPPRESSED", "NEW"),
        ("SUPPRESSED", "ann", "NEW", "SUPPRESSED"),
        ("REOPENED", "", "RESOLVED", "NEW"),
        ("UPDATED", "bob", "IN_PROGRESS", "RESOLVED"),
        ("UPDATED", "ann", "NEW", "IN_PROGRESS"),
    ]
    assert [entry.comment for entry in events] == ["looking"] * 5
    first = await ledger.events("t", found.id, None, 2)
    rest = await ledger.events("t", found.id, (first[-1].change, int(first[-1].action)), 10)
    assert [*first, *rest] == events
    with pytest.raises(NotFoundError):
        await ledger.events("other", found.id, None, 10)


async def test_a_history_is_bounded(ledger: Any) -> None:
    await ledger.record([sighting()])
    (found,) = await ledger.page("t", FindingFilter(), None, 1)
    for i in range(103):
        await edit(ledger, found, comment=str(i))
    events = await ledger.events("t", found.id, None, 1000)
    assert (len(events), events[0].comment, events[-1].comment) == (100, "102", "3")


async def test_a_verdict_is_a_label_that_outlives_its_finding(ledger: Any) -> None:
    await ledger.record([replace(sighting(), flows=(flow("C1"), flow("C2"))), sighting("10.0.0.6")])
    found = await ledger.get("t", sighting().evidence.id)
    assert [one["flow_id"] for one in found.flows] == ["C1", "C2"]
    await edit(ledger, found, analyst_verdict=AnalystVerdict.FALSE_POSITIVE)
    await edit(ledger, await ledger.get("t", sighting("10.0.0.6").evidence.id), analyst_verdict=AnalystVerdict.BENIGN)
    (first, second) = [label async for label in ledger.labels("t", 0)]
    assert (first.verdict, first.labeled_by, first.detector) == (
        AnalystVerdict.FALSE_POSITIVE,
        "ann",
        "horizontal-scan",
    )
    assert [one["flow_id"] for one in first.flows] == ["C1", "C2"]
    assert [label async for label in ledger.labels("t", first.label_ns + 1)] == [second]
    await edit(ledger, found, analyst_verdict=AnalystVerdict.UNSPECIFIED)
    assert [label async for label in ledger.labels("t", 0)] == [second]
    ledger._store.prune(NOW * 2, 10, 10, 10)
    assert await ledger.page("t", FindingFilter(), None, 9) == []
    assert [label async for label in ledger.labels("t", 0)] == [second]


async def test_what_was_being_looked_at_is_so_again_after_a_suppression(ledger: Any) -> None:
    await ledger.record([sighting()])
    (found,) = await ledger.page("t", FindingFilter(), None, 1)
    await edit(ledger, found, status=FindingStatus.IN_PROGRESS)
    await ledger.suppress(suppress())
    assert (await edit(ledger, found, comment="still")).status == FindingStatus.SUPPRESSED
    await ledger.unsuppress("t", "s1")
    assert (await ledger.get("t", found.id)).status == FindingStatus.IN_PROGRESS
    await edit(ledger, found, status=FindingStatus.SUPPRESSED)
    await ledger.suppress(suppress())
    await ledger.unsuppress("t", "s1")
    assert (await ledger.get("t", found.id)).status == FindingStatus.SUPPRESSED


async def test_what_is_resolved_is_neither_held_nor_counted(ledger: Any) -> None:
    await ledger.record([sighting()])
    (found,) = await ledger.page("t", FindingFilter(), None, 1)
    await edit(ledger, found, status=FindingStatus.RESOLVED)
    assert (await ledger.preview(suppress(), 9))[0] == 0
    assert (await ledger.suppress(suppress()))[1] == 0
    assert (await ledger.get("t", found.id)).status == FindingStatus.RESOLVED
    # Seen again it is new, and held.
    await ledger.record([sighting()])
    assert (await ledger.get("t", found.id)).status == FindingStatus.SUPPRESSED


async def test_risk_fades_in_lists_by_the_time_of_the_flows(database: Any) -> None:
    now = [NOW]
    ledger = Ledger(SqlalchemyFindingStore(database.engine), limit=10, half_life_seconds=3600, clock_ns=lambda: now[0])
    hour = 3600 * 10**9
    await ledger.record([replace(sighting(), first_seen_ns=NOW - 9 * hour, last_seen_ns=NOW - 8 * hour)])

    async def left() -> float:
        (found,) = await ledger.page("t", FindingFilter(), None, 9)
        assert found.risk == 0.6
        return float(found.fading)

    assert await left() == 1
    ledger.advance("t", NOW - 7 * hour)
    assert await left() == pytest.approx(0.5)
    ledger.advance("other", NOW)
    assert await left() == pytest.approx(0.5)
    ledger.advance("t", NOW)
    assert await left() == 0
    await ledger.close()
    # The time of the flows is kept over a restart.
    again = Ledger(SqlalchemyFindingStore(database.engine), limit=10, half_life_seconds=3600)
    assert (await again.page("t", FindingFilter(), None, 9))[0].fading == 0
    await again.close()


async def test_retention_deletes_what_is_old_and_what_is_too_much_the_resolved_first(database: Any) -> None:
    now = [NOW]
    day = 86_400 * 10**9
    ledger = Ledger(
        SqlalchemyFindingStore(database.engine), limit=100, retention=Retention(days=10, findings=3, labels=1),
        clock_ns=lambda: now[0],
    )  # fmt: skip
    await ledger.record([sighting("10.0.0.1")])
    now[0] += 9 * day
    await ledger.record([sighting(f"10.0.0.{i}") for i in range(2, 7)])
    await edit(
        ledger, await ledger.get("t", sighting("10.0.0.6").evidence.id),
        status=FindingStatus.RESOLVED, analyst_verdict=AnalystVerdict.BENIGN,
    )  # fmt: skip
    now[0] += 2 * day
    await ledger.sweep()
    # 10.0.0.1 was too old; of the five others the resolved one went although it changed last, then the oldest.
    assert names(await ledger.page("t", FindingFilter(), None, 9)) == ["10.0.0.5", "10.0.0.4", "10.0.0.3"]
    assert (ledger.counters.expired, ledger.counters.surplus, ledger.counters.labels) == (1, 2, 0)
    await ledger.close()


async def test_a_watch_that_missed_a_deletion_is_told(ledger: Any) -> None:
    await ledger.record([sighting("10.0.0.1")])
    watch = ledger.watch("t", None, existing=True, min_threat_level=0)
    _, position = await anext(watch)
    await watch.aclose()
    await ledger.record([sighting("10.0.0.2")])
    ledger._store.prune(NOW * 2, 10, 10, 10)
    with pytest.raises(OutOfRangeError, match="deleted by retention"):
        await anext(ledger.watch("t", position, existing=False, min_threat_level=0))
    with pytest.raises(InvalidArgumentError, match="resume_token"):
        await anext(ledger.watch("t", 10**9, existing=False, min_threat_level=0))


async def test_a_watch_reads_no_further_than_it_is_read(ledger: Any) -> None:
    await ledger.record([sighting(f"10.0.{i // 200}.{i % 200 + 1}") for i in range(500)])
    asked: list[int] = []
    changed_since = ledger._store.changed_since

    def counted(tenant: str, change: int, limit: int) -> Any:
        asked.append(limit)
        return changed_since(tenant, change, limit)

    ledger._store.changed_since = counted
    watch = ledger.watch("t", None, existing=True, min_threat_level=0)
    seen = [await anext(watch) for _ in range(3)]
    assert (asked, len(seen)) == ([200], 3)
    seen += [await anext(watch) for _ in range(497)]
    assert len({found.entity for found, _ in seen}) == 500
    await watch.aclose()


async def test_watchers_look_at_the_store_together(ledger: Any) -> None:
    looks: list[int] = []
    changed_since = ledger._store.changed_since

    def counted(tenant: str, change: int, limit: int) -> Any:
        looks.append(change)
        return changed_since(tenant, change, limit)

    ledger._store.changed_since = counted
    watches = [ledger.watch("t", None, existing=True, min_threat_level=0) for _ in range(20)]
    for number in (1, 2, 3):
        waiting = [asyncio.ensure_future(anext(watch)) for watch in watches]
        await ledger.record([sighting(f"10.0.0.{number}")])
        assert {found.entity for found, _ in await asyncio.gather(*waiting)} == {f"10.0.0.{number}"}
    # Each of them may look once before a change and once after it.
    assert len(looks) <= 12
    for watch in watches:
        await watch.aclose()


async def test_watchers_go_on_one_after_another_so_that_calls_get_their_turn(ledger: Any) -> None:
    turn = 0
    told: list[int] = []

    async def count() -> None:
        nonlocal turn
        while True:
            await asyncio.sleep(0)
            turn += 1

    async def watch() -> None:
        findings = ledger.watch("t", None, existing=True, min_threat_level=0)
        for _ in range(2):
            await anext(findings)
            told.append(turn)
        await findings.aclose()

    watching = [asyncio.create_task(watch()) for _ in range(20)]
    counting = asyncio.create_task(count())
    await ledger.record([sighting(), sighting("10.0.0.6")])
    await asyncio.gather(*watching)
    assert len(told) == 40
    assert max(map(told.count, told)) <= 2
    counting.cancel()


async def test_sweeping_ends_suppressions_and_tells_watchers(database: Any) -> None:
    now = [NOW]
    ledger = Ledger(SqlalchemyFindingStore(database.engine), limit=10, clock_ns=lambda: now[0])
    await ledger.record([sighting()])
    await ledger.suppress(suppress(expire_ns=NOW + 10))
    watch: Any = ledger.watch("t", None, existing=True, min_threat_level=0)
    assert (await anext(watch))[0].status == FindingStatus.SUPPRESSED
    now[0] += 20
    await ledger.sweep()
    assert (await anext(watch))[0].status == FindingStatus.NEW
    await watch.aclose()
    await ledger.close()


async def test_what_comes_again_waits_for_what_it_reported(database: Any) -> None:
    store = BrokenOnce(SqlalchemyFindingStore(database.engine))
    ledger = Ledger(store, limit=10)
    with pytest.raises(UnavailableError):
        await ledger.record([sighting()])
    assert not ledger.settled
    await ledger.record([])
    assert ledger.settled
    assert len(await ledger.page("t", FindingFilter(), None, 9)) == 1
    await ledger.close()
