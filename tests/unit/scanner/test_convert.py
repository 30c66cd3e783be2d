"""Translation at its edges."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from securenet.scanner.v1 import scan_pb2
from securenet_core.exceptions import InvalidArgumentError
from securenet_core.pagination import encode_page_token
from securenet_scanner import convert
from securenet_scanner.network.connecting import PortState
from securenet_scanner.network.ports import PortProfile
from securenet_scanner.network.scopes import loopback
from securenet_scanner.scans.scan import Event, Host, Plan, PortFacts, Progress, Scan, ScanSpec, ScanState, StateChange
from securenet_scanner.scans.stores import Page

pytestmark = pytest.mark.unit

SCAN = Scan(
    id="abc",
    tenant="red",
    spec=ScanSpec(("127.0.0.1",), profile=PortProfile.TOP_100, probe_timeout=0.25, retries=0, description="why"),
    plan=Plan((), ()),
    state=ScanState.RUNNING,
    progress=Progress(100, 50, 2, 1, 1.5),
    created_by="anna",
    create_time=datetime(2026, 1, 1, tzinfo=UTC),
    scopes=("scopes/loopback",),
)


def test_a_specification_survives_the_way_there_and_back() -> None:
    message = convert.scan_message(SCAN)
    assert convert.scan_spec(message.spec) == SCAN.spec
    assert message.spec.HasField("retries")
    assert not convert.scan_message(replace(SCAN, spec=ScanSpec(("x",)))).spec.HasField("retries")
    assert message.progress.remaining.ToNanoseconds() == 1_500_000_000
    assert convert.scan_state(message.state) is ScanState.RUNNING
    assert convert.scan_state(0) is None


def test_a_host_that_talks_on_every_port_does_not_make_the_message_too_large() -> None:
    ports = tuple(PortFacts("127.0.0.1", port, PortState.OPEN, banner="x" * 4096) for port in range(1, 2001))
    message = convert.scan_message(replace(SCAN, hosts=(Host("127.0.0.1", "", ports, ()),)))
    assert len(message.hosts[0].ports) == 2000
    assert message.ByteSize() < 2 << 20


def test_events() -> None:
    response = convert.watch_response("scans/abc", Event(3, StateChange(ScanState.FAILED, "why")))
    assert (response.sequence, response.state_change.state, response.state_change.error) == (
        3,
        scan_pb2.SCAN_STATE_FAILED,
        "why",
    )
    assert convert.watch_response("scans/abc", Event(2, SCAN.progress)).progress.probes_done == 50


@pytest.mark.parametrize("position", [(2**63, "a"), ("1", "a"), (1.5, "a"), (1, None), (1,)])
def test_forged_page_tokens_are_the_callers_mistake(position: tuple[object, ...]) -> None:
    token = encode_page_token(position, (0,))  # type: ignore[arg-type]  # forged
    with pytest.raises(InvalidArgumentError, match="page_token"):
        convert.page(token, 10, 0)


def test_page_tokens_go_on_after_the_last_scan_and_loopback_ends_the_scopes() -> None:
    response = convert.scans_response([SCAN], Page(1), 0)
    assert convert.page(response.next_page_token, 5, 0) == Page(5, (1_767_225_600_000_000, "abc"))
    assert convert.scans_response([SCAN], Page(2), 0).next_page_token == ""
    assert convert.scopes_response([loopback("red")], Page(1)).next_page_token == ""


def test_times_out_of_range_are_located() -> None:
    message = scan_pb2.Scope(cidrs=["10.0.0.0/8"], expire_time=Timestamp(seconds=10**15))
    with pytest.raises(InvalidArgumentError, match=r"scope\.expire_time"):
        convert.scope(message)
