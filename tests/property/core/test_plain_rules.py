"""What is let pass without the rules' engine, the engine would let pass."""

from __future__ import annotations

from typing import Any

import protovalidate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securenet.detection.v1 import detection_pb2, flow_pb2
from securenet_core.plain_rules import accepting

pytestmark = pytest.mark.unit

ENGINE = protovalidate.Validator()
ACCEPTS = accepting(detection_pb2.AnalyzeRequest.DESCRIPTOR)

NUMBERS = st.sampled_from([0, 1, 443, 65_535, 65_536, 2**31, 2**32 - 1])
AMOUNTS = st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1])
TEXTS = st.builds(
    lambda letter, length: letter * length,
    st.sampled_from(["a", "é", "中", "🦊", "\0"]),
    st.sampled_from([0, 1, 15, 16, 17, 32, 33, 64, 65, 128, 129, 255, 256, 257, 512, 513, 2048, 2049]),
)
ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(["", "10.0.0.1", "10.0.0.01", "10.0.0", "10.0.0.256", "::", "::1", "fe80::1%eth0", "::ffff:1.2.3.4",
                     "1::2::3", "10.0.0.1 ", " 10.0.0.1", "10.0.0.1\0", "0x0a.1.1.1", "::ffff:1.2.3.04", "::1.2.3.4",
                     "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:9", "12345::", ":::"]),
    st.text("0123456789abcdef:.%/ ", max_size=24),
)  # fmt: skip
DURATIONS = st.builds(
    lambda seconds, nanos: {"seconds": seconds, "nanos": nanos},
    st.sampled_from([-(10**12), -1, 0, 1, 315_576_000_000, 315_576_000_001]),
    st.sampled_from([-1, 0, 1, 999_999_999, 1_000_000_000]),
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "src_ip": ADDRESSES,
    "dst_ip": ADDRESSES,
    "start_time": st.just({"seconds": 1}),
    "duration": DURATIONS,
    "protocol": st.sampled_from([0, 1, 6, 17, 255, 256, -1]),
    "conn_state": st.sampled_from([0, 1, 13, 14, 99, -1]),
    "local_orig": st.booleans(),
    "dns": st.fixed_dictionaries({}, optional={"query": TEXTS, "response_code": TEXTS, "answer_count": NUMBERS}),
    "http": st.fixed_dictionaries({}, optional={"uri": TEXTS, "status_code": NUMBERS}),
    **dict.fromkeys(("src_port", "dst_port"), NUMBERS),
    **dict.fromkeys(("orig_bytes", "resp_bytes", "orig_pkts", "missed_bytes"), AMOUNTS),
    **dict.fromkeys(("flow_id", "service", "history", "sensor_id", "community_id"), TEXTS),
}
GOOD: dict[str, Any] = {"src_ip": "10.0.0.1", "dst_ip": "::1", "protocol": 6, "start_time": {"seconds": 1}}


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries({}, optional=FIELDS), st.sets(st.sampled_from(sorted(GOOD))))
def test_it_says_yes_to_nothing_that_breaks_a_rule(fields: dict[str, Any], kept: set[str]) -> None:
    assert ACCEPTS is not None
    known = {name: GOOD[name] for name in kept}
    request = detection_pb2.AnalyzeRequest(flow=flow_pb2.FlowRecord(**{**fields, **known}))
    assert not (ACCEPTS(request) and ENGINE.collect_violations(request))


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(set(FIELDS) - set(GOOD))), st.none()))
def test_ordinary_requests_need_no_engine(absent: dict[str, None]) -> None:
    ordinary: dict[str, Any] = {
        "duration": {"nanos": 5}, "conn_state": 3, "local_orig": True, "dns": {"query": "example.com"}, "src_port": 5,
        "dst_port": 53, "orig_bytes": 5, "resp_bytes": 9, "service": "dns", "history": "Dd", "sensor_id": "s",
    }  # fmt: skip
    fields = {name: value for name, value in ordinary.items() if name not in absent}
    assert ACCEPTS is not None
    assert ACCEPTS(detection_pb2.AnalyzeRequest(flow=flow_pb2.FlowRecord(**fields, **GOOD)))
