"""unanswered-calls: golden traces."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit

NAME = "unanswered-calls"


def calls(count: Any, *, every: Any = 11.0, **extra: Any) -> Any:
    return [
        {"src": "10.0.0.5", "dst": "203.0.113.9", "dst_port": 1177, "at": i * every, "state": "S0", **extra}
        for i in range(count)
    ]


def test_a_dead_server_that_is_called_on_and_on_is_found(levels: Any) -> None:
    assert levels(calls(30)) == {NAME: ThreatLevel.MEDIUM}


def test_one_fewer_or_slower_is_not(levels: Any) -> None:
    assert NAME not in levels(calls(29))
    assert NAME not in levels(calls(60, every=150, dst="203.0.113.10"))


@pytest.mark.parametrize("benign", [
    {"dst": "10.0.0.9"},
    {"src": "198.51.100.7", "dst": "10.0.0.9"},
    {"protocol": 17, "dst_port": 123},
    {"state": "SF", "orig_bytes": 500_000, "resp_bytes": 900_000},
])  # fmt: skip
def test_what_stays_inside_comes_from_outside_or_is_answered_is_none(levels: Any, benign: Any) -> None:
    assert NAME not in levels(calls(60, **benign))


def test_programs_for_the_web_behind_a_firewall_stay_low(levels: Any) -> None:
    assert levels(calls(60, dst_port=443))[NAME] == ThreatLevel.LOW


def test_an_answer_after_all_is_attached_lightly(engine: Any, batch: Any) -> None:
    answered = calls(1, at=400, state="SF", orig_bytes=9, resp_bytes=9)
    verdicts = engine.analyze(batch([*calls(36), *answered]))
    assert [piece.level for piece in verdicts.evidence(36) if piece.detector == NAME] == [ThreatLevel.LOW]


def test_what_a_finding_says(engine: Any, batch: Any) -> None:
    (sighting,) = (report for _, report in engine.analyze(batch(calls(30))).sightings)
    assert (sighting.entity, sighting.peers, sighting.port) == ("10.0.0.5", ("203.0.113.9",), 1177)
    assert "30 times within 60 minutes without an answer" in sighting.evidence.summary
    assert [technique.id for technique in sighting.evidence.techniques] == ["T1071"]
