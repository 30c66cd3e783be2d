"""long-connection: golden traces."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit

HOUR = 3600 * 10**9
SERVER = "93.184.216.34"


def stay(hours: Any, *, at: Any = 0.0, **extra: Any) -> Any:
    """One connection of so many hours, beginning at an hour."""
    return {"src": "10.0.0.5", "dst": SERVER, "dst_port": 1194, "at": at * 3600, "duration_ns": int(hours * HOUR),
            "orig_bytes": 9000, "resp_bytes": 9000, "orig_pkts": 9, "resp_pkts": 9, **extra}  # fmt: skip


def office(hosts: Any, *, dst: Any = "93.184.0.1") -> Any:
    return [stay(0.001, src=f"10.0.1.{i + 1}", dst=dst) for i in range(hosts)]


@pytest.mark.parametrize(
    ("hours", "level"), [(1, ThreatLevel.LOW), (3.99, ThreatLevel.LOW), (4, ThreatLevel.MEDIUM), (12, 2)]
)
def test_levels_by_connected_time(levels: Any, hours: Any, level: Any) -> None:
    assert levels([stay(hours)]) == {"long-connection": level}


def test_just_below_an_hour_is_nothing(levels: Any) -> None:
    assert "long-connection" not in levels([stay(0.999)])


def test_half_a_day_to_a_rare_destination_is_high(levels: Any) -> None:
    assert levels([*office(20), stay(12)])["long-connection"] == ThreatLevel.HIGH


def test_what_many_hosts_use_stays_low(levels: Any) -> None:
    assert levels([*office(20, dst=SERVER), stay(20)])["long-connection"] == ThreatLevel.LOW


def test_a_video_call_and_a_push_channel_are_benign(levels: Any) -> None:
    call = [stay(0.9, at=hour, dst_port=443) for hour in (0, 1)]
    assert "long-connection" not in levels(call)
    assert levels([stay(8, dst_port=443, dst="93.184.216.36")])["long-connection"] == ThreatLevel.LOW
    # Of a host whose neighbours are unknown nobody can tell whether everybody's program stays there.
    assert levels([stay(13, dst_port=443, dst="93.184.216.35")])["long-connection"] == ThreatLevel.LOW
    known = [*office(20), stay(13, dst_port=443, dst="93.184.216.35")]
    assert levels(known)["long-connection"] == ThreatLevel.MEDIUM


def test_it_fades_after_the_last_stay_has_ended(engine: Any, batch: Any) -> None:
    calls = [stay(0.001, at=hour) for hour in (3, 5, 7)]
    verdicts = engine.analyze(batch([stay(5), *calls]))
    told = [sum(piece.confidence for piece in verdicts.evidence(row)) for row in range(4)]
    assert told == pytest.approx([told[0], told[0], told[0], told[0] / 4])
    assert told[0] > 0.9


def test_backups_and_monitoring_inside_are_benign(levels: Any) -> None:
    assert "long-connection" not in levels([stay(20, dst="10.0.0.9")])


def test_nobody_answered_so_nobody_was_connected(levels: Any) -> None:
    assert "long-connection" not in levels([stay(20, resp_pkts=0, resp_bytes=0, protocol=17)])


def test_pieces_add_up_and_what_was_at_once_counts_once(levels: Any) -> None:
    assert levels([stay(1.4, at=hour * 1.5) for hour in range(3)])["long-connection"] == ThreatLevel.MEDIUM
    at_once = [stay(1.4, at=0.001 * i, src="10.0.0.6") for i in range(6)]
    assert levels(at_once)["long-connection"] == ThreatLevel.LOW


def test_the_order_of_starts_and_of_ends_give_the_same(engine: Any, batch: Any) -> None:
    whole, part = stay(5), stay(0.5, at=1)
    measured = []
    for source, flows in (("10.0.0.6", [whole, part]), ("10.0.0.7", [part, whole])):
        verdicts = engine.analyze(batch([{**flow, "src": source} for flow in flows]))
        measured.append(verdicts.evidence(1)[0].measured)
    assert measured == [pytest.approx(5), pytest.approx(5)]


def test_what_lies_a_day_back_is_forgotten(levels: Any) -> None:
    assert "long-connection" not in levels([stay(0.8, at=day * 30) for day in range(10)])


def test_calls_are_no_stays(levels: Any) -> None:
    assert "long-connection" not in levels([stay(4 / 3600, at=i / 720) for i in range(1500)])


def test_what_a_finding_says(engine: Any, batch: Any) -> None:
    reports = [s for _, s in engine.analyze(batch([stay(0.5), stay(6, at=1), stay(8, at=8)])).sightings]
    assert [s.evidence.level for s in reports] == [ThreatLevel.MEDIUM, ThreatLevel.MEDIUM]
    assert (reports[0].entity, reports[0].peers, reports[0].port) == ("10.0.0.5", (SERVER,), 1194)
    assert reports[0].evidence.techniques[0].id == "T1572"
    assert reports[0].evidence.measured == pytest.approx(6.5)
    assert (reports[0].count, reports[1].count) == (2, 3)
