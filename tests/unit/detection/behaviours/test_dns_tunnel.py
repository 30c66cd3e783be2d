"""dns-tunnel: golden traces."""

from __future__ import annotations

import base64
import hashlib
import itertools
from typing import Any

import pytest

from securenet_detection.detector_settings import NameSettings
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit

NAME = "dns-tunnel"


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


def encoded(i: Any, length: Any) -> str:
    digest = b"".join(hashlib.sha256(f"{i}/{k}".encode()).digest() for k in range(4))
    return base64.b32encode(digest).decode().lower()[:length]


def asked(names: Any, *, every: Any = 1.0, src: Any = "10.0.0.8", **extra: Any) -> Any:
    return [
        {"src": src, "dst": "10.0.0.53", "protocol": 17, "dst_port": 53, "service": "dns", "dns_query": name,
         "at": i * every, "state": "SF", "orig_bytes": 60, "resp_bytes": 120, "orig_pkts": 1, "resp_pkts": 1, **extra}
        for i, name in enumerate(names)
    ]  # fmt: skip


def long_names(count: Any, apex: Any = "t1.evil.com") -> Any:
    return [f"{encoded(i, 50)}.{apex}" for i in range(count)]


def test_long_names_under_one_domain_are_a_tunnel(levels: Any) -> None:
    assert levels(asked(long_names(15))) == {NAME: ThreatLevel.HIGH}


def test_one_name_fewer_is_not(levels: Any) -> None:
    assert levels(asked(long_names(14))) == {}


def test_shorter_names_of_encoded_bytes_are_one_too(levels: Any) -> None:
    assert levels(asked([f"{encoded(i, 36)}.evil.com" for i in range(40)])) == {NAME: ThreatLevel.HIGH}


def test_the_same_long_name_again_and_again_is_benign(levels: Any) -> None:
    assert levels(asked(long_names(3) * 100)) == {}


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([f"{encoded(i, 60)}.avts.mcafee.com" for i in range(200)], id="reputation of files"),
        pytest.param([f"{i % 256}.{i // 256}.113.0.203.in-addr.arpa" for i in range(900)], id="reverse"),
        pytest.param([".".join(f"{i:032x}") + ".ip6.arpa" for i in range(900)], id="reverse, IPv6"),
        pytest.param([f"{i}.113.0.203.zen.spamhaus.org" for i in range(900)], id="block list"),
        pytest.param([f"e{i}.dscb.akamaiedge.net" for i in range(99)], id="content network"),
        pytest.param([f"d{i:013x}.cloudfront.net" for i in range(900)], id="tenants of one provider"),
        pytest.param([f"_acme-challenge.host{i}.customer{i}.com" for i in range(300)], id="ACME"),
        pytest.param([f"selector{i % 3}._domainkey.sender{i}.com" for i in range(300)], id="DKIM"),
        pytest.param([f"{encoded(i, 60)}._tcp.local" for i in range(300)], id="local"),
        pytest.param([f"{encoded(i, 60)}" for i in range(300)], id="single labels"),
    ],
)
def test_benign_lookups(levels: Any, names: Any) -> None:
    assert levels(asked(names, every=0.3)) == {}


def test_neighbours_ask_each_other_for_long_names(levels: Any) -> None:
    assert levels(asked([f"{encoded(i, 60)}.printer.com" for i in range(300)], dst_port=5353)) == {}


def test_a_site_names_its_own_domains_and_services(settings: Any, batch: Any) -> None:
    own = NameSettings(local_domains=("corp.acme.com",), reputation_domains=("lookups.vendor.com.",))
    for apex, found in (("corp.acme.com", False), ("x.lookups.vendor.com", False), ("sales.acme.com", True)):
        engine = Engine(settings.model_copy(update={"names": own}), ModelSlot())
        reports = engine.analyze(batch(asked(long_names(40, apex)))).sightings
        assert any(s.evidence.detector == NAME for _, s in reports) == found


@pytest.mark.parametrize(("count", "level"), [(99, None), (100, 1), (499, 1), (500, 2), (799, 2), (800, 3), (1000, 4)])
def test_many_short_names_in_a_day_raise_the_level(levels: Any, count: Any, level: Any) -> None:
    found = levels(asked([f"h{i}.evil.com" for i in range(count)], every=60.0))
    assert found.get(NAME) == level


def test_a_slow_trickle_of_long_names_stays_below_the_window(levels: Any) -> None:
    assert levels(asked(long_names(60), every=25.0)) == {}


def test_one_conversation_of_long_requests_is_suspect_without_names(levels: Any) -> None:
    one = {
        "src": "10.0.0.8",
        "dst": "10.0.0.53",
        "protocol": 17,
        "dst_port": 53,
        "resp_bytes": 30_000,
        "resp_pkts": 150,
    }
    assert levels([{**one, "orig_bytes": 150 * 80, "orig_pkts": 150}]) == {NAME: ThreatLevel.MEDIUM}
    assert levels([{**one, "src": "10.0.0.9", "orig_bytes": 149 * 80, "orig_pkts": 149}]) == {}
    # A resolver that asks for everybody from one port sends many requests, but short ones.
    assert levels([{**one, "src": "10.0.0.7", "orig_bytes": 9000 * 40, "orig_pkts": 9000}]) == {}


def test_updates_come_at_each_doubling_and_name_the_domain(reports: Any) -> None:
    found = [report for report in reports(asked(long_names(70))) if "encoded data" in report.evidence.summary]
    assert [report.count for report in found] == [15, 30, 60]
    assert {report.evidence.id for report in found} == {found[0].evidence.id}
    assert (found[0].entity, found[0].peer_scope, found[0].port) == ("10.0.0.8", "evil.com", 53)
    assert found[0].evidence.techniques[0].id == "T1048.003"
    assert len(found[0].evidence.flow_ids) == 10


def test_evidence_is_about_one_domain_and_not_about_other_lookups(engine: Any, batch: Any) -> None:
    flows = asked([*long_names(20), "www.example.org"])
    verdicts = engine.analyze(batch(flows))
    said = [NAME in {piece.detector for piece in verdicts.evidence(row)} for row in (19, 20)]
    assert said == [True, False]


def test_lookups_without_a_name_are_said_to_be_skipped(engine: Any, batch: Any) -> None:
    flows = [*asked(["www.example.com"]), *asked(["x"]), {"src": "10.0.0.8", "dst": "10.0.0.9", "dst_port": 443}]
    del flows[1]["dns_query"]
    verdicts = engine.analyze(batch(flows))
    skipped = [{one.detector for one in verdicts.skipped_at(row)} for row in range(3)]
    assert [NAME in names for names in skipped] == [False, True, False]
