"""odd-port: golden traces."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from securenet_detection.detector_settings import OddPortSettings
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit

NAME = "odd-port"


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


def talk(service: Any, port: Any, *, count: Any = 1, dst: Any = "198.51.100.20", **extra: Any) -> Any:
    return [
        {"src": "10.0.0.8", "dst": dst, "dst_port": port, "service": service, "at": i, "state": "SF",
         "orig_bytes": 400_000, "resp_bytes": 900_000, **extra}
        for i in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("service", "port"), [("ssh", 443), ("ssh", 4444), ("ftp", 8080), ("dns", 80), ("irc", 443), ("ssh,ftp", 80)]
)
def test_a_service_that_leaves_on_another_port_is_odd(levels: Any, service: Any, port: Any) -> None:
    assert levels(talk(service, port)) == {"odd-port": ThreatLevel.MEDIUM}


@pytest.mark.parametrize(("service", "port"), [("http", 53), ("ssl", 22), ("http", 22), ("ssl", 6667), ("http", 443)])
def test_web_protocols_are_odd_only_where_others_live_and_only_a_little(levels: Any, service: Any, port: Any) -> None:
    assert levels(talk(service, port)) == {"odd-port": ThreatLevel.LOW}


@pytest.mark.parametrize(
    ("service", "port"),
    [("ssh", 22), ("ssh", 2222), ("http", 8080), ("http", 5985), ("http", 49152), ("ssl", 8443), ("ssl", 587),
     ("dns", 5353), ("gssapi,smb,dce_rpc,ntlm", 445), ("smb,gssapi,krb", 445), ("rdp,ssl", 3389), ("ssl,smtp", 25),
     ("spicy_thing", 7), ("", 443), (",,,", 443), ("-", 22)],
)  # fmt: skip
def test_registered_and_usual_ports_are_benign(levels: Any, service: Any, port: Any) -> None:
    assert levels(talk(service, port, count=50)) == {}


def test_inside_the_network_it_is_worth_a_note(levels: Any) -> None:
    assert levels(talk("ssh", 443, dst="10.0.0.9")) == {"odd-port": ThreatLevel.LOW}


def test_a_connection_that_nobody_answered_is_none(levels: Any) -> None:
    assert levels(talk("ssh", 443, state="S0")) == {}
    assert levels(talk("ssh", 443, resp_bytes=0)) == {}


def test_below_the_threshold(settings: Any, batch: Any) -> None:
    patient = settings.model_copy(update={"odd_port": OddPortSettings(flows=3)})
    assert not Engine(patient, ModelSlot()).analyze(batch(talk("ssh", 443, count=2))).sightings
    assert Engine(patient, ModelSlot()).analyze(batch(talk("ssh", 443, count=3))).sightings


def test_a_site_may_run_what_it_likes_on_its_own_ports(settings: Any, batch: Any) -> None:
    own = settings.model_copy(update={"odd_port": OddPortSettings(allowed_ports=(443,))})
    verdicts = Engine(own, ModelSlot()).analyze(batch([*talk("ssh", 443), *talk("ssh", 444)]))
    assert [row for row, _ in verdicts.sightings] == [1]


def test_hostile_names_of_services_are_read_to_a_bound(levels: Any) -> None:
    names = ["x" * 65_536, "," * 65_536, "ssh" + "," * 60_000 + "ftp", "ſsh", "\udce4", "ssh\0", *map(str, range(400))]
    assert levels([flow for name in names for flow in talk(name, 443)]) == {"odd-port": ThreatLevel.MEDIUM}


def test_rows_without_a_service_are_said_to_be_skipped(engine: Any, batch: Any) -> None:
    flows = [*talk("ssh", 22), *talk("ssh", 22)]
    del flows[1]["service"]
    verdicts = engine.analyze(batch(flows))
    assert "odd-port" not in {skipped.detector for skipped in verdicts.skipped_at(0)}
    assert "odd-port" in {skipped.detector for skipped in verdicts.skipped_at(1)}


def test_the_finding_names_what_is_spoken_where(reports: Any) -> None:
    found = reports(talk("ssh", 443, count=5))
    assert [report.count for report in found] == [1, 2, 4]
    assert found[0].evidence.techniques[0].id == "T1571"
    assert "speaks ssh with 198.51.100.20 on tcp/443" in found[0].evidence.summary
