"""Detectors, without a model, over captures that others recorded, against what those say of them.

The oracle is the folder's name (Slips, Stratosphere), what the capture's own tool says beside it (nDPI's report, Zeek's
notices), or the README. An attack must make a finding with its technique; a benign capture must make none above LOW.
What flows cannot show stands in the table with the reason.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_flows.captures import read_flows

pytestmark = [pytest.mark.integration, pytest.mark.slow]

#: By capture: each detector, technique and gravest level that it must have, and the only ones that it may have.
FOUND: dict[str, set[tuple[str, str, int]]] = {
    "lab-captures/nmap/conn.log.gz": {("vertical-scan", "T1046", 3)},
    "lab-captures/nmap/nmap.csv.gz": {("vertical-scan", "T1046", 3)},
    "lab-captures/nmap/nmap.pcapng": {("vertical-scan", "T1046", 3)},
    "lab-captures/openvas/conn.log.gz": {("vertical-scan", "T1046", 3)},
    "lab-captures/openvas/openvas.pcapng": {("vertical-scan", "T1046", 3), ("odd-port", "T1571", 1)},
    "pcaps/dns-tunnel-iodine.pcap": {("dns-tunnel", "T1071.004", 2)},
    "pcaps/icmp-tunnel.pcap": {("icmp-tunnel", "T1095", 3)},
    "pcaps/mining.pcapng": {("cryptomining", "T1496.001", 3)},
    # Eleven connections: as many as a script makes that logs in.
    "pcaps/sshguess.pcap": {("brute-force", "T1110.001", 1)},
    "pcaps/synscan.pcap": {("vertical-scan", "T1046", 3)},
    # Ten dead web servers in five seconds, among thirty that answer.
    "slips/port-scans/horizontal": {("horizontal-scan", "T1046", 1)},
    "slips/port-scans/vertical": {("vertical-scan", "T1046", 3)},
    # Calls of a command server by TLS every two seconds; one host alone, so nobody knows who else calls it.
    "slips/test-cc/test-cc-capture-1.pcap": {("beacon", "T1071", 1)},
    "slips/test10-mixed-zeek-dir": {("sequential-scan", "T1595.001", 2), ("horizontal-scan", "T1595.001", 1)},
    "slips/test11-portscan.binetflow": {("vertical-scan", "T1046", 3)},
    "slips/test12-icmp-portscan.pcap": {("horizontal-scan", "T1018", 1)},
    "slips/test19-malicious-ssh": {("brute-force", "T1110.001", 2), ("odd-port", "T1571", 1)},
    "slips/test3-mixed.binetflow": {("sequential-scan", "T1595.001", 2), ("horizontal-scan", "T1595.001", 2)},
    "slips/test4-malicious.binetflow.gz": {("sequential-scan", "T1046", 2), ("horizontal-scan", "T1046", 3)},
    # NjRAT, whose server is gone.
    "zeek-labelled/001-zeek-scenario-malicious": {("unanswered-calls", "T1071", 2)},
    "zeek-labelled/002-zeek-scenario-port-scanning": {
        ("horizontal-scan", "T1046", 3), ("vertical-scan", "T1046", 3), ("sequential-scan", "T1046", 2),
        ("horizontal-scan", "T1018", 3),
    },
    # A RAT's session on tcp/1337.
    "zeek-labelled/003-zeek-scenario-malicious": {("long-connection", "T1572", 1)},
    "zeek-labelled/005-zeek-scenario-malicious": {("dga", "T1568.002", 3)},
    # Benign hosts that the Internet scans.
    "zeek-labelled/008-zeek-mixed": {
        ("distributed-scan", "T1595.001", 2), ("vertical-scan", "T1595.001", 2),
        ("beacon", "T1071", 1), ("long-connection", "T1572", 1),
    },
    "zeek-labelled/010-zeek-mixed": {
        ("distributed-scan", "T1595.001", 2), ("vertical-scan", "T1595.001", 2),
        ("beacon", "T1071", 1), ("long-connection", "T1572", 1),
        # Five of the host's first six contacts failed, when its network came up.
        ("sequential-scan", "T1046", 2),
    },
}  # fmt: skip

#: Benign captures: nothing above LOW.
BENIGN = (
    "zeek-labelled/2023-02-20-benign",
    # Honest log-ins, to a server that listens on 902.
    "zeek-labelled/006-zeek-scenario-ssh",
)

#: Captures with attacks that no behaviour of flows shows, and why.
UNSEEN = {
    "pcaps/WebattackSQLinj.pcap": "nine requests; the attack is in their text, which no flow carries",
    "pcaps/emotet.pcap": "six ordinary downloads and mails of four hosts; only indicators tell (threat-intel)",
    "pcaps/malware.pcap": "six ordinary flows to listed addresses; only indicators tell (threat-intel)",
    "slips/test5-mixed.binetflow.gz": "all of an infected host's flows, lookups and web, none unlike others'",
    "slips/test2-malicious.binetflow.gz": "a telephone's web traffic with malware in it; only indicators tell",
    "slips/test8-malicious.pcap": "ARP, which has no flows; one QUIC connection is left",
    "slips/test13-malicious-dhcpscan-zeek-dir": "requests in dhcp.log; two flows are left",
    "slips/test14-malicious-zeek-dir": "refused SMTP log-ins and a tunnel in logs that are not of flows",
    "slips/test15-malicious-zeek-dir": "agents and certificates that do not fit, in two flows",
    "slips/test-cc/test-cc-capture-2.pcap": "22 calls of a command server, too irregular for so few",
    "slips/test9-mixed-zeek-dir": "ICMP scans in notice.log alone; the flows are a browser's",
}


def findings(path: Path) -> set[tuple[str, str, int]]:
    """Findings of a capture: detector, technique, and the gravest level of both."""
    engine = Engine(DetectorSettings(state=StateSettings(hash_seed=1)), ModelSlot())
    found: dict[tuple[str, str], int] = {}
    for batch in read_flows(path):
        for _, sighting in engine.analyze(batch).sightings:
            evidence = sighting.evidence
            key = evidence.detector, evidence.techniques[0].id
            found[key] = max(found.get(key, 0), int(evidence.level))
    return {(*key, level) for key, level in found.items()}


@pytest.mark.parametrize("capture", sorted(FOUND))
def test_attacks_are_found_by_their_technique_and_nothing_else_is(shared_data: Path, capture: str) -> None:
    assert findings(shared_data / "flows" / capture) == FOUND[capture]


@pytest.mark.parametrize("capture", BENIGN)
def test_benign_captures_make_nothing_above_low(shared_data: Path, capture: str) -> None:
    assert {found for found in findings(shared_data / "flows" / capture) if found[2] > 1} == set()


@pytest.mark.parametrize("capture", sorted(UNSEEN))
def test_what_flows_do_not_show_is_not_alarmed_by_chance(shared_data: Path, capture: str) -> None:
    assert {found for found in findings(shared_data / "flows" / capture) if found[2] > 1} == set(), UNSEEN[capture]
