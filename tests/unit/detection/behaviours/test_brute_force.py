"""brute-force: golden traces."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit


def logins(count: Any, *, every: Any = 10.0, port: Any = 22, **extra: Any) -> Any:
    return [
        {"src": "203.0.113.4", "dst": "10.0.0.22", "dst_port": port, "state": "SF", "at": i * every,
         "orig_bytes": 1900, "resp_bytes": 2400, "duration_ns": 2 * 10**9, **extra}
        for i in range(count)
    ]  # fmt: skip


def test_thirty_short_ssh_exchanges_look_like_guessing(levels: Any) -> None:
    assert levels(logins(30))["brute-force"] == ThreatLevel.MEDIUM


def test_twenty_nine_do_not(levels: Any) -> None:
    assert levels(logins(29, every=15.0)) == {}


def test_ten_faster_than_a_person_types_are_low(engine: Any, batch: Any) -> None:
    verdicts = engine.analyze(batch(logins(10)))
    (sighting,) = (report for _, report in verdicts.sightings)
    assert sighting.evidence.level == ThreatLevel.LOW
    assert "10 times at tcp/22 of 10.0.0.22 within 2 minutes (10 are allowed)" in sighting.evidence.summary
    assert len(sighting.evidence.flow_ids) == 8


def test_nine_are_not(levels: Any) -> None:
    assert levels(logins(9)) == {}


def test_guessing_that_goes_on_raises_the_same_finding(engine: Any, batch: Any) -> None:
    reports = [report for _, report in engine.analyze(batch(logins(30))).sightings]
    assert len({report.evidence.id for report in reports}) == 1
    levels = [report.evidence.level for report in reports]
    assert (levels[0], levels[-1], levels) == (ThreatLevel.LOW, ThreatLevel.MEDIUM, sorted(levels))


def test_failures_that_the_sensor_judged_are_graver(levels: Any) -> None:
    assert levels(logins(30, ssh_auth_success=False, ssh_auth_attempts=1))["brute-force"] == ThreatLevel.HIGH


def test_attempts_within_one_connection_count(levels: Any) -> None:
    assert "brute-force" in levels(logins(5, ssh_auth_success=False, ssh_auth_attempts=6))


def test_a_job_that_logs_in_every_half_minute_and_succeeds_is_benign(levels: Any) -> None:
    assert levels(logins(200, every=30.0, ssh_auth_success=True, ssh_auth_attempts=1)) == {}


def test_sessions_in_which_somebody_works_are_benign(levels: Any) -> None:
    assert levels(logins(60, orig_bytes=400_000, resp_bytes=900_000)) == {}


def test_a_web_server_is_no_login(levels: Any) -> None:
    assert levels(logins(200, port=443, every=1.0)) == {}


def test_refused_http_logins_count(levels: Any) -> None:
    found = levels(logins(30, port=8080, service="http", http_status_code=401))
    assert found["brute-force"] == ThreatLevel.HIGH


def test_a_service_known_by_name_counts_on_any_port(levels: Any) -> None:
    assert "brute-force" in levels(logins(30, port=2222, service="ssh"))


@pytest.mark.parametrize("service", ["rdp,ssl", "gssapi,smb,ntlm"])
def test_services_are_known_beside_others_in_one_connection(levels: Any, service: Any) -> None:
    assert "brute-force" in levels(logins(30, port=4000, service=service))


def test_slow_guessing_stays_below(levels: Any) -> None:
    assert levels(logins(60, every=90.0)) == {}
