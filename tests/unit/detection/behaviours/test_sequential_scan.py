"""sequential-scan: golden traces against the arithmetic of the paper."""

from __future__ import annotations

import pytest

from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit


def contacts(outcomes, *, src="198.51.100.7", **extra):
    """First contacts one a second: `.` succeeds, `x` fails."""
    return [
        {"src": src, "dst": f"10.1.0.{i + 1}", "dst_port": 1000 + i, "at": i, **extra}
        | ({"state": "S0"} if outcome == "x" else {"state": "SF", "orig_bytes": 9_000_000, "resp_bytes": 9_000_000})
        for i, outcome in enumerate(outcomes)
    ]


def test_four_failed_first_contacts_pass_the_upper_bound(levels):
    # (0.8 / 0.2)^4 = 256 ≥ 99; the third makes 64.
    assert levels(contacts("xxxx"))["sequential-scan"] == ThreatLevel.MEDIUM


def test_three_do_not(levels):
    assert "sequential-scan" not in levels(contacts("xxx"))


def test_a_success_takes_back_what_a_failure_added(levels):
    assert "sequential-scan" not in levels(contacts("xxx.x"))
    assert "sequential-scan" in levels(contacts("xxx.xx"))


def test_an_honest_source_with_some_dead_servers_is_benign(levels):
    assert levels(contacts("...x..x....x...x....")) == {}


def test_the_same_dead_server_counts_once(levels):
    flows = [{"src": "10.0.0.9", "dst": "10.1.0.1", "dst_port": 80, "state": "S0", "at": i} for i in range(50)]
    assert "sequential-scan" not in levels(flows)


def test_only_tcp_is_walked(levels):
    assert "sequential-scan" not in levels(contacts("xxxxxxxx", protocol=17))


def test_success_after_success_ends_the_evidence(engine, batch):
    verdicts = engine.analyze(batch(contacts("xxxx" + "." * 20)))
    assert verdicts.evidence(5)
    assert not verdicts.evidence(23)
