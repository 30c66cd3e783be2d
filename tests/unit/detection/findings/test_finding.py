"""Findings: how sightings add up, and what holds them back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from securenet_detection.findings.finding import (
    FindingStatus,
    Suppression,
    address_key,
    hold_back,
    merge,
    network_range,
)
from securenet_detection.findings.sighting import Origin, Sighting, finding_id
from securenet_detection.threats import AnalyticType, Evidence, ThreatLevel

pytestmark = pytest.mark.unit


def sighting(**changes: Any) -> Sighting:
    evidence = Evidence(
        id=finding_id(Origin("t"), "horizontal-scan", "10.0.0.5", "remote", 445),
        detector="horizontal-scan",
        detector_version="1",
        analytic_type=AnalyticType.BEHAVIORAL,
        level=ThreatLevel.HIGH,
        confidence=0.9,
        summary="25 hosts",
        measured=25.0,
        threshold=25.0,
        techniques=(),
        flow_ids=("a", "b"),
    )
    base = Sighting(
        tenant="t", evidence=evidence, entity="10.0.0.5", peer_scope="remote", port=445,
        threat_level=ThreatLevel.MEDIUM, risk=0.6, peers=("192.0.2.1",), sensor_id="s1",
        first_seen_ns=100, last_seen_ns=200, count=25,
    )  # fmt: skip
    return replace(base, **changes)


def suppression(**changes: Any) -> Suppression:
    base = Suppression("t", "s", "", "", "", None, 10**18, "scanner of ours", "me", 0)
    return replace(base, **changes)


def test_sightings_add_up_whatever_their_order() -> None:
    low = sighting()
    high = sighting(
        risk=0.8, threat_level=ThreatLevel.HIGH, count=50, first_seen_ns=50, last_seen_ns=150, sensor_id=None,
        evidence=low.evidence._replace(confidence=0.95, measured=50.0, summary="50 hosts", flow_ids=("c",)),
    )  # fmt: skip
    one, other = merge(merge(None, low, 1), high, 2), merge(merge(None, high, 1), low, 2)
    for finding in (one, other):
        assert (finding.risk, finding.count, finding.first_seen_ns, finding.last_seen_ns) == (0.8, 50, 50, 200)
        assert finding.evidence.summary == "50 hosts"
        assert set(finding.flow_ids) == {"a", "b", "c"}
        assert finding.revision == 2


def test_samples_are_bounded() -> None:
    finding = None
    for i in range(50):
        base = sighting(peers=tuple(f"192.0.2.{k}" for k in range(i, i + 8)), sensor_id=f"s{i}")
        finding = merge(finding, replace(base, evidence=base.evidence._replace(flow_ids=(f"f{i}",))), i)
    assert finding is not None
    assert (len(finding.flow_ids), len(finding.peers) <= 100, len(finding.sensor_ids)) == (10, True, 16)


def test_a_resolved_finding_that_is_seen_again_is_new_again() -> None:
    resolved = replace(merge(None, sighting(), 1), status=FindingStatus.RESOLVED)
    assert merge(resolved, sighting(), 2).status == FindingStatus.NEW


@pytest.mark.parametrize(
    ("changes", "matches"),
    [
        ({}, True),
        ({"detector": "horizontal-scan"}, True),
        ({"detector": "vertical-scan"}, False),
        ({"entity_cidr": "10.0.0.0/8"}, True),
        ({"entity_cidr": "10.0.0.5"}, True),
        ({"entity_cidr": "10.0.1.0/24"}, False),
        ({"peer_cidr": "192.0.2.0/24"}, True),
        ({"peer_cidr": "198.51.100.0/24"}, False),
        ({"port": 445}, True),
        ({"port": 22}, False),
        ({"entity_cidr": "fd00::/8"}, False),
    ],
)
def test_a_suppression_matches_all_of_its_conditions(changes: Any, matches: Any) -> None:
    assert suppression(**changes).matches(merge(None, sighting(), 1)) is matches


def test_held_back_and_open_again() -> None:
    finding = merge(None, sighting(), 1)
    held = hold_back(finding, [suppression()])
    assert (held.status, held.suppressions) == (FindingStatus.SUPPRESSED, ("s",))
    assert hold_back(held, []).status == FindingStatus.NEW


def test_a_person_s_suppression_is_not_lifted_by_the_absence_of_rules() -> None:
    by_hand = replace(merge(None, sighting(), 1), status=FindingStatus.SUPPRESSED)
    assert hold_back(by_hand, []).status == FindingStatus.SUPPRESSED


def test_identity_tells_tenants_detectors_entities_scopes_and_ports_apart() -> None:
    mine = Origin("t")
    base = (mine, "d", "10.0.0.1", "remote", 80)
    others: list[tuple[Origin, str, str, str, int | None]] = [
        (Origin("u"), *base[1:]), (Origin("t", "capture"), *base[1:]), (mine, "e", *base[2:]),
        (mine, "d", "10.0.0.2", "remote", 80), (mine, "d", "10.0.0.1", "local", 80),
        (mine, "d", "10.0.0.1", "remote", None),
    ]  # fmt: skip
    assert len({finding_id(*key) for key in [base, *others]}) == 7


def test_address_keys_sort_and_ranges_cover() -> None:
    first, last = network_range("10.1.0.0/16")
    assert first <= address_key("10.1.255.255") <= last < address_key("10.2.0.0")
    with pytest.raises(ValueError, match="not-a-network"):
        network_range("not-a-network")
