"""Detectors over a simulated office, with an attack and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from securenet_detection.detector_settings import DetectorSettings
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.threats import ThreatLevel
from securenet_flows.captures import read_flows
from securenet_flows.simulation import ScheduledScenario, SimulationSettings, write_zeek_logs

pytestmark = [pytest.mark.integration, pytest.mark.slow]

#: Detectors whose attacks are simulated here, or that the office must not provoke.
QUIET = ("dga", "dns-tunnel", "icmp-tunnel", "lateral-movement", "odd-port")


def levels(folder: Path, seed: int, *scenarios: str) -> dict[str, int]:
    """The gravest level of each detector over an hour of the office."""
    scheduled = tuple(ScheduledScenario.parse(text) for text in scenarios)
    write_zeek_logs(SimulationSettings(seed=seed, scenarios=scheduled), folder)
    engine = Engine(DetectorSettings(), ModelSlot())
    found: dict[str, int] = {}
    for batch in read_flows(folder):
        for _, sighting in engine.analyze(batch).sightings:
            evidence = sighting.evidence
            found[evidence.detector] = max(found.get(evidence.detector, 0), int(evidence.level))
    return found


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_the_office_alone_makes_nothing_above_low(tmp_path: Path, seed: int) -> None:
    found = levels(tmp_path, seed)
    assert {name: level for name, level in found.items() if name in QUIET and level > ThreatLevel.LOW} == {}


@pytest.mark.parametrize("seed", [2, 5, 7])
def test_an_intruder_who_goes_from_host_to_host_is_found(tmp_path: Path, seed: int) -> None:
    assert levels(tmp_path, seed, "lateral-movement@32m")["lateral-movement"] >= ThreatLevel.MEDIUM


def test_an_intruder_who_was_there_before_the_sensor_is_noted(tmp_path: Path) -> None:
    assert levels(tmp_path, 1, "lateral-movement@5m")["lateral-movement"] == ThreatLevel.LOW


@pytest.mark.parametrize("attack", ["dns-tunnel@20m", "dns-tunnel@10m:encoding=hex,rate=0.3,length=120"])
def test_data_in_names_is_found(tmp_path: Path, attack: str) -> None:
    assert levels(tmp_path, 21, attack)["dns-tunnel"] >= ThreatLevel.HIGH


@pytest.mark.parametrize("attack", ["dga@20m", "dga@10m:style=hex,rate=0.1"])
def test_a_search_for_generated_domains_is_found(tmp_path: Path, attack: str) -> None:
    assert levels(tmp_path, 22, attack)["dga"] >= ThreatLevel.HIGH
