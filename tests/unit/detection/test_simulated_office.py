"""A simulated office, with an attack and without: who is found, and who is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.threats import ThreatLevel
from securenet_flows.simulation import ScheduledScenario, SimulationSettings, simulate

pytestmark = pytest.mark.unit

CONNECTIONS = ("beacon", "exfiltration", "flood", "long-connection", "strobe")


def findings(*scenarios: Any, seed: Any = 1, hours: Any = 1.0, hosts: Any = 40) -> dict[tuple[str, str], Any]:
    """The gravest evidence of each finding, by detector and entity, with whether its flows are the attack's."""
    engine = Engine(DetectorSettings(state=StateSettings(hash_seed=11)), ModelSlot())
    settings = SimulationSettings(
        seed=seed,
        duration_s=hours * 3600,
        hosts=hosts,
        scenarios=tuple(ScheduledScenario.parse(scenario) for scenario in scenarios),
    )
    found: dict[tuple[str, str], Any] = {}
    for flows in simulate(settings):
        for part in flows.to_batch().split(4096):
            for _, sighting in engine.analyze(part).sightings:
                key = sighting.evidence.detector, sighting.entity
                if key not in found or sighting.evidence.level > found[key].level:
                    found[key] = sighting.evidence
    return {key: evidence for key, evidence in found.items() if key[0] in CONNECTIONS}


def above_low(found: dict[tuple[str, str], Any]) -> list[str]:
    return sorted({key[0] for key, evidence in found.items() if evidence.level > ThreatLevel.LOW})


@pytest.mark.parametrize("seed", range(1, 6))
def test_an_hour_of_an_office_at_work_is_left_alone(seed: int) -> None:
    assert above_low(findings(seed=seed)) == []


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("transport", ["tls", "http"])
def test_an_hour_of_a_beacon_is_found(seed: int, transport: str) -> None:
    found = findings(f"beacon:interval=60,jitter=0.2,transport={transport}", seed=seed)
    assert above_low(found) == ["beacon"]
    assert sum(key[0] == "beacon" for key in found) == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_exfiltration_is_found(seed: int) -> None:
    assert above_low(findings("exfiltration@5m", seed=seed)) == ["exfiltration"]


@pytest.mark.parametrize("scenario", ["syn-flood@10m", "udp-flood@10m:rate=400"])
def test_a_flood_is_found_as_its_victims(scenario: str) -> None:
    found = findings(scenario, hours=0.25)
    assert above_low(found) == ["flood"]
    assert [evidence.level for (name, _), evidence in found.items() if name == "flood"] == [ThreatLevel.HIGH]


@pytest.mark.slow
def test_a_day_of_a_beacon_is_high_and_alone() -> None:
    found = findings("beacon@1h:interval=120,jitter=0.3", hours=24, hosts=50, seed=3)
    beacons = {key: evidence.level for key, evidence in found.items() if key[0] == "beacon"}
    assert sorted(level for level in beacons.values() if level > ThreatLevel.LOW) == [ThreatLevel.HIGH]
