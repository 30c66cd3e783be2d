"""Flows on the wire: what is packed is what was there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securenet.detection.v1 import flow_pb2, verdict_pb2
from securenet_client.detection.convert import (
    pack_batch,
    pack_flow,
    protocol_name,
    protocol_number,
    unpack_verdicts,
)
from securenet_client.detection.records import Flow, ThreatLevel
from securenet_core.exceptions import InvalidArgumentError
from securenet_flows.batch import Dictionary, FlowBatch

pytestmark = pytest.mark.unit


def batch(rows: int, **columns: Any) -> FlowBatch:
    return FlowBatch(
        start_time_ns=np.arange(rows, dtype=np.int64) + 1_700_000_000_000_000_000,
        src_addr=np.tile(np.frombuffer(b"\0" * 10 + b"\xff\xff\x0a\0\0\x05", dtype=np.uint8), (rows, 1)),
        dst_addr=np.tile(np.frombuffer(b"\x20\x01" + b"\0" * 14, dtype=np.uint8), (rows, 1)),
        protocol=np.full(rows, 6, dtype=np.uint8),
        **columns,
    )


def texts(column: flow_pb2.StringColumn) -> list[str | None]:
    return [column.values[code - 1] if code else None for code in column.codes]


def test_required_columns_are_packed_in_order() -> None:
    message = pack_batch(batch(3))

    assert list(message.start_time_ns) == [1_700_000_000_000_000_000 + row for row in range(3)]
    assert message.src_addr == (b"\0" * 10 + b"\xff\xff\x0a\0\0\x05") * 3
    assert message.dst_addr == (b"\x20\x01" + b"\0" * 14) * 3
    assert list(message.protocol) == [6, 6, 6]
    assert not message.dst_port
    assert not message.presence


def test_presence_is_a_bitmap_from_the_least_significant_bit() -> None:
    present = np.array([True, False, True, False, False, False, False, False, True])
    columns = {"dst_port": np.arange(9, dtype=np.uint16)}

    message = pack_batch(batch(9, numeric=columns, present={"dst_port": present}))

    assert list(message.dst_port) == list(range(9))
    assert message.presence["dst_port"] == bytes([0b101, 0b1])


def test_a_column_that_is_there_in_every_row_needs_no_bitmap() -> None:
    columns = {"dst_port": np.zeros(2, dtype=np.uint16)}

    assert not pack_batch(batch(2, numeric=columns, present={"dst_port": np.ones(2, dtype=np.bool_)})).presence


def test_labels_are_not_sent() -> None:
    label = Dictionary.encode(["malicious"])

    message = pack_batch(
        batch(1, text={"label": label, "detailed_label": label, "service": Dictionary.encode(["ssh"])})
    )

    assert b"malicious" not in message.SerializeToString()
    assert texts(message.service) == ["ssh"]


def test_a_slice_does_not_send_the_texts_of_its_whole() -> None:
    whole = batch(100, text={"http_host": Dictionary.encode([f"host-{row}" for row in range(99)] + [None])})

    message = pack_batch(whole.take(np.array([7, 99, 3], dtype=np.int64)))

    assert texts(message.http_host) == ["host-7", None, "host-3"]
    assert len(message.http_host.values) == 2


@given(st.lists(st.one_of(st.none(), st.sampled_from("abcdef")), min_size=1, max_size=30), st.data())
def test_texts_survive_slicing_and_packing(values: list[str | None], data: st.DataObject) -> None:
    whole = batch(len(values), text={"service": Dictionary.encode(values)})
    rows = data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=10))

    message = pack_batch(whole.take(np.array(rows, dtype=np.int64)))

    assert texts(message.service) == [values[row] for row in rows]


def test_texts_that_are_too_long_are_cut() -> None:
    columns = {"http_uri": Dictionary.encode(["/" * 5000]), "flow_id": Dictionary.encode(["C" * 500])}

    message = pack_batch(batch(1, text=columns))

    assert len(message.http_uri.values[0]) == 2048
    assert len(message.flow_id[0]) == 128


@pytest.mark.parametrize("rows", [0, 65_537])
def test_a_batch_of_no_rows_or_too_many_is_refused(rows: int) -> None:
    with pytest.raises(InvalidArgumentError, match="expected 1 to 65536"):
        pack_batch(batch(rows))


def test_one_flow_with_its_application() -> None:
    flow = Flow(
        "10.0.0.5", "192.0.2.1", "udp", datetime(2025, 3, 3, 8, tzinfo=UTC), dst_port=53, duration=0.25,
        conn_state="sf", local_orig=False, dns={"query": "example.org", "query_type": "TXT"},
    )  # fmt: skip

    message = pack_flow(flow)

    assert message.protocol == 17
    assert message.start_time.seconds == 1_740_988_800
    assert message.duration.nanos == 250_000_000
    assert message.conn_state == flow_pb2.CONN_STATE_SF
    assert message.dns.query == "example.org"
    assert message.HasField("local_orig")
    assert not message.HasField("src_port")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"protocol": "xyz"}, "expected tcp, udp"),
        ({"protocol": 0}, "expected tcp, udp"),
        ({"conn_state": "NOPE"}, "NOPE"),
        ({"dst_port": "many"}, "flow"),
        ({"dns": {"nothing": 1}}, "nothing"),
        ({"dns": {}, "tls": {}}, "at most one"),
    ],
)
def test_a_wrong_flow_says_what_is_wrong(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        pack_flow(Flow("10.0.0.5", "192.0.2.1", **fields))


def test_protocols_by_name_and_number() -> None:
    assert [protocol_name(number) for number in (1, 6, 17, 58, 200)] == ["icmp", "tcp", "udp", "icmp6", "200"]
    assert [protocol_number(name) for name in ("TCP", "icmpv6", "200", 47)] == [6, 58, 200, 47]


def test_verdicts_become_arrays_with_details_on_demand() -> None:
    message = verdict_pb2.VerdictBatch(threat_level=[1, 3, 0], score=[0.1, 0.9, 0.0])
    detail = message.details.add(row=1)
    detail.verdict.threat_level = verdict_pb2.THREAT_LEVEL_HIGH
    detail.verdict.evidence.add(id="e1", detector="beacon", level=verdict_pb2.THREAT_LEVEL_MEDIUM)
    message.errors.add(row=2, field="dst_port", reason="70000; expected 0 to 65535")

    verdicts = unpack_verdicts(message)

    assert verdicts.threat_level.tolist() == [1, 3, 0]
    assert verdicts.score.dtype == np.float32
    assert verdicts.details[1].threat_level is ThreatLevel.HIGH
    assert list(verdicts.evidence()) == [(1, "e1", "beacon", 2)]
    assert verdicts.errors[0].field == "dst_port"
    assert verdicts.model is None
