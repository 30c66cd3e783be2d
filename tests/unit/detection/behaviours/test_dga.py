"""dga: golden traces."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import pytest

from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit

NAME = "dga"

ORDINARY = (
    "google",
    "wikipedia",
    "bookstore",
    "weather",
    "github",
    "newspaper",
    "kitchen",
    "holiday",
    "banking",
    "music",
)


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


def made_up(count: Any, tld: Any = "info") -> Any:
    return [f"{hashlib.sha256(str(i).encode()).hexdigest()[:16]}.{tld}" for i in range(count)]


def asked(names: Any, *, code: Any = "NXDOMAIN", every: Any = 1.0, at: Any = 0.0, **extra: Any) -> Any:
    return [
        {"src": "10.0.0.8", "dst": "10.0.0.53", "protocol": 17, "dst_port": 53, "service": "dns", "dns_query": name,
         "dns_response_code": code, "at": at + i * every, "state": "SF", "orig_bytes": 40, "resp_bytes": 90, **extra}
        for i, name in enumerate(names)
    ]  # fmt: skip


def test_ten_generated_domains_that_do_not_exist_are_a_search(levels: Any) -> None:
    assert levels(asked(made_up(10))) == {NAME: ThreatLevel.MEDIUM}


def test_nine_are_not(levels: Any) -> None:
    assert levels(asked(made_up(9))) == {}


def test_twenty_are_graver(levels: Any) -> None:
    assert levels(asked(made_up(20))) == {NAME: ThreatLevel.HIGH}


@pytest.mark.parametrize(
    ("names", "code"),
    [
        pytest.param(made_up(200), "NOERROR", id="names of a content network exist"),
        pytest.param(made_up(200), "SERVFAIL", id="a resolver that is broken"),
        pytest.param(made_up(200), None, id="nobody answered"),
        pytest.param(made_up(1) * 200, "NXDOMAIN", id="one dead domain again and again"),
        pytest.param([f"{head}.office.example.com" for head in made_up(200)], "NXDOMAIN", id="a search suffix"),
        pytest.param([f"{head}.local" for head in made_up(200)], "NXDOMAIN", id="neighbours"),
        pytest.param([head.split(".")[0] for head in made_up(200)], "NXDOMAIN", id="probes of one label"),
        pytest.param([f"{head}.cloudfront.net" for head in ORDINARY * 9], "NXDOMAIN", id="tenants that moved"),
        pytest.param([f"{a}{b}.com" for a in ORDINARY for b in ORDINARY[:2]], "NXDOMAIN", id="words that are wrong"),
    ],
)
def test_benign_lookups(levels: Any, names: Any, code: Any) -> None:
    flows = asked(names, code=code)
    for flow in flows:
        if code is None:
            del flow["dns_response_code"]
    assert levels(flows) == {}


def test_typing_errors_among_domains_that_exist_are_benign(levels: Any) -> None:
    flows = []
    for i, name in enumerate(made_up(30)):
        flows += asked([name], at=i * 100.0)
        flows += asked([f"{word}{i}site.org" for word in ORDINARY[:5]], code="NOERROR", at=i * 100.0 + 10)
    assert levels(flows) == {}


def test_domains_that_the_host_uses_as_ever_do_not_hide_a_search(levels: Any) -> None:
    usual = asked([f"{word}.org" for word in ORDINARY * 40], code="NOERROR", every=0.5)
    assert levels(sorted([*usual, *asked(made_up(30), every=6.0)], key=lambda flow: flow["at"])) == {
        NAME: ThreatLevel.HIGH
    }


def test_updates_come_at_each_doubling(reports: Any) -> None:
    found = reports(asked(made_up(45)))
    assert [report.count for report in found] == [10, 20, 40]
    assert found[0].evidence.techniques[0].id == "T1568.002"
    assert (found[0].entity, found[0].evidence.measure, found[0].evidence.measured) == ("10.0.0.8", "domains", 10)


def test_evidence_is_about_generated_names_and_not_about_others(engine: Any, batch: Any) -> None:
    found = asked(made_up(1, "biz"), code="NOERROR", at=31)
    flows = [*asked(made_up(30)), *found, *asked(["www.wikipedia.org"], code="NOERROR", at=32)]
    verdicts = engine.analyze(batch(flows))
    said = [NAME in {piece.detector for piece in verdicts.evidence(row)} for row in (29, 30, 31)]
    assert said == [True, True, False]


def test_lookups_without_an_answer_are_said_to_be_skipped(engine: Any, batch: Any) -> None:
    flows = asked(made_up(2))
    del flows[1]["dns_response_code"]
    verdicts = engine.analyze(batch(flows))
    assert [NAME in {one.detector for one in verdicts.skipped_at(row)} for row in range(2)] == [False, True]
