"""strobe: golden traces, at a threshold that a test can reach."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection.detector_settings import DetectorSettings, StateSettings, StrobeSettings
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit

SETTINGS = DetectorSettings(
    state=StateSettings(entities=64, members=64, rings=64, sources=64, contexts=64, hash_seed=1),
    strobe=StrobeSettings(connections=200, window_seconds=3600),
)


@pytest.fixture
def engine() -> Engine:
    return Engine(SETTINGS, ModelSlot())


def connections(count: Any, *, every: Any = 0.5, **extra: Any) -> Any:
    return [
        {"src": "10.0.0.5", "dst": "93.184.216.34", "dst_port": 8080, "at": i * every, "state": "S0", **extra}
        for i in range(count)
    ]


def test_one_a_second_for_a_day_is_the_definition() -> None:
    assert (StrobeSettings().connections, StrobeSettings().window_seconds) == (86_400, 86_400)


def test_at_the_threshold_it_is_a_strobe_whether_answered_or_not(levels: Any) -> None:
    assert levels(connections(200))["strobe"] == ThreatLevel.MEDIUM
    assert levels(connections(200, dst="93.184.216.35", state="SF"))["strobe"] == ThreatLevel.MEDIUM


def test_one_less_is_none(levels: Any) -> None:
    assert "strobe" not in levels(connections(199))


def test_to_several_ports_it_is_none(levels: Any) -> None:
    assert "strobe" not in levels([{**flow, "dst_port": 8080 + i % 2} for i, flow in enumerate(connections(300))])


def test_slower_than_the_window_it_is_none(levels: Any) -> None:
    assert "strobe" not in levels(connections(400, every=20))


def test_an_application_and_its_database_are_benign(levels: Any) -> None:
    assert "strobe" not in levels(connections(400, dst="10.0.0.9", dst_port=5432, state="SF"))


def test_a_resolver_stays_low(levels: Any) -> None:
    assert levels(connections(400, dst_port=53, protocol=17, state="SF"))["strobe"] == ThreatLevel.LOW


def test_it_fades_while_there_are_fewer(engine: Any, batch: Any) -> None:
    later = [{**connections(1)[0], "at": at} for at in (1000, 3650)]
    verdicts = engine.analyze(batch([*connections(200), *later]))

    def left(row: int) -> float:
        return float(sum(piece.confidence for piece in verdicts.evidence(row) if piece.detector == "strobe"))

    assert left(200) >= left(199) > 0.8
    # One more within the window of the others is a cause itself; after it has left them behind it is not.
    assert left(201) == pytest.approx(left(200) * 0.5 ** (2650 / 3600))


def test_what_a_finding_says(engine: Any, batch: Any) -> None:
    reports = [s for _, s in engine.analyze(batch(connections(400))).sightings if s.evidence.detector == "strobe"]
    assert [s.count for s in reports] == [200, 400]
    assert (reports[0].entity, reports[0].port) == ("10.0.0.5", 8080)
    assert reports[0].evidence.techniques[0].id == "T1071"
