"""lateral-movement: golden traces."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit

NAME = "lateral-movement"


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


HOUR = 3600


def browsing(*, src: Any = "10.0.0.8", hours: Any = 1.0, first: Any = 0.0) -> Any:
    """A source at its ordinary work: sixty flows an hour."""
    return [
        {"src": src, "dst": "93.184.0.1", "dst_port": 443, "at": first + i * 60.0, "orig_bytes": 900,
         "resp_bytes": 90_000}
        for i in range(int(hours * 60))
    ]  # fmt: skip


def sessions(count: Any, *, src: Any = "10.0.0.8", port: Any = 3389, at: Any = HOUR, net: Any = 1, **extra: Any) -> Any:
    """Sessions with so many hosts, one a minute."""
    return [
        {"src": src, "dst": f"10.0.{net}.{i + 1}", "dst_port": port, "at": at + i * 60.0, "orig_bytes": 90_000,
         "resp_bytes": 90_000, "state": "SF", **extra}
        for i in range(count)
    ]  # fmt: skip


def test_a_known_source_with_several_new_hosts_is_moving(levels: Any) -> None:
    assert levels([*browsing(), *sessions(3)]) == {"lateral-movement": ThreatLevel.MEDIUM}
    assert levels([*browsing(src="10.0.0.9"), *sessions(6, src="10.0.0.9")]) == {"lateral-movement": ThreatLevel.HIGH}


def test_one_or_two_are_worth_a_note(levels: Any) -> None:
    assert levels([*browsing(), *sessions(2)]) == {"lateral-movement": ThreatLevel.LOW}


def test_hosts_that_it_always_administers_are_benign(levels: Any) -> None:
    assert levels([*sessions(3, at=10), *browsing()]) == {}
    for hour in range(2, 6):
        assert levels(sessions(3, at=hour * HOUR)) == {}


def test_a_source_that_nobody_knew_before_is_learnt_first(levels: Any) -> None:
    assert levels(sessions(3, at=0)) == {}
    assert levels(sessions(20, at=0, src="10.0.0.9")) == {"lateral-movement": ThreatLevel.LOW}


def test_few_flows_are_no_acquaintance_however_old(levels: Any) -> None:
    assert levels([*browsing(hours=0.5)[:49], *sessions(3, at=5 * HOUR)]) == {}


def test_a_file_server_that_everybody_uses_is_no_news(levels: Any) -> None:
    others = [flow for i in range(3) for flow in sessions(8, src=f"10.0.9.{i}", port=445, at=i)]
    assert levels(sorted(others, key=lambda flow: flow["at"])) == {"lateral-movement": ThreatLevel.LOW}
    assert levels([*browsing(), *sessions(8, port=445)]) == {}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"state": "S0", "resp_bytes": 0}, "nobody answered"),
        ({"state": "REJ", "resp_bytes": 0}, "refused"),
        ({"protocol": 17}, "UDP"),
        ({"dst_port": 443}, "no administrators' service"),
        ({"local_resp": False}, "not internal, the sensor says"),
    ],
)
def test_what_is_no_administration(levels: Any, change: Any, why: Any) -> None:
    assert "lateral-movement" not in levels([*browsing(), *({**flow, **change} for flow in sessions(8))]), why


def test_slow_steps_stay_below(levels: Any) -> None:
    steps = [{**flow, "at": HOUR + i * 1900.0} for i, flow in enumerate(sessions(8))]
    assert levels([*browsing(), *steps]) == {"lateral-movement": ThreatLevel.LOW}


@pytest.mark.parametrize(
    ("port", "service", "technique"),
    [(3389, None, "T1021.001"), (445, None, "T1021.002"), (22, None, "T1021.004"), (5985, "http", "T1021.006"),
     (2222, "ssh", "T1021.004")],
)  # fmt: skip
def test_each_service_has_its_technique(reports: Any, port: Any, service: Any, technique: Any) -> None:
    named = {} if service is None else {"service": service}
    found = reports([*browsing(), *sessions(3, port=port, **named)])
    assert {report.evidence.techniques[0].id for report in found} == {technique}
    assert [report.count for report in found] == [1, 2]
    assert (found[0].entity, found[0].evidence.id) == ("10.0.0.8", found[1].evidence.id)


def test_evidence_is_about_administration_and_not_about_everything_else(engine: Any, batch: Any) -> None:
    flows = [*browsing(), *sessions(6), *browsing(first=HOUR + 400)[:2]]
    verdicts = engine.analyze(batch(flows))
    said = [{piece.detector for piece in verdicts.evidence(row)} for row in (len(browsing()) + 5, len(flows) - 1)]
    assert [NAME in detectors for detectors in said] == [True, False]
