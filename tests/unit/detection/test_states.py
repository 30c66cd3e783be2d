"""Named states: kept apart, held by streams, bounded, and let go."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_core.exceptions import ResourceExhaustedError
from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.states import FlowStates

pytestmark = pytest.mark.unit

SMALL = StateSettings(
    entities=64, members=64, contexts=64, tenants=2, tenant_scopes=2, scopes=3, scope_idle_seconds=60, hash_seed=1
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def states(clock: Clock) -> FlowStates:
    return FlowStates(DetectorSettings(state=SMALL), clock)


def sweep(count: int, start: int = 0) -> Any:
    return [
        {"src": "10.0.0.5", "dst": f"93.184.0.{i + 1}", "dst_port": 23, "state": "S0", "at": i}
        for i in range(start, start + count)
    ]


def test_scopes_see_neither_each_other_nor_the_tenant(settings: Any, batch: Any) -> None:
    engine = Engine(settings, ModelSlot())
    engine.analyze(batch(sweep(24)), scope="a")
    engine.analyze(batch(sweep(24)))
    assert not engine.analyze(batch(sweep(1, start=24)), scope="b").evidence(0)
    assert not engine.analyze(batch(sweep(1, start=24)), tenant="other", scope="a").evidence(0)
    assert engine.analyze(batch(sweep(1, start=24)), scope="a").evidence(0)
    assert engine.analyze(batch(sweep(1, start=24))).evidence(0)


def test_a_scope_judges_as_a_fresh_service_would(settings: Any, batch: Any) -> None:
    fresh, used = Engine(settings, ModelSlot()), Engine(settings, ModelSlot())
    used.analyze(batch(sweep(100)))
    used.analyze(batch(sweep(100)), scope="before")
    expected, found = fresh.analyze(batch(sweep(60))), used.analyze(batch(sweep(60)), scope="new")
    assert found.threat_level.tolist() == expected.threat_level.tolist()
    assert [row for row, _ in found.sightings] == [row for row, _ in expected.sightings]


def test_findings_of_a_scope_are_its_own(settings: Any, batch: Any) -> None:
    engine = Engine(settings, ModelSlot())
    reports = [engine.analyze(batch(sweep(30)), scope=scope).sightings for scope in ("", "a", "b")]
    ids = [{report.evidence.id for _, report in found} for found in reports]
    assert all(ids)
    assert len(set.union(*ids)) == sum(map(len, ids))
    assert [{report.state_scope for _, report in found} for found in reports] == [{""}, {"a"}, {"b"}]


def test_a_dry_run_makes_no_scope(settings: Any, batch: Any) -> None:
    engine = Engine(settings, ModelSlot())
    engine.analyze(batch(sweep(3)), scope="a", dry_run=True)
    assert engine.states.find("default", "a") is None


def test_a_scope_ends_with_its_last_holder(states: FlowStates) -> None:
    with states.lease("t") as one:
        one.hold("a")
        one.hold("a")
        state = states.take("t", "a")
        with states.lease("t") as other:
            other.hold("a")
            assert states.take("t", "a") is state
        assert states.find("t", "a") is state
    assert states.find("t", "a") is None


def test_the_tenants_own_state_needs_no_holding(states: FlowStates) -> None:
    state = states.take("t", "")
    with states.lease("t") as lease:
        lease.hold("")
    assert states.find("t", "") is state


def test_a_scope_that_nobody_holds_ends_when_it_was_idle_for_long(states: FlowStates, clock: Clock) -> None:
    states.take("t", "idle")
    with states.lease("t") as lease:
        lease.hold("held")
        clock.now += 59
        states.drop_idle()
        assert states.find("t", "idle")
        clock.now += 1
        states.drop_idle()
        assert states.find("t", "idle") is None
        assert states.find("t", "held")


def test_no_more_scopes_stand_than_may(states: FlowStates, clock: Clock) -> None:
    states.take("t", "a")
    states.take("t", "b")
    with pytest.raises(ResourceExhaustedError, match="2 scopes of this tenant") as caught:
        states.take("t", "c")
    assert caught.value.retry_after
    # One that stands already is no further one.
    states.take("t", "a")
    states.take("u", "a")
    with pytest.raises(ResourceExhaustedError, match="3 of all"):
        states.take("v", "a")
    clock.now += 60
    states.take("t", "c")
    assert len(list(states)) == 1


def test_a_hold_that_is_refused_leaves_nothing_behind(states: FlowStates) -> None:
    with states.lease("t") as lease:
        lease.hold("a")
        lease.hold("b")
        with pytest.raises(ResourceExhaustedError):
            lease.hold("c")
    assert list(states) == []


def test_scopes_are_counted_in_what_detectors_hold(settings: Any, batch: Any) -> None:
    engine = Engine(settings, ModelSlot())
    engine.analyze(batch(sweep(10)), scope="a")
    assert sum(status.usage.entries for status in engine.detectors()) > 0
