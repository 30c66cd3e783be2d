"""horizontal-scan: golden traces."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit


def sweep(
    count: int,
    *,
    src: str = "10.0.0.5",
    net: str = "93.184",
    port: int = 445,
    state: str = "S0",
    every: float = 1.5,
    **extra: Any,
) -> list[dict[str, Any]]:
    return [
        {
            "src": src,
            "dst": f"{net}.{i // 250}.{i % 250 + 1}",
            "dst_port": port,
            "state": state,
            "at": i * every,
            **extra,
        }
        for i in range(count)
    ]


def test_a_sweep_of_remote_hosts_is_found(levels: Any) -> None:
    assert levels(sweep(25))["horizontal-scan"] == ThreatLevel.HIGH


def test_one_host_fewer_is_not(levels: Any) -> None:
    assert "horizontal-scan" not in levels(sweep(24))


def test_local_hosts_have_a_higher_threshold(levels: Any) -> None:
    assert levels(sweep(249, net="10.9", every=0.5))["horizontal-scan"] == ThreatLevel.LOW
    assert levels(sweep(250, net="10.8", every=0.5))["horizontal-scan"] == ThreatLevel.HIGH


def test_ten_hosts_at_once_are_low_and_what_answers_beside_them_gets_nothing(engine: Any, batch: Any) -> None:
    answered = {"src": "10.0.0.5", "dst": "93.184.9.9", "dst_port": 445, "state": "SF", "at": 2}
    verdicts = engine.analyze(batch([*sweep(10, every=0.2), answered]))
    (sighting,) = (s for _, s in verdicts.sightings if s.evidence.detector == "horizontal-scan")
    assert sighting.evidence.level == ThreatLevel.LOW
    assert sighting.evidence.summary == "10.0.0.5 tried tcp/445 on 10 remote hosts within 10 seconds (10 are allowed)"
    assert not any(piece.detector == "horizontal-scan" for piece in verdicts.evidence(10))


def test_nine_at_once_are_none(levels: Any) -> None:
    assert "horizontal-scan" not in levels(sweep(9, every=0.2))


def test_who_asks_many_whether_they_are_there_looks_for_hosts(engine: Any, batch: Any) -> None:
    pings = sweep(12, net="10.9", every=0.2, port=0, protocol=1, src_port=8, state="OTH", resp_bytes=56)
    (sighting,) = (s for _, s in engine.analyze(batch(pings)).sightings)
    assert sighting.evidence.level == ThreatLevel.LOW
    assert [technique.id for technique in sighting.evidence.techniques] == ["T1018"]


def test_what_the_sensor_says_of_the_responder_goes_before_its_address(levels: Any) -> None:
    assert "horizontal-scan" in levels(sweep(25, net="10.9", local_resp=False))


def test_a_crawler_whose_connections_succeed_is_benign(levels: Any) -> None:
    assert levels(sweep(300, state="SF", orig_bytes=500, resp_bytes=9000, every=0.5)) == {}


def test_the_same_dead_host_asked_again_and_again_is_benign(levels: Any) -> None:
    flows = [{"src": "10.0.0.5", "dst": "93.184.0.1", "dst_port": 445, "state": "S0", "at": i} for i in range(200)]
    assert "horizontal-scan" not in levels(flows)


def test_a_slow_sweep_stays_below_the_window(levels: Any) -> None:
    assert "horizontal-scan" not in levels(sweep(60, every=20.0))


def test_multicast_never_fails(levels: Any) -> None:
    assert "horizontal-scan" not in levels(sweep(60, net="239.1", port=1900, protocol=17))


def test_the_internet_scanning_is_graver_to_nobody_than_medium(levels: Any) -> None:
    assert levels(sweep(40, src="198.51.100.9"))["horizontal-scan"] == ThreatLevel.MEDIUM


def test_evidence_stays_with_the_key_and_goes_after_the_window(engine: Any, batch: Any) -> None:
    engine.analyze(batch(sweep(30)))
    same_key = {"src": "10.0.0.5", "dst": "93.184.9.9", "dst_port": 445, "state": "SF"}
    other_port = {**same_key, "dst_port": 443}
    verdicts = engine.analyze(batch([{**same_key, "at": 40}, {**other_port, "at": 41}, {**same_key, "at": 400}]))
    shown = [{piece.detector for piece in verdicts.evidence(row)} for row in range(3)]
    assert ["horizontal-scan" in detectors for detectors in shown] == [True, False, False]


def test_the_first_finding_and_then_one_at_each_doubling(engine: Any, batch: Any) -> None:
    verdicts = engine.analyze(batch(sweep(110)))
    rows = [row for row, sighting in verdicts.sightings if sighting.evidence.detector == "horizontal-scan"]
    assert rows == [24, 49, 99]
    first = verdicts.sightings[0][1]
    ids = {
        sighting.evidence.id for _, sighting in verdicts.sightings if sighting.evidence.detector == "horizontal-scan"
    }
    assert len(ids) == 1
    assert first.entity == "10.0.0.5"


def test_a_finding_names_at_most_ten_flows_all_seen_before_it(engine: Any, batch: Any) -> None:
    verdicts = engine.analyze(batch(sweep(30)))
    sighting = next(s for _, s in verdicts.sightings if s.evidence.detector == "horizontal-scan")
    assert 1 <= len(sighting.evidence.flow_ids) <= 10
    assert all(int(flow_id[1:]) <= 24 for flow_id in sighting.evidence.flow_ids)
    assert "25 remote hosts" in sighting.evidence.summary


@pytest.mark.parametrize("at", [-1_767_225_600, -4_000_000_000, 7_000_000_000])
def test_a_timestamp_of_another_age_does_not_hide_a_scan(levels: Any, at: Any) -> None:
    flows = sweep(25)
    flows.insert(10, {**flows[0], "dst": "93.184.7.7", "at": at})
    found = levels([*flows, *({**flow, "at": flow["at"] + 30, "dst": "93.185.0.1"} for flow in flows[:1])])
    assert ("horizontal-scan" in found) == (at < 0)


def test_a_clock_set_back_starts_anew(levels: Any) -> None:
    future = [{**flow, "at": flow["at"] + 86_400} for flow in sweep(3)]
    assert "horizontal-scan" in levels([*future, *sweep(60)])


def test_flows_out_of_order_within_the_window_count(levels: Any) -> None:
    assert "horizontal-scan" in levels(sweep(25)[::-1])


def test_what_comes_later_in_a_batch_does_not_change_what_was_said_before(settings: Any, batch: Any) -> None:
    later = [{**flow, "at": flow["at"] + 10_000} for flow in sweep(25)]
    flows = batch([*sweep(25), *later])
    whole = Engine(settings, ModelSlot()).analyze(flows)
    first = Engine(settings, ModelSlot()).analyze(flows.take(slice(0, 25)))
    assert whole.evidence(24) == first.evidence(24)
    assert whole.evidence(24)[0].flow_ids
