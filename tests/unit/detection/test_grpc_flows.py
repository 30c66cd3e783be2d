"""Flows: columns and records become the same batch, bad values are located."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from securenet.detection.v1 import flow_pb2
from securenet_core.exceptions import InvalidArgumentError
from securenet_detection import grpc_flows

pytestmark = pytest.mark.unit

V4 = b"\0" * 10 + b"\xff\xff\x0a\0\0\1"


def columns(rows: Any = 4, **changes: Any) -> Any:
    fields = {
        "start_time_ns": range(1, rows + 1),
        "src_addr": V4 * rows,
        "dst_addr": V4 * rows,
        "protocol": [6] * rows,
        **changes,
    }
    return flow_pb2.FlowBatch(**fields)


def test_columns_become_a_batch() -> None:
    message = columns(
        dst_port=[1, 2, 3, 65535], duration_ns=[0, 1, 2, 3], orig_bytes=[2**63 - 1, 0, 0, 0], local_orig=[True] * 4,
        conn_state=[1, 0, 13, 3], flow_id=["a", "b", "c", "d"],
        service=flow_pb2.StringColumn(values=["dns", "ssl"], codes=[1, 0, 2, 1]),
        presence={"duration_ns": bytes([0b1101])},
    )  # fmt: skip
    result = grpc_flows.flow_batch(message)
    assert (result.rows, result.errors) == (None, [])
    batch = result.batch
    assert batch.start_time_ns.tolist() == [1, 2, 3, 4]
    assert batch.numeric["dst_port"].tolist() == [1, 2, 3, 65535]
    assert batch.has("duration_ns").tolist() == [True, False, True, True]
    assert batch.has("conn_state").tolist() == [True, False, True, True]
    assert batch.texts("service").decode() == ["dns", None, "ssl", "dns"]
    assert batch.texts("flow_id").decode() == ["a", "b", "c", "d"]
    assert not batch.has("resp_bytes").any()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"src_addr": V4}, "batch.src_addr"),
        ({"dst_addr": V4 * 5}, "batch.dst_addr"),
        ({"protocol": []}, "batch.protocol"),
        ({"protocol": [6]}, "batch.protocol"),
        ({"dst_port": [1]}, "batch.dst_port"),
        ({"orig_bytes": [1] * 5}, "batch.orig_bytes"),
        ({"flow_id": ["a"]}, "batch.flow_id"),
        ({"service": flow_pb2.StringColumn(values=["x"], codes=[1])}, "batch.service.codes"),
        ({"dst_port": [1] * 4, "presence": {"dst_port": b"\0\0"}}, "presence['dst_port']"),
        ({"presence": {"nonsense": b"\0"}}, "presence['nonsense']"),
    ],
)
def test_a_column_that_does_not_fit_is_named(changes: Any, field: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        grpc_flows.flow_batch(columns(**changes))
    assert field in caught.value.fields[0].field


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("dst_port", [1, 65536, 3, 4]),
        ("src_port", [1, 2**32 - 1, 3, 4]),
        ("protocol", [6, 0, 6, 6]),
        ("protocol", [6, 256, 6, 6]),
        ("duration_ns", [0, -1, 0, 0]),
        ("orig_bytes", [0, 2**63, 0, 0]),
        ("conn_state", [1, 14, 1, 1]),
        ("http_status_code", [200, 1000, 200, 200]),
        ("dns_answer_count", [0, 2**31, 0, 0]),
    ],
)
def test_a_bad_value_costs_its_row_alone(field: Any, values: Any) -> None:
    result = grpc_flows.flow_batch(columns(**{field: values}))
    assert [(error.row, error.field) for error in result.errors] == [(1, field)]
    assert "expected" in result.errors[0].reason
    assert result.rows is not None
    assert result.rows.tolist() == [0, 2, 3]
    assert result.batch.start_time_ns.tolist() == [1, 3, 4]


def test_a_bad_value_where_the_column_is_absent_means_nothing() -> None:
    result = grpc_flows.flow_batch(columns(dst_port=[1, 99999, 3, 4], presence={"dst_port": bytes([0b1101])}))
    assert not result.errors


def test_a_code_beyond_its_dictionary_costs_its_row() -> None:
    result = grpc_flows.flow_batch(columns(service=flow_pb2.StringColumn(values=["x"], codes=[1, 2, 0, 1])))
    assert [(error.row, error.field) for error in result.errors] == [(1, "service")]
    assert result.batch.texts("service").decode() == ["x", None, "x"]


def record(**changes: Any) -> Any:
    fields = {
        "flow_id": "C1", "start_time": Timestamp(seconds=10, nanos=5), "src_ip": "10.0.0.1", "dst_ip": "2001:db8::1",
        "protocol": 6, **changes,
    }  # fmt: skip
    return flow_pb2.FlowRecord(**fields)


def test_a_record_becomes_a_row_and_absent_is_not_zero() -> None:
    full = record(src_port=1, dst_port=0, service="http", conn_state=3, orig_bytes=7, local_orig=False)
    full.duration.FromNanoseconds(1500)
    full.http.status_code = 401
    full.http.uri = "/"
    bare = record(flow_id="")
    batch = grpc_flows.rows_as_batch([grpc_flows.flow_row(full), grpc_flows.flow_row(bare)])
    assert batch.start_time_ns.tolist() == [10_000_000_005] * 2
    assert batch.src_addr[0].tobytes() == V4
    assert batch.has("dst_port").tolist() == [True, False]
    assert batch.has("local_orig").tolist() == [True, False]
    assert batch.number("http_status_code").tolist() == [401, 0]
    assert batch.texts("http_uri").decode() == ["/", None]
    assert batch.texts("flow_id").decode() == ["C1", None]
    assert batch.number("duration_ns").tolist() == [1500, 0]
    assert not batch.has("resp_bytes").any()


def test_every_field_of_a_record_has_its_column() -> None:
    full = record(
        src_port=1, dst_port=2, service="s", orig_bytes=1, resp_bytes=2, orig_ip_bytes=3, resp_ip_bytes=4, orig_pkts=5,
        resp_pkts=6, conn_state=1, history="S", missed_bytes=7, local_orig=True, local_resp=True, sensor_id="x",
        community_id="1:y",
    )  # fmt: skip
    full.duration.seconds = 1
    batch = grpc_flows.rows_as_batch([grpc_flows.flow_row(full)])
    own = {field.name for field in flow_pb2.FlowRecord.DESCRIPTOR.fields} - {
        "start_time", "src_ip", "dst_ip", "protocol", "dns", "tls", "http", "ssh", "duration",
    }  # fmt: skip
    assert own <= {*batch.numeric, *batch.text}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"start_time": Timestamp(seconds=253402300799)}, "flow.start_time"),
        ({"protocol": 300}, "flow.protocol"),
        ({"src_ip": "nonsense"}, "flow.src_ip"),
    ],
)
def test_a_value_that_cannot_be_kept_is_named(changes: Any, field: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=field):
        grpc_flows.flow_row(record(**changes))


def test_packed_addresses_may_be_views() -> None:
    batch = grpc_flows.flow_batch(columns()).batch
    assert batch.src_addr.shape == (4, 16)
    assert batch.src_addr.dtype == np.uint8
