"""What verdicts report."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.unit


def scans(count: int) -> list[dict[str, Any]]:
    """A sweep over hosts, a sweep over the ports of one, and guesses at a service, by one source each."""
    return [
        flow
        for i in range(count)
        for flow in (
            {"src": "10.0.0.5", "dst": f"93.184.0.{i + 1}", "dst_port": 23, "state": "S0", "at": i},
            {"src": "10.0.0.6", "dst": "93.184.1.1", "dst_port": i + 1, "state": "REJ", "at": i},
            {"src": "10.0.0.7", "dst": "93.184.1.2", "dst_port": 22, "at": i, "orig_bytes": 900, "resp_bytes": 900,
             "service": "ssh", "ssh_auth_success": 0, "ssh_auth_attempts": 6},
        )
    ]  # fmt: skip


def test_no_finding_counts_more_than_the_flows_of_its_source(engine: Any, batch: Any) -> None:
    reports = [report for _, report in engine.analyze(batch(scans(120))).sightings]
    assert {report.evidence.detector for report in reports} == {
        "horizontal-scan", "vertical-scan", "sequential-scan", "brute-force",
    }  # fmt: skip
    for report in reports:
        assert 1 <= report.count <= 120, report.evidence.detector


def test_a_scan_counts_no_less_than_it_measured(engine: Any, batch: Any) -> None:
    reports = [report for _, report in engine.analyze(batch(scans(120))).sightings]
    for report in reports:
        if report.evidence.detector in ("horizontal-scan", "vertical-scan"):
            assert report.count >= report.evidence.measured


def test_evidence_names_what_it_measured(engine: Any, batch: Any) -> None:
    reports = [report for _, report in engine.analyze(batch(scans(120))).sightings]
    assert {report.evidence.detector: report.evidence.measure for report in reports} == {
        "horizontal-scan": "destinations",
        "vertical-scan": "ports",
        "sequential-scan": "likelihood_ratio",
        "brute-force": "attempts",
    }
