"""Detectors over captures that others recorded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.settings import DetectorSettings
from securenet_detection.threats import ThreatLevel
from securenet_flows.captures import read_flows

pytestmark = pytest.mark.integration


def findings(path: Path) -> Counter[tuple[str, str]]:
    """How many findings a capture makes, by detector and technique."""
    engine = Engine(DetectorSettings(), ModelSlot())
    found: dict[str, tuple[str, str]] = {}
    for batch in read_flows(path):
        for _, sighting in engine.analyze(batch).sightings:
            evidence = sighting.evidence
            found[evidence.id] = (evidence.detector, evidence.techniques[0].id)
    return Counter(found.values())


def test_nmap_over_a_network_is_a_horizontal_and_a_vertical_scan(shared_data: Path) -> None:
    found = findings(shared_data / "flows/zeek-labelled/002-zeek-scenario-port-scanning")
    assert found["horizontal-scan", "T1046"] >= 1
    assert found["vertical-scan", "T1046"] >= 10


def test_a_scan_of_one_host_is_a_vertical_scan(shared_data: Path) -> None:
    assert findings(shared_data / "flows/slips/port-scans/vertical")["vertical-scan", "T1046"] == 1


def test_scans_of_the_internet_are_reconnaissance(shared_data: Path) -> None:
    assert findings(shared_data / "flows/zeek-labelled/008-zeek-mixed")["vertical-scan", "T1595.001"] >= 1


def test_a_benign_host_day_alarms_about_nothing(shared_data: Path) -> None:
    engine = Engine(DetectorSettings(), ModelSlot())
    levels: set[int] = set()
    for batch in read_flows(shared_data / "flows/zeek-labelled/2023-02-20-benign"):
        levels |= {int(sighting.evidence.level) for _, sighting in engine.analyze(batch).sightings}
    assert levels == {ThreatLevel.LOW}


def test_ten_honest_ssh_logins_are_no_guessing(shared_data: Path) -> None:
    found = findings(shared_data / "flows/zeek-labelled/006-zeek-scenario-ssh")
    assert set(found) == {("odd-port", "T1571")}  # the server listens on 902


def test_guessing_of_ssh_passwords_is_found_in_packets(shared_data: Path) -> None:
    found = findings(shared_data / "flows/slips/test19-malicious-ssh/malicious-ssh-bruteforce.pcap")
    assert found == {("brute-force", "T1110.001"): 1, ("odd-port", "T1571"): 1}


def test_a_tunnel_in_echo_messages_is_found_in_packets(shared_data: Path) -> None:
    assert findings(shared_data / "flows/pcaps/icmp-tunnel.pcap") == {("icmp-tunnel", "T1095"): 1}


def test_a_tunnel_in_dns_is_suspected_in_packets(shared_data: Path) -> None:
    assert findings(shared_data / "flows/pcaps/dns-tunnel-iodine.pcap") == {("dns-tunnel", "T1071.004"): 1}


def test_a_search_for_generated_domains_is_found(shared_data: Path) -> None:
    assert findings(shared_data / "flows/zeek-labelled/005-zeek-scenario-malicious")["dga", "T1568.002"] == 1


def test_a_syn_scan_is_found_in_packets(shared_data: Path) -> None:
    assert findings(shared_data / "flows/pcaps/synscan.pcap")["vertical-scan", "T1046"] == 1


def test_a_vulnerability_scanner_is_found_by_its_ports(shared_data: Path) -> None:
    assert findings(shared_data / "flows/lab-captures/openvas/conn.log.gz")["vertical-scan", "T1046"] == 1
