"""exfiltration: golden traces."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit

MB = 1_000_000
SERVER = "93.184.216.34"


def upload(megabytes: Any, *, back: Any = 1.0, at: Any = 0.0, **extra: Any) -> Any:
    return {"src": "10.0.0.5", "dst": SERVER, "dst_port": 443, "at": at, "orig_bytes": int(megabytes * MB),
            "resp_bytes": int(back * MB), **extra}  # fmt: skip


def habit(hours: Any, megabytes: Any) -> Any:
    """So many hours in each of which so much is sent, to one place after the other."""
    return [upload(megabytes, at=hour * 3600, dst=f"93.184.0.{hour + 1}") for hour in range(hours)]


def test_half_a_gigabyte_in_an_hour_stands_out(levels: Any) -> None:
    assert levels([upload(100, at=600 * i) for i in range(5)]) == {"exfiltration": ThreatLevel.MEDIUM}


def test_just_below_it_does_not(levels: Any) -> None:
    assert levels([upload(99.9, at=600 * i) for i in range(5)]) == {}


def test_over_several_hours_it_does_not(levels: Any) -> None:
    assert levels([upload(100, at=1500 * i) for i in range(10)]) == {}


def test_to_several_places_it_does_not(levels: Any) -> None:
    assert levels([upload(100, at=60 * i, dst=f"93.184.0.{i + 1}") for i in range(10)]) == {}


def test_a_backup_inside_is_benign(levels: Any) -> None:
    assert levels([upload(900, at=60 * i, dst="10.0.0.9") for i in range(10)]) == {}


def test_a_video_call_and_a_download_are_benign(levels: Any) -> None:
    assert levels([upload(700, back=650)]) == {}
    assert levels([upload(20, back=9000, at=60 * i) for i in range(30)]) == {}


def test_datagrams_that_nobody_answered_carry_nothing_away(levels: Any) -> None:
    assert "exfiltration" not in levels([upload(900, back=0, protocol=17, state="S0") for _ in range(5)])


def test_of_a_long_connection_only_its_share_of_the_hour_counts(levels: Any) -> None:
    ten_hours = {"duration_ns": 36_000 * 10**9}
    assert "exfiltration" not in levels([upload(900, **ten_hours)])
    assert levels([upload(9000, dst="93.184.0.9", back=0.001, **ten_hours)])["exfiltration"] == ThreatLevel.MEDIUM


def test_far_more_than_usual_stands_out_below_the_limit(levels: Any) -> None:
    # Usual is at most 8 MiB an hour (a power of two above 5 MB), eight times that is 67 MB.
    assert levels([*habit(30, 5), upload(100, at=31 * 3600)])["exfiltration"] == ThreatLevel.MEDIUM


def test_below_eight_times_the_usual_it_does_not(levels: Any) -> None:
    assert levels([*habit(30, 5), upload(60, at=31 * 3600)]) == {}


def test_nothing_is_usual_before_a_day_of_hours(levels: Any) -> None:
    assert levels([*habit(20, 5), upload(100, at=31 * 3600)]) == {}


def test_both_make_it_high(levels: Any) -> None:
    assert levels([*habit(30, 5), upload(900, at=31 * 3600)])["exfiltration"] == ThreatLevel.HIGH


def test_a_nightly_backup_to_a_store_outside_becomes_low(engine: Any, batch: Any) -> None:
    levels = []
    for day in range(4):
        flows = [upload(3, at=(day * 24 + hour) * 3600, dst=f"93.184.0.{hour + 1}") for hour in range(23)]
        flows.append(upload(2000, at=(day * 24 + 23) * 3600))
        levels.append(engine.analyze(batch(flows)).evidence(23)[0].level)
    assert levels == [ThreatLevel.MEDIUM, ThreatLevel.LOW, ThreatLevel.LOW, ThreatLevel.LOW]


def test_it_fades_after_the_last_upload_that_counted(engine: Any, batch: Any) -> None:
    asks = [upload(0.001, back=0, at=at) for at in (1800, 3599, 3601)]
    verdicts = engine.analyze(batch([upload(600), *asks]))
    told = [sum(piece.confidence for piece in verdicts.evidence(row)) for row in range(4)]
    assert told[1:] == pytest.approx([told[0] * 0.5**0.5, told[0] * 0.5 ** (3599 / 3600), 0])
    assert told[0] > 0.9


@pytest.mark.parametrize(("port", "technique"), [(443, "T1041"), (21, "T1048")])
def test_what_a_finding_says(engine: Any, batch: Any, port: Any, technique: Any) -> None:
    flows = [upload(300, at=60 * i, dst_port=port) for i in range(8)]
    reports = [s for _, s in engine.analyze(batch(flows)).sightings]
    assert [s.count for s in reports] == [2, 4, 7]
    assert (reports[0].entity, reports[0].peers, reports[0].port) == ("10.0.0.5", (SERVER,), None)
    assert reports[0].evidence.techniques[0].id == technique
    assert reports[0].evidence.measured == pytest.approx(600 * MB)


def test_bytes_beyond_reason_do_not_overflow(engine: Any, batch: Any) -> None:
    flows = [upload(0, at=i, orig_bytes=2**63 - 1, resp_bytes=0) for i in range(300)]
    flows += [upload(0, at=300 + i, orig_bytes=-(2**63), resp_bytes=-1) for i in range(5)]
    verdicts = engine.analyze(batch(flows))
    assert all(piece.measured > 0 for row in range(305) for piece in verdicts.evidence(row))
