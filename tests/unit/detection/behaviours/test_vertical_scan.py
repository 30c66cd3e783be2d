"""vertical-scan: golden traces."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit


def probe(count: Any, *, state: Any = "REJ", every: Any = 1.0, first: Any = 20, **extra: Any) -> Any:
    return [
        {"src": "10.0.2.15", "dst": "10.0.2.5", "dst_port": first + i, "state": state, "at": i * every, **extra}
        for i in range(count)
    ]


def test_fifteen_refused_ports_are_a_scan(levels: Any) -> None:
    assert levels(probe(15))["vertical-scan"] == ThreatLevel.HIGH


def test_fourteen_are_not(levels: Any) -> None:
    assert "vertical-scan" not in levels(probe(14))


def test_many_open_ports_of_a_server_are_benign(levels: Any) -> None:
    assert "vertical-scan" not in levels(probe(60, state="SF", orig_bytes=100, resp_bytes=100))


def test_midstream_answers_from_a_server_are_not_a_scan_of_its_client(levels: Any) -> None:
    assert "vertical-scan" not in levels(probe(60, state="OTH", first=40_000, src_port=443, resp_bytes=0))


def test_a_reset_after_the_handshake_counts_only_when_nothing_came_back(levels: Any) -> None:
    assert "vertical-scan" not in levels(probe(30, state="RSTOS0", resp_bytes=10))
    assert "vertical-scan" in levels(probe(30, state="RSTOS0", resp_bytes=0, every=2.0))


def test_the_victim_is_the_peer(engine: Any, batch: Any) -> None:
    verdicts = engine.analyze(batch(probe(20)))
    sighting = next(s for _, s in verdicts.sightings if s.evidence.detector == "vertical-scan")
    assert (sighting.entity, sighting.peers, sighting.port) == ("10.0.2.15", ("10.0.2.5",), None)
    assert sighting.evidence.techniques[0].id == "T1046"


def test_rows_without_a_state_are_said_to_be_skipped(engine: Any, batch: Any) -> None:
    flows = probe(20)
    verdicts = engine.analyze(batch(flows))
    assert {skipped.detector for skipped in verdicts.skipped_at(0)} >= {"model", "brute-force"}
    for flow in flows:
        flow["conn_state"] = 0
    bare = batch(flows)
    bare = type(bare)(
        bare.start_time_ns, bare.src_addr, bare.dst_addr, bare.protocol, {"dst_port": bare.numeric["dst_port"]}
    )
    reasons = {skipped.detector: skipped.reason for skipped in engine.analyze(bare).skipped_at(0)}
    assert reasons["vertical-scan"] == "conn_state is absent"
