"""cryptomining: golden traces."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit


def talk(**extra: Any) -> Any:
    return {"src": "10.0.0.5", "dst": "203.0.113.9", "dst_port": 3333, "service": "mining",
            "orig_bytes": 900, "resp_bytes": 900, **extra}  # fmt: skip


@pytest.mark.parametrize("service", ["mining", "stratum"])
def test_one_connection_with_a_pool_is_a_finding(levels: Any, service: Any) -> None:
    assert levels([talk(service=service)])["cryptomining"] == ThreatLevel.HIGH


def test_of_others_it_is_medium(levels: Any) -> None:
    assert levels([talk(src="198.51.100.1")])["cryptomining"] == ThreatLevel.MEDIUM


@pytest.mark.parametrize("benign", [{"service": "http"}, {"state": "S0", "resp_bytes": 0}, {"service": "ssl"}])
def test_other_services_and_pools_that_do_not_answer_are_none(levels: Any, benign: Any) -> None:
    assert "cryptomining" not in levels([talk(**benign)])


def test_what_a_finding_says(engine: Any, batch: Any) -> None:
    (sighting,) = (report for _, report in engine.analyze(batch([talk()])).sightings)
    assert (sighting.entity, sighting.peers, sighting.port) == ("10.0.0.5", ("203.0.113.9",), 3333)
    assert sighting.evidence.summary == "10.0.0.5 mines at tcp/3333 of 203.0.113.9 (1 connections)"
    assert [technique.id for technique in sighting.evidence.techniques] == ["T1496.001"]
