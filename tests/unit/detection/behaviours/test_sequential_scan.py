"""sequential-scan: golden traces against the arithmetic of the paper."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit


def contacts(outcomes: Any, *, src: Any = "198.51.100.7", **extra: Any) -> Any:
    """First contacts one a second: `.` succeeds, `x` fails."""
    return [
        {"src": src, "dst": f"10.1.0.{i + 1}", "dst_port": 1000 + i, "at": i, **extra}
        | ({"state": "S0"} if outcome == "x" else {"state": "SF", "orig_bytes": 9_000_000, "resp_bytes": 9_000_000})
        for i, outcome in enumerate(outcomes)
    ]


def test_four_failed_first_contacts_pass_the_upper_bound(levels: Any) -> None:
    # (0.8 / 0.2)^4 = 256 ≥ 99; the third makes 64.
    assert levels(contacts("xxxx"))["sequential-scan"] == ThreatLevel.MEDIUM


def test_three_do_not(levels: Any) -> None:
    assert "sequential-scan" not in levels(contacts("xxx"))


def test_a_success_takes_back_what_a_failure_added(levels: Any) -> None:
    assert "sequential-scan" not in levels(contacts("xxx.x"))
    assert "sequential-scan" in levels(contacts("xxx.xx"))


def test_an_honest_source_with_some_dead_servers_is_benign(levels: Any) -> None:
    assert levels(contacts("...x..x....x...x....")) == {}


def test_the_same_dead_server_counts_once(levels: Any) -> None:
    flows = [{"src": "10.0.0.9", "dst": "10.1.0.1", "dst_port": 80, "state": "S0", "at": i} for i in range(50)]
    assert "sequential-scan" not in levels(flows)


def test_only_tcp_is_walked(levels: Any) -> None:
    assert "sequential-scan" not in levels(contacts("xxxxxxxx", protocol=17))


def test_a_finding_counts_flows_and_its_evidence_names_the_ratio(engine: Any, batch: Any) -> None:
    reports = [report for _, report in engine.analyze(batch(contacts("x" * 12))).sightings]
    reports = [report for report in reports if report.evidence.detector == "sequential-scan"]
    assert [report.count for report in reports] == [4, 8]
    first = reports[0].evidence
    assert (first.measure, first.measured, first.threshold) == (
        "likelihood_ratio", pytest.approx(256, rel=1e-4), pytest.approx(99),
    )  # fmt: skip
    assert "likelihood ratio" in first.summary


def test_what_else_a_source_does_is_attached_lightly_or_not_at_all(engine: Any, batch: Any) -> None:
    lookup = {"src": "198.51.100.7", "dst": "192.0.2.53", "dst_port": 53, "protocol": 17, "at": 6}
    verdicts = engine.analyze(batch([*contacts("xxxxx."), lookup]))
    assert [[piece.level for piece in verdicts.evidence(row)] for row in (4, 5, 6)] == [
        [ThreatLevel.MEDIUM], [ThreatLevel.LOW], [],
    ]  # fmt: skip


def test_success_after_success_ends_the_evidence(engine: Any, batch: Any) -> None:
    verdicts = engine.analyze(batch(contacts("xxxx" + "." * 20)))
    assert verdicts.evidence(5)
    assert not verdicts.evidence(23)
