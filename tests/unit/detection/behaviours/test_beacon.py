"""beacon: golden traces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit

SERVER = "93.184.216.34"


def calls(count: Any, *, every: Any = 60.0, jitter: Any = 0.2, seed: Any = 1, start: Any = 0.0, **extra: Any) -> Any:
    """Calls of one host, each early by a random share of the interval, with requests of about one size."""
    rng = np.random.default_rng(seed)
    gaps = every * (1 - jitter * rng.random(count))
    return [
        {"src": "10.0.0.5", "dst": SERVER, "dst_port": 80, "at": start + float(at), "resp_bytes": 300,
         "orig_bytes": 200 + int(rng.integers(0, 8)), **extra}
        for at in np.cumsum(gaps)
    ]  # fmt: skip


def random_calls(count: Any, *, seed: Any = 1) -> Any:
    rng = np.random.default_rng(seed)
    return [
        {"src": "10.0.0.5", "dst": SERVER, "dst_port": 80, "at": float(at), "orig_bytes": 200, "resp_bytes": 300}
        for at in np.cumsum(rng.exponential(60, count))
    ]


def office(hosts: Any, *, dst: Any = "93.184.0.1", at: Any = 0.0) -> Any:
    """One call of each of so many hosts to a destination."""
    return [
        {"src": f"10.0.1.{i + 1}", "dst": dst, "dst_port": 443, "at": at, "orig_bytes": 900, "resp_bytes": 9000}
        for i in range(hosts)
    ]


def test_sixteen_calls_by_the_clock_are_a_beacon(levels: Any) -> None:
    assert levels(calls(16)) == {"beacon": ThreatLevel.MEDIUM}


def test_fifteen_are_not(levels: Any) -> None:
    assert "beacon" not in levels(calls(15))


@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.3, 0.5])
def test_jitter_hides_a_beacon_for_a_while_only(levels: Any, jitter: Any) -> None:
    assert "beacon" in levels(calls(128, jitter=jitter))


def test_calls_at_random_times_are_none(levels: Any) -> None:
    for seed in range(40):
        assert "beacon" not in levels(random_calls(64, seed=seed))


def test_calls_that_failed_do_not_count(levels: Any) -> None:
    assert "beacon" not in levels(calls(40, state="S0", resp_bytes=0))
    assert "beacon" not in levels(calls(40, resp_bytes=0, src="10.0.0.6"))


def test_monitoring_inside_the_network_is_benign(levels: Any) -> None:
    assert "beacon" not in levels(calls(64, jitter=0, dst="10.0.0.9"))


def test_a_clock_is_benign_and_what_pretends_to_be_one_is_not(levels: Any) -> None:
    clock = {"dst_port": 123, "protocol": 17, "orig_bytes": 48, "resp_bytes": 48}
    assert "beacon" not in levels(calls(64, jitter=0, **clock))
    assert (
        levels(calls(64, jitter=0, **{**clock, "orig_bytes": 301, "src": "10.0.0.6"}))["beacon"] == ThreatLevel.MEDIUM
    )


def test_name_service_stays_low(levels: Any) -> None:
    assert levels(calls(32, dst_port=53, protocol=17, orig_bytes=40))["beacon"] == ThreatLevel.LOW


@pytest.mark.parametrize("port", [443, 8883])
def test_where_nobody_knows_what_others_use_encrypted_polls_stay_low(levels: Any, port: Any) -> None:
    alone = calls(32, dst_port=port)
    assert levels(alone) == {"beacon": ThreatLevel.LOW}
    assert levels([*office(12), *alone])["beacon"] == ThreatLevel.MEDIUM


def test_what_many_hosts_use_stays_low(levels: Any) -> None:
    # Certificate status, updates and mail: asked by the clock, and by everybody.
    assert levels([*office(12, dst=SERVER), *calls(32, start=60)])["beacon"] == ThreatLevel.LOW


def test_what_becomes_popular_later_is_low_from_then_on(engine: Any, batch: Any) -> None:
    engine.analyze(batch(calls(32)))
    engine.analyze(batch(office(12, dst=SERVER, at=2000)))
    verdicts = engine.analyze(batch(calls(1, start=2000)))
    assert [piece.level for piece in verdicts.evidence(0)] == [ThreatLevel.LOW]


def test_hours_of_calls_to_a_rare_destination_are_high(levels: Any) -> None:
    assert levels([*office(30), *calls(1000)])["beacon"] == ThreatLevel.HIGH


def test_in_a_network_of_few_known_hosts_nothing_is_rare(levels: Any) -> None:
    assert levels([*office(3), *calls(1000)])["beacon"] == ThreatLevel.MEDIUM


def test_what_is_opened_together_is_one_call(levels: Any) -> None:
    together = [{**call, "at": call["at"] + 0.1 * i} for call in calls(15) for i in range(6)]
    assert "beacon" not in levels(together)


def test_rows_a_little_out_of_order_make_the_same_beacon(levels: Any) -> None:
    flows = calls(64)
    swapped = [flow for pair in zip(flows[1::2], flows[::2], strict=True) for flow in pair]
    assert "beacon" in levels(swapped)


def test_a_beacon_that_turns_irregular_is_forgotten(engine: Any, batch: Any) -> None:
    engine.analyze(batch(calls(32)))
    later = [{**flow, "at": flow["at"] + 3000} for flow in random_calls(200)]
    assert not engine.analyze(batch(later)).evidence(199)


def test_it_fades_after_the_last_call_that_was_answered(engine: Any, batch: Any) -> None:
    beats = calls(32)
    tried = [
        {**beats[-1], "at": beats[-1]["at"] + 3600 * hours, "state": "S0", "resp_bytes": 0} for hours in (0, 1, 3, 25)
    ]
    verdicts = engine.analyze(batch([*beats, *tried, {**beats[-1], "at": beats[-1]["at"] + 25 * 3600}]))
    told = [sum(piece.confidence for piece in verdicts.evidence(row)) for row in range(31, 37)]
    assert told == pytest.approx([told[0], told[0], told[0] / 2, told[0] / 8, 0, 0])
    assert told[0] > 0.9


def test_news_come_as_the_calls_double_or_the_level_rises(engine: Any, batch: Any) -> None:
    reports = [s for _, s in engine.analyze(batch([*office(30), *calls(300)])).sightings]
    counts = [s.count for s in reports if s.evidence.detector == "beacon"]
    assert counts[0] == 16
    assert len(counts) <= 7


def test_what_a_finding_says(engine: Any, batch: Any) -> None:
    sighting = next(s for _, s in engine.analyze(batch(calls(16))).sightings)
    assert (sighting.entity, sighting.peers, sighting.port) == ("10.0.0.5", (SERVER,), 80)
    assert sighting.evidence.techniques[0].id == "T1071"
    assert sighting.evidence.threshold <= sighting.evidence.measured <= 1
    assert sighting.evidence.flow_ids


def test_calls_that_hand_over_data_are_scheduled_transfer(engine: Any, batch: Any) -> None:
    verdicts = engine.analyze(batch(calls(40, every=600, orig_bytes=400_000)))
    assert verdicts.evidence(39)[0].techniques[0].id == "T1029"


def test_a_flood_of_pairs_that_meet_once_pushes_no_beacon_out(batch: Any) -> None:
    state = StateSettings(entities=64, members=64, rings=64, sources=64, contexts=64, hash_seed=1)
    engine = Engine(DetectorSettings(state=state), ModelSlot())
    flows = calls(20)
    engine.analyze(batch(flows[:10]))
    forged = [
        {"src": f"10.{i // 65536}.{i // 256 % 256}.{i % 256}", "dst": SERVER, "dst_port": i % 60_000 + 1,
         "at": flows[9]["at"], "orig_bytes": 1, "resp_bytes": 1}
        for i in range(5000)
    ]  # fmt: skip
    engine.analyze(batch(forged))
    assert "beacon" in {piece.detector for piece in engine.analyze(batch(flows[10:])).evidence(9)}
    usage = next(s.usage for s in engine.detectors() if s.definition.name == "beacon")
    assert usage.evictions > 4000
    assert usage.entries <= usage.capacity


def test_without_sizes_it_is_said_to_be_skipped(engine: Any, batch: Any) -> None:
    flows = [{key: value for key, value in flow.items() if not key.endswith("_bytes")} for flow in calls(16)]
    reasons = {skipped.detector: skipped.reason for skipped in engine.analyze(batch(flows)).skipped_at(0)}
    assert reasons["beacon"] == "orig_bytes is absent"
