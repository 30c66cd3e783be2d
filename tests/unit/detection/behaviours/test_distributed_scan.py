"""distributed-scan: golden traces."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit

NAME = "distributed-scan"


def probes(count: Any, *, dst: Any = "10.0.0.80", every: Any = 600.0, first: Any = 2000, **extra: Any) -> Any:
    """Each from another address outside, to another port of one host."""
    return [
        {"src": f"198.51.100.{i + 1}", "src_port": 40_000, "dst": dst, "dst_port": first + i, "at": i * every,
         "state": "S0", **extra}
        for i in range(count)
    ]  # fmt: skip


def test_fifteen_ports_that_fifteen_sources_try_are_a_scan(levels: Any) -> None:
    assert levels(probes(15)) == {NAME: ThreatLevel.MEDIUM}


def test_one_fewer_or_slower_is_not(levels: Any) -> None:
    assert levels(probes(14)) == {}
    assert levels(probes(40, dst="10.0.0.81", every=2000)) == {}


def test_visits_to_a_published_service_that_fail_are_benign(levels: Any) -> None:
    assert levels([probe | {"dst_port": (443, 80, 25)[i % 3]} for i, probe in enumerate(probes(60))]) == {}


@pytest.mark.parametrize("benign", [
    {"state": "SF", "orig_bytes": 500, "resp_bytes": 500},
    # Answers that come late.
    {"src_port": 53, "protocol": 17},
])  # fmt: skip
def test_what_is_answered_and_what_is_an_answer_is_benign(levels: Any, benign: Any) -> None:
    assert NAME not in levels(probes(60, **benign))


def test_neighbours_are_not_outside(levels: Any) -> None:
    inside = [probe | {"src": f"10.0.1.{i + 1}"} for i, probe in enumerate(probes(60))]
    assert NAME not in levels(inside)


def test_what_the_host_does_and_whom_it_answers_gets_nothing(engine: Any, batch: Any) -> None:
    visit = {"src": "198.51.100.99", "src_port": 40_000, "dst": "10.0.0.80", "dst_port": 443, "at": 9100}
    own = {"src": "10.0.0.80", "dst": "198.51.100.1", "dst_port": 443, "at": 9200, "state": "S0"}
    verdicts = engine.analyze(batch([*probes(16), visit, own]))
    assert [bool(verdicts.evidence(row)) for row in (15, 16, 17)] == [True, False, False]


def test_a_finding_is_of_the_host_that_is_tried(engine: Any, batch: Any) -> None:
    (sighting,) = (report for _, report in engine.analyze(batch(probes(16))).sightings)
    assert (sighting.entity, sighting.port) == ("10.0.0.80", None)
    assert sighting.peers[0] == "198.51.100.15"
    assert "15 ports of 10.0.0.80 were tried from outside" in sighting.evidence.summary
    assert [technique.id for technique in sighting.evidence.techniques] == ["T1595.001"]
