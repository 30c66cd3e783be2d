"""The detector: who reached out, what was asked for, how sure the feed is, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from securenet_detection.detector_settings import DetectorSettings, StateSettings, ThreatIntelSettings
from securenet_detection.engine import Engine
from securenet_detection.intel.index import IntelIndex
from securenet_detection.intel.indicators import IndicatorKind
from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit

LISTED = "203.0.113.9"
HOST = "10.0.0.5"


class Shelf:
    """An index for one tenant."""

    def __init__(self, index: IntelIndex | None, tenant: str = "default") -> None:
        self.index_of = {tenant: index}

    def index(self, tenant: str) -> IntelIndex | None:
        return self.index_of.get(tenant)


@pytest.fixture
def engine_with(models: Any, index: Any) -> Callable[..., Engine]:
    def make(feeds: Any, warnings: Any = None, settings: ThreatIntelSettings | None = None, **header: Any) -> Engine:
        state = StateSettings(entities=1024, members=4096, contexts=1024, hash_seed=7)
        detectors = DetectorSettings(state=state, threat_intel=settings or ThreatIntelSettings())
        return Engine(detectors, models, Shelf(index(feeds, warnings, **header)))

    return make


def evidence(engine: Engine, batch: Any, flow: dict[str, Any], **options: Any) -> Any:
    verdicts = engine.analyze(batch([flow]), **options)
    return next((one for one in verdicts.evidence(0) if one.detector == "threat-intel"), None)


def test_reaching_out_is_graver_than_being_knocked_at(engine_with: Any, batch: Any) -> None:
    engine = engine_with({"f": LISTED}, confidence=90)
    flows = {
        "outbound": {"src": HOST, "dst": LISTED, "dst_port": 443},
        "outbound unanswered": {"src": HOST, "dst": LISTED, "dst_port": 443, "state": "S0"},
        "inbound": {"src": LISTED, "dst": HOST, "dst_port": 443},
        "inbound refused": {"src": LISTED, "dst": HOST, "dst_port": 443, "state": "REJ"},
    }
    found = {name: evidence(engine, batch, {**flow, "flow_id": name}) for name, flow in flows.items()}
    assert {name: one.level for name, one in found.items()} == {
        "outbound": ThreatLevel.CRITICAL, "outbound unanswered": ThreatLevel.HIGH, "inbound": ThreatLevel.HIGH,
        "inbound refused": ThreatLevel.LOW,
    }  # fmt: skip
    assert all(one.summary.startswith(HOST) for one in found.values())


def test_the_feeds_confidence_sets_the_level(engine_with: Any, batch: Any) -> None:
    levels = []
    for confidence in (5, 20, 50, 90):
        engine = engine_with({"f": LISTED}, confidence=confidence)
        verdicts = engine.analyze(batch([{"src": HOST, "dst": LISTED, "dst_port": 443}]))
        levels.append((int(verdicts.threat_level[0]), [one.level for one in verdicts.evidence(0)]))
    assert levels == [
        (ThreatLevel.LOW, []), (ThreatLevel.LOW, [ThreatLevel.MEDIUM]), (ThreatLevel.LOW, [ThreatLevel.HIGH]),
        (ThreatLevel.HIGH, [ThreatLevel.CRITICAL]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("listed", "fields", "kind"),
    [
        ("evil.example", {"dns_query": "A.b.EVIL.example."}, ""),
        ("evil.example", {"tls_server_name": "evil.example"}, ""),
        ("evil.example", {"http_host": "evil.example:8080"}, ""),
        ("http://evil.example/a?b", {"http_host": "Evil.example", "http_uri": "/a?b"}, ""),
        ("http://evil.example/a", {"http_host": "proxy", "http_uri": "http://evil.example/a"}, ""),
        ("http://evil.example:8080/a", {"http_host": "evil.example:8080", "http_uri": "/a#x"}, ""),
        ("t13d1516h2_8daaf6152771_b186095e22b6", {"tls_ja4": "t13d1516h2_8daaf6152771_b186095e22b6"}, ""),
        ("b" * 32, {"tls_ja3": "B" * 32}, "JA3"),
        ("c" * 64, {"tls_certificate_sha256": "c" * 64}, "CERTIFICATE_SHA256"),
    ],
)
def test_every_column_is_compared(engine_with: Any, batch: Any, listed: str, fields: Any, kind: str) -> None:
    engine = engine_with({"f": listed}, kind=IndicatorKind[kind] if kind else None)
    flow = {"src": HOST, "dst": "198.51.100.1", "dst_port": 443, **fields}
    found = evidence(engine, batch, flow)
    assert found is not None
    assert found.level >= ThreatLevel.HIGH
    other = {
        name: value.lower().replace("evil", "kind").replace(value[-1].lower(), "0") for name, value in fields.items()
    }
    assert evidence(engine, batch, {**flow, **other, "flow_id": "D"}) is None


def test_a_name_that_does_not_exist_is_less_grave(engine_with: Any, batch: Any) -> None:
    engine = engine_with({"f": "evil.example"})
    flow = {"src": HOST, "dst": "10.0.0.53", "dst_port": 53, "dns_query": "evil.example"}
    assert evidence(engine, batch, flow).level == ThreatLevel.CRITICAL
    assert evidence(engine, batch, {**flow, "dns_response_code": "NXDOMAIN", "flow_id": "D"}).level == ThreatLevel.HIGH


def test_what_a_warning_list_names_is_not_evidence(engine_with: Any, batch: Any) -> None:
    engine = engine_with({"f": "203.0.113.0/24\nevil.example"}, {"w": f"{LISTED}\ngood.evil.example"})
    for number, (flow, stands) in enumerate(
        [
            ({"dst": LISTED}, False), ({"dst": "203.0.113.8"}, True), ({"dns_query": "a.good.evil.example"}, False),
            ({"dns_query": "bad.evil.example"}, True),
        ]
    ):  # fmt: skip
        found = evidence(engine, batch, {"src": HOST, "dst": "10.0.0.53", "flow_id": f"W{number}", **flow})
        assert (found is not None) is stands


def test_validity_is_by_the_flows_own_time(engine_with: Any, batch: Any) -> None:
    header = "ip,valid_from,valid_until\n"
    engine = engine_with({"f": f"{header}{LISTED},2026-01-01,2026-01-03\n"})
    day = 86_400
    found = [
        evidence(engine, batch, {"src": HOST, "dst": LISTED, "at": at * day, "flow_id": f"T{at}"}) is not None
        for at in (-40, -20, 0, 1, 2, 3)
    ]
    assert found == [False, True, True, True, False, False]


def test_findings_begin_once_and_have_news_when_they_double(engine_with: Any, batch: Any) -> None:
    engine = engine_with({"f": f"{LISTED}\n203.0.113.10"})
    flows = [{"src": HOST, "dst": LISTED, "dst_port": 443, "at": at, "flow_id": f"C{at}"} for at in range(8)]
    reported = [sighting for _, sighting in engine.analyze(batch(flows)).sightings]
    assert [sighting.count for sighting in reported] == [1, 2, 4, 8]
    assert {sighting.evidence.id for sighting in reported} == {reported[0].evidence.id}
    other = engine.analyze(batch([{"src": HOST, "dst": "203.0.113.10", "flow_id": "D"}])).sightings
    assert other[0][1].evidence.id != reported[0].evidence.id
    assert other[0][1].entity == HOST


def test_a_dry_run_sees_and_does_not_report(engine_with: Any, batch: Any) -> None:
    engine = engine_with({"f": LISTED})
    flow = {"src": HOST, "dst": LISTED}
    assert evidence(engine, batch, flow, dry_run=True) is not None
    assert not engine.analyze(batch([flow]), dry_run=True).sightings


def test_tenants_have_feeds_of_their_own(engine_with: Any, batch: Any) -> None:
    engine = engine_with({"f": LISTED})
    assert evidence(engine, batch, {"src": HOST, "dst": LISTED}, tenant="other") is None
    verdicts = engine.analyze(batch([{"src": HOST, "dst": LISTED}]), tenant="other")
    assert "threat-intel" in {skipped.detector for skipped in verdicts.skipped}


def test_a_piece_of_a_large_batch_is_judged_as_the_whole(engine_with: Any, batch: Any) -> None:
    engine = engine_with({"f": "evil.example"})
    flows = [
        {
            "src": HOST,
            "dst": "10.0.0.53",
            "dns_query": f"n{n}.evil.example" if n % 3 else f"n{n}.example",
            "flow_id": f"P{n}",
        }
        for n in range(30)
    ]
    piece = batch(flows).take(slice(10, 14))
    verdicts = engine.analyze(piece)
    assert [bool(verdicts.evidence(row)) for row in range(4)] == [True, True, False, True]
