"""Single flows out of a batch."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection import grpc_flows
from securenet_detection.flow_samples import FlowFinder, flow_record

pytestmark = pytest.mark.unit

FLOW = {
    "src": "10.0.0.1", "dst": "2001:db8::1", "at": 1.5, "dst_port": 53, "orig_bytes": 0, "sensor_id": "s1",
    "dns_query": "x" * 400, "dns_answer_count": 2, "label": "malicious", "local_orig": True,
}  # fmt: skip


def test_a_flow_keeps_what_it_has_and_no_label(batch: Any) -> None:
    record = flow_record(batch([FLOW, {"src": "10.0.0.2", "dst": "10.0.0.3"}]), 0)
    assert record["src_ip"] == "10.0.0.1"
    assert record["dst_ip"] == "2001:db8::1"
    assert (record["dst_port"], record["orig_bytes"], record["local_orig"]) == (53, 0, 1)
    assert len(str(record["dns_query"])) == 256
    assert "label" not in record
    assert "dst_port" not in flow_record(batch([FLOW, {"src": "10.0.0.2", "dst": "10.0.0.3"}]), 1)


def test_a_record_goes_out_as_it_came(batch: Any) -> None:
    kept = flow_record(batch([{**FLOW, "dns_query": "a.example"}]), 0)
    message = grpc_flows.flow_record(kept)
    again = grpc_flows.rows_as_batch([grpc_flows.flow_row(message)])
    assert flow_record(again, 0) == kept


def test_flows_are_found_by_identity_the_row_itself_first(batch: Any) -> None:
    rows = [{"src": "10.0.0.1", "dst": f"10.0.1.{i}", "flow_id": name} for i, name in enumerate(["a", None, "b", "a"])]
    finder = FlowFinder(batch(rows))
    found = finder.records(3, ["b", "a", "gone"], 10)
    assert [(one.get("flow_id"), one["dst_ip"]) for one in found] == [
        ("a", "10.0.1.3"), ("b", "10.0.1.2"), ("a", "10.0.1.0"),
    ]  # fmt: skip
    assert len(finder.records(3, ["b", "a"], 2)) == 2
    assert "flow_id" not in finder.records(1, [], 10)[0]
