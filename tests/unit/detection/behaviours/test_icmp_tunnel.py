"""icmp-tunnel: golden traces."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit

NAME = "icmp-tunnel"


@pytest.fixture
def levels(levels: Any) -> Any:
    """What this detector says of a trace, whatever the others say; flows of another trace are other flows."""
    traces = itertools.count()

    def run(flows: Any) -> dict[str, int]:
        trace = next(traces)
        found = levels([{**flow, "flow_id": f"C{trace}-{i}"} for i, flow in enumerate(flows)])
        return {name: level for name, level in found.items() if name == NAME}

    return run


@pytest.fixture
def reports(engine: Any, batch: Any) -> Any:
    """What this detector reports of a trace."""
    return lambda flows: [s for _, s in engine.analyze(batch(flows)).sightings if s.evidence.detector == NAME]


def echoes(count: Any, *, sent: Any, received: Any, packets: Any = 10, every: Any = 10.0, **extra: Any) -> Any:
    return [
        {"src": "10.0.0.8", "dst": "198.51.100.20", "protocol": 1, "src_port": 8, "dst_port": 0, "at": i * every,
         "state": "OTH", "orig_bytes": sent, "resp_bytes": received, "orig_pkts": packets, "resp_pkts": packets,
         **extra}
        for i in range(count)
    ]  # fmt: skip


def test_answers_that_are_not_the_question_are_a_tunnel(levels: Any) -> None:
    # (1,640 − 640) + (2,140 − 640) = 2,500 bytes a flow beyond pings; ten make 25,000.
    assert levels(echoes(10, sent=1640, received=2140)) == {"icmp-tunnel": ThreatLevel.HIGH}


def test_one_flow_fewer_is_not(levels: Any) -> None:
    assert levels(echoes(9, sent=1640, received=2140)) == {}


def test_varying_sizes_that_come_back_as_they_went_are_less_sure(levels: Any) -> None:
    assert levels(echoes(20, sent=3333, received=3333)) == {"icmp-tunnel": ThreatLevel.MEDIUM}


def test_pings_of_one_size_are_benign_also_when_they_fill_frames(levels: Any) -> None:
    for size in (32, 56, 64, 1472):
        assert levels(echoes(60, sent=10 * size, received=10 * size)) == {}


def test_pings_whose_answers_were_lost_are_benign(levels: Any) -> None:
    assert levels(echoes(60, sent=560, received=392, resp_pkts=7)) == {}
    assert levels(echoes(60, sent=560, received=0, resp_pkts=0)) == {}


def test_pings_by_the_megabyte_are_not(levels: Any) -> None:
    assert levels(echoes(50, sent=100_000, received=100_000, packets=100)) == {"icmp-tunnel": ThreatLevel.MEDIUM}
    assert levels(echoes(49, sent=100_000, received=100_000, packets=100, src="10.0.0.9")) == {}


def test_error_messages_quote_other_packets(levels: Any) -> None:
    assert levels(echoes(200, sent=5333, received=0, src_port=3)) == {}


def test_a_slow_talk_stays_below_the_window(levels: Any) -> None:
    assert levels(echoes(60, sent=1640, received=2140, every=80.0)) == {}


def test_other_protocols_and_rows_without_counts_are_no_echo(levels: Any) -> None:
    assert "icmp-tunnel" not in levels(echoes(60, sent=1640, received=2140, protocol=17))
    bare = [{"src": "10.0.0.8", "dst": "198.51.100.20", "protocol": 1, "at": i} for i in range(100)]
    assert levels(bare) == {}


def test_sums_of_absurd_counts_stay_in_range(levels: Any) -> None:
    most = 2**63 - 1
    assert levels(echoes(300, sent=most, received=most, packets=most, every=0.1)) in ({}, {"icmp-tunnel": 2})
    assert levels(echoes(300, sent=most, received=7, packets=3, every=0.1))["icmp-tunnel"] == ThreatLevel.HIGH
    assert levels(echoes(300, sent=-most, received=-1, packets=-3, every=0.1)) == {}


def test_updates_come_at_each_doubling(reports: Any) -> None:
    found = reports(echoes(45, sent=1640, received=2140))
    assert [report.count for report in found] == [10, 20, 40]
    assert found[0].evidence.techniques[0].id == "T1095"
    assert (found[0].entity, found[0].peers) == ("10.0.0.8", ("198.51.100.20",))
