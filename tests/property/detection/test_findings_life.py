"""The life of findings, whatever happens in whatever order, against a plain model of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import create_engine

from securenet_detection.findings.finding import AnalystVerdict, Finding, FindingStatus, Suppression
from securenet_detection.findings.interface import FindingFilter
from securenet_detection.findings.sighting import Origin, Sighting, finding_id
from securenet_detection.findings.sqlalchemy_finding_store import SqlalchemyFindingStore
from securenet_detection.findings.sqlalchemy_tables import Base, CounterRow
from securenet_detection.threats import AnalyticType, Evidence, ThreatLevel

pytestmark = pytest.mark.unit

NEW, IN_PROGRESS, SUPPRESSED, RESOLVED = FindingStatus
ENTITIES: Final = ("10.0.0.1", "10.0.0.2", "10.1.0.1")
NETWORKS: Final = {"": ENTITIES, "10.0.0.0/24": ENTITIES[:2], "10.0.0.2": ENTITIES[1:2]}


@dataclass
class Known:
    """What the model knows of a finding: the status it would have without any suppression."""

    own: FindingStatus = NEW
    risk: float = 0.0
    count: int = 0
    verdict: AnalystVerdict = AnalystVerdict.UNSPECIFIED


@dataclass
class Model:
    findings: dict[str, Known] = field(default_factory=dict)
    #: By id: entities and end.
    suppressions: dict[str, tuple[tuple[str, ...], int]] = field(default_factory=dict)
    labels: dict[str, AnalystVerdict] = field(default_factory=dict)

    def holders(self, entity: str) -> set[str]:
        if self.findings[entity].own == RESOLVED:
            return set()
        return {name for name, (entities, _) in self.suppressions.items() if entity in entities}

    def status(self, entity: str) -> FindingStatus:
        return SUPPRESSED if self.holders(entity) else self.findings[entity].own


def identity(entity: str) -> str:
    return finding_id(Origin("t"), "horizontal-scan", entity, "remote", 445)


def sighting(entity: str, risk: float, count: int, now: int) -> Sighting:
    evidence = Evidence(
        identity(entity), "horizontal-scan", "1", AnalyticType.BEHAVIORAL, ThreatLevel.HIGH, risk, "", 1.0, 1.0, (), ()
    )
    return Sighting("t", evidence, entity, "remote", 445, ThreatLevel.LOW, risk, (), None, now, now, count)


class Life(RuleBasedStateMachine):
    """Sightings, edits, suppressions, their ends, restarts, deletion."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.url = f"sqlite:///{Path(self.folder.name) / 'life.sqlite'}"
        engine = create_engine(self.url)
        Base.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(CounterRow.__table__.insert(), [{"name": "change", "value": 0}])  # type: ignore[attr-defined]  # a table
        self.engine = engine
        self.store = SqlalchemyFindingStore(engine)
        self.model = Model()
        self.now = 1000
        self.watched = 0
        self.seen: dict[str, int] = {}

    def teardown(self) -> None:
        self.engine.dispose()
        self.folder.cleanup()

    @rule(
        seen=st.lists(
            st.tuples(st.sampled_from(ENTITIES), st.sampled_from([0.1, 0.5, 0.9]), st.integers(1, 9)),
            min_size=1, max_size=4,
        )
    )  # fmt: skip
    def record(self, seen: list[tuple[str, float, int]]) -> None:
        self.now += 1
        self.store.record([sighting(*one, self.now) for one in seen], self.now)
        for entity, risk, count in seen:
            known = self.model.findings.setdefault(entity, Known())
            known.own = NEW if known.own == RESOLVED else known.own
            known.risk, known.count = max(known.risk, risk), max(known.count, count)

    @rule(
        entity=st.sampled_from(ENTITIES),
        status=st.sampled_from([None, *FindingStatus]),
        verdict=st.sampled_from([None, *AnalystVerdict]),
    )
    def edit(self, entity: str, status: FindingStatus | None, verdict: AnalystVerdict | None) -> None:
        self.now += 1

        def change(finding: Finding) -> Finding:
            by_hand = status == SUPPRESSED and finding.suppressions
            return replace(
                finding,
                status=finding.status if status is None else status,
                held_status=SUPPRESSED if by_hand else finding.held_status,
                analyst_verdict=finding.analyst_verdict if verdict is None else verdict,
                revision=finding.revision + 1,
                updated_by="ann",
            )

        after = self.store.edit("t", identity(entity), change, self.now)
        known = self.model.findings.get(entity)
        assert (after is None) == (known is None)
        if known is None:
            return
        known.own = known.own if status is None else status
        if verdict is not None and verdict != known.verdict:
            known.verdict = verdict
            self.model.labels[entity] = verdict
            if verdict == AnalystVerdict.UNSPECIFIED:
                del self.model.labels[entity]

    @rule(name=st.sampled_from("abc"), network=st.sampled_from(sorted(NETWORKS)), lasting=st.integers(1, 12))
    def suppress(self, name: str, network: str, lasting: int) -> None:
        self.expire()
        wanted = Suppression("t", name, "", network, "", None, self.now + lasting, "why", "ann", self.now)
        previewed = self.store.matching(wanted, 10)[0]
        _, held = self.store.suppress(wanted, self.now)
        fresh = name not in self.model.suppressions
        self.model.suppressions.setdefault(name, (NETWORKS[network], self.now + lasting))
        assert held == sum(name in self.model.holders(entity) for entity in self.model.findings)
        if fresh:
            assert held == previewed

    @precondition(lambda self: self.model.suppressions)
    @rule(data=st.data())
    def unsuppress(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.suppressions)))
        before = {entity: self.model.status(entity) for entity in self.model.findings}
        self.now += 1
        # One that ended and was not swept yet holds nothing new, which the plain model does not follow.
        exact = all(end > self.now for _, end in self.model.suppressions.values())
        opened = self.store.unsuppress("t", name, self.now, "ann")
        del self.model.suppressions[name]
        after = {entity: self.model.status(entity) for entity in self.model.findings}
        if exact:
            assert opened == sum(before[entity] == SUPPRESSED != after[entity] for entity in before)

    @rule()
    def expire(self) -> None:
        self.now += 3
        self.store.expire(self.now)
        ended = [name for name, (_, end) in self.model.suppressions.items() if end <= self.now]
        for name in ended:
            del self.model.suppressions[name]

    @rule()
    def restart(self) -> None:
        self.engine.dispose()
        self.engine = create_engine(self.url)
        self.store = SqlalchemyFindingStore(self.engine)

    @rule(keep=st.integers(0, 3))
    def prune(self, keep: int) -> None:
        self.expire()
        worth = {RESOLVED: 0, SUPPRESSED: 1}
        found = {one.entity: one for one in self.listed()}
        order = sorted(found, key=lambda entity: (worth.get(found[entity].status, 2), found[entity].change))
        gone = order[: max(len(order) - keep, 0)]
        self.store.prune(0, keep, 100, 500)
        for entity in gone:
            del self.model.findings[entity]
            self.seen.pop(entity, None)
        unseen = any(found[entity].change > self.watched for entity in gone)
        assert self.store.changed_since("t", self.watched, 10).deleted == unseen
        if unseen:
            # As the watcher is told to: begin anew.
            self.watched, self.seen = self.store.latest_change(), {one.entity: one.change for one in self.listed()}

    @rule(limit=st.integers(1, 4))
    def watch(self, limit: int) -> None:
        changes = self.store.changed_since("t", self.watched, limit)
        assert not changes.deleted
        for found in changes.findings:
            assert found.change > self.watched
            assert self.seen.get(found.entity, 0) < found.change
            self.watched = self.seen[found.entity] = found.change

    def listed(self) -> list[Finding]:
        return self.store.page("t", FindingFilter(statuses=tuple(FindingStatus)), None, 100)

    @invariant()
    def agrees(self) -> None:
        found = {one.entity: one for one in self.listed()}
        assert set(found) == set(self.model.findings)
        live: Callable[[str], bool] = lambda name: self.model.suppressions[name][1] > self.now  # noqa: E731 - one use
        for entity, known in self.model.findings.items():
            one = found[entity]
            assert (one.risk, one.count, one.analyst_verdict) == (known.risk, known.count, known.verdict)
            if all(live(name) for name in self.model.suppressions):
                assert (one.status, set(one.suppressions)) == (self.model.status(entity), self.model.holders(entity))
        assert {one.finding_id: one.verdict for one in self.store.labels("t", 0, 0, 100)} == {
            identity(entity): verdict for entity, verdict in self.model.labels.items()
        }


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
