"""flood: golden traces."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit

VICTIM = "10.0.0.80"


def syns(count: Any, *, rate: Any = 200, sources: Any = 500, **extra: Any) -> Any:
    """Half-open connections from so many sources."""
    return [
        {"src": f"198.51.{i % sources // 250}.{i % sources % 250 + 1}", "dst": VICTIM, "dst_port": 443, "state": "S0",
         "at": i / rate, "orig_pkts": 1, "resp_pkts": 0, **extra}
        for i in range(count)
    ]  # fmt: skip


def datagrams(count: Any, *, rate: Any = 100, packets: Any = 100, **extra: Any) -> Any:
    """Flows of unanswered packets from one host of the network to one outside."""
    return [
        {"src": "10.0.0.5", "dst": "93.184.216.34", "dst_port": 1 + i % 60_000, "protocol": 17, "state": "S0",
         "at": i / rate, "orig_pkts": packets, "orig_bytes": packets * 900, "resp_pkts": 0, **extra}
        for i in range(count)
    ]  # fmt: skip


def test_a_thousand_half_open_connections_in_ten_seconds_are_a_flood(levels: Any) -> None:
    assert levels(syns(1000))["flood"] == ThreatLevel.HIGH


def test_just_below_they_are_not(levels: Any) -> None:
    assert "flood" not in levels(syns(999))


def test_slower_they_are_not(levels: Any) -> None:
    assert "flood" not in levels(syns(3000, rate=70))


def test_a_scan_comes_from_few_sources(levels: Any) -> None:
    assert "flood" not in levels([{**flow, "dst_port": 1 + i} for i, flow in enumerate(syns(3000, sources=3))])


def test_many_visitors_of_a_server_are_benign(levels: Any) -> None:
    served = syns(3000, rate=500, state="SF", orig_bytes=400, resp_bytes=9000, resp_pkts=9)
    assert "flood" not in levels(served)


def test_what_others_talk_about_with_the_victim_is_theirs(engine: Any, batch: Any) -> None:
    visit = {"src": "10.0.0.7", "dst": VICTIM, "dst_port": 443, "at": 7, "orig_bytes": 400, "resp_bytes": 9000}
    verdicts = engine.analyze(batch([*syns(1400), visit, {**syns(1)[0], "at": 7.1}]))
    assert "flood" not in {piece.detector for piece in verdicts.evidence(1400)}
    assert "flood" in {piece.detector for piece in verdicts.evidence(1401)}


def test_packets_without_an_answer_are_a_flood_from_one_source_too(levels: Any) -> None:
    assert levels(datagrams(500))["flood"] == ThreatLevel.HIGH
    assert "flood" not in levels(datagrams(499, dst="93.184.216.35"))


def test_a_stream_of_media_is_benign(levels: Any) -> None:
    minute = {"duration_ns": 60 * 10**9}
    assert "flood" not in levels(datagrams(1, packets=60 * 4000, **minute))
    assert "flood" not in levels(datagrams(500, resp_pkts=90, resp_bytes=9000, src="10.0.0.6"))
    assert "flood" not in levels(datagrams(500, dst="239.1.2.3"))


def test_a_collector_of_logs_inside_stays_low(levels: Any) -> None:
    assert levels(datagrams(500, dst="10.0.0.9"))["flood"] == ThreatLevel.LOW


def test_it_fades_after_its_last_flow(engine: Any, batch: Any) -> None:
    last = syns(1000)[-1]
    late = [{**last, "at": last["at"] + seconds} for seconds in (20, 50, 61)]
    verdicts = engine.analyze(batch([*syns(1000), *late]))
    told = [sum(e.confidence for e in verdicts.evidence(row) if e.detector == "flood") for row in range(999, 1003)]
    assert told == pytest.approx([told[0], told[0] * 0.5 ** (20 / 3600), told[0] * 0.5 ** (50 / 3600), 0])


def test_what_a_finding_says(engine: Any, batch: Any) -> None:
    reports = [s for _, s in engine.analyze(batch(syns(2500))).sightings if s.evidence.detector == "flood"]
    assert (reports[0].entity, reports[0].peer_scope, reports[0].port) == (VICTIM, "", None)
    assert VICTIM not in reports[0].peers
    assert all(peer.startswith("198.51.") for peer in reports[0].peers)
    assert reports[0].evidence.techniques[0].id == "T1499"
    assert reports[0].evidence.measured == pytest.approx(100)
    assert len(reports) == 2
    first = next(s for _, s in engine.analyze(batch(datagrams(500))).sightings if s.evidence.detector == "flood")
    assert first.evidence.techniques[0].id == "T1498"
    assert "from one source" in first.evidence.summary
