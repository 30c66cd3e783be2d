"""Risk fades to nothing by the time of the flows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from securenet_detection.findings.fading import FlowClock, faded
from securenet_detection.findings.finding import Finding, FindingStatus
from securenet_detection.threats import AnalyticType, Evidence, ThreatLevel

pytestmark = pytest.mark.unit

HOUR = 3600 * 10**9
FINDING = Finding(
    "t", "f", FindingStatus.NEW, ThreatLevel.HIGH, 0.8, "10.0.0.5",
    Evidence("f", "horizontal-scan", "1", AnalyticType.BEHAVIORAL, ThreatLevel.HIGH, 0.9, "", 1.0, 1.0, (), ()),
    (), None, (), (), 0, 100 * HOUR, 0, 0, 1,
)  # fmt: skip


@pytest.mark.parametrize(("hours", "share"), [(0, 1.0), (1, 0.5), (2, 0.25), (3, 0.125), (100, 0.0)])
def test_it_halves_for_every_half_life_and_ends_at_nothing(hours: int, share: float) -> None:
    assert faded(FINDING, (100 + hours) * HOUR, HOUR).fading == pytest.approx(share)


def test_flows_of_before_make_nothing_young() -> None:
    assert faded(FINDING, 0, HOUR).fading == 1


def test_without_a_time_of_flows_and_in_a_named_state_it_stays() -> None:
    assert faded(FINDING, None, HOUR) == FINDING
    capture = replace(FINDING, state_scope="capture")
    assert faded(capture, 10**6 * HOUR, HOUR) == capture


def test_the_clock_of_flows_only_rises_and_never_lies_ahead_of_the_service_s() -> None:
    clock = FlowClock()
    assert clock.now("t") is None
    clock.advance("t", 50, now_ns=1000)
    clock.advance("t", 20, now_ns=1000)
    assert clock.now("t") == 50
    clock.advance("t", 10**18, now_ns=1000)
    assert clock.now("t") == 1000


def test_tenants_are_bounded() -> None:
    clock = FlowClock(tenants=2)
    for tenant in ("a", "b", "a", "c"):
        clock.advance(tenant, 1, now_ns=10)
    assert [clock.now(tenant) for tenant in ("a", "b", "c")] == [1, None, 1]
