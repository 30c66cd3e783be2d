"""password-spray: golden traces."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit

NAME = "password-spray"


def logins(hosts: Any, *, each: Any = 2, **extra: Any) -> Any:
    """Failed log-ins that a sensor judged, a few at each host."""
    return [
        {"src": "10.0.0.5", "dst": f"10.0.1.{i // each + 1}", "dst_port": 22, "at": 3 * i, "service": "ssh",
         "orig_bytes": 2581, "resp_bytes": 2336, "duration_ns": 3 * 10**9, "ssh_auth_success": 0,
         "ssh_auth_attempts": 1, **extra}
        for i in range(hosts * each)
    ]  # fmt: skip


def unjudged(hosts: Any, **extra: Any) -> Any:
    return [
        {name: value for name, value in flow.items() if not name.startswith("ssh_")} for flow in logins(hosts, **extra)
    ]


def test_few_guesses_at_each_of_five_hosts_are_a_spray(levels: Any) -> None:
    found = levels(logins(5))
    assert found[NAME] == ThreatLevel.MEDIUM
    assert "brute-force" not in found


def test_at_four_hosts_or_slowly_they_are_none(levels: Any) -> None:
    assert NAME not in levels(logins(4))
    assert NAME not in levels([flow | {"at": 300 * flow["at"]} for flow in logins(8)])


def test_log_ins_that_succeed_are_none(levels: Any) -> None:
    assert NAME not in levels(logins(20, ssh_auth_success=1))


def test_monitoring_of_log_in_services_stays_low(levels: Any) -> None:
    assert NAME not in levels(unjudged(9))
    assert levels(unjudged(20))[NAME] == ThreatLevel.LOW


def test_what_else_the_source_does_gets_nothing(engine: Any, batch: Any) -> None:
    web = {"src": "10.0.0.5", "dst": "10.0.1.200", "dst_port": 443, "at": 40, "orig_bytes": 9, "resp_bytes": 9}
    work = {"src": "10.0.0.5", "dst": "10.0.1.201", "dst_port": 22, "at": 41, "orig_bytes": 900_000, "resp_bytes": 9}
    verdicts = engine.analyze(batch([*logins(6), web, work]))
    assert not any(piece.detector == NAME for row in (12, 13) for piece in verdicts.evidence(row))


def test_many_guesses_at_many_hosts_are_guessing_and_spraying(engine: Any, batch: Any) -> None:
    reports = [report for _, report in engine.analyze(batch(logins(6, each=40))).sightings]
    assert {technique.id for report in reports for technique in report.evidence.techniques} >= {
        "T1110.001", "T1110.003",
    }  # fmt: skip
    spray = next(report for report in reports if report.evidence.detector == NAME)
    assert (spray.entity, spray.port) == ("10.0.0.5", 22)
    assert "failed to log in at tcp/22 of 5 hosts within 30 minutes (5 are allowed)" in spray.evidence.summary
