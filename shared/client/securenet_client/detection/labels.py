"""Labelled flows as records that training reads: Zeek's conn.log in JSON with a label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.message import Message

from securenet.detection.v1 import finding_pb2, flow_pb2
from securenet_client.detection.convert import protocol_name
from securenet_client.messages import enum_name, to_datetime

_LABELS: Final[Mapping[int, str]] = {1: "malicious", 2: "benign", 3: "benign"}
_VERDICT: Final = finding_pb2.DESCRIPTOR.enum_types_by_name["AnalystVerdict"]
_ENDS: Final = {"src_ip": "id.orig_h", "src_port": "id.orig_p", "dst_ip": "id.resp_h", "dst_port": "id.resp_p"}
_PLAIN: Final = (
    "service", "orig_bytes", "resp_bytes", "orig_ip_bytes", "resp_ip_bytes", "orig_pkts", "resp_pkts", "history",
    "missed_bytes", "local_orig", "local_resp", "community_id",
)  # fmt: skip


def labeled_record(labeled: finding_pb2.LabeledFlow) -> dict[str, Any]:
    """A line of a labelled conn.log; what the flow has no value for is left out. Application fields are not of it."""
    flow = labeled.flow
    record: dict[str, Any] = {
        "ts": round(flow.start_time.seconds + flow.start_time.nanos / 1e9, 6),
        "uid": flow.flow_id,
        **{theirs: getattr(flow, ours) for ours, theirs in _ENDS.items() if _has(flow, ours)},
        "proto": protocol_name(flow.protocol),
    }
    if flow.HasField("duration"):
        record["duration"] = round(flow.duration.seconds + flow.duration.nanos / 1e9, 6)
    if flow.conn_state:
        record["conn_state"] = flow_pb2.ConnState.Name(flow.conn_state).removeprefix("CONN_STATE_")
    record |= {name: getattr(flow, name) for name in _PLAIN if _has(flow, name)}
    if flow.HasField("sensor_id"):
        record["_system_name"] = flow.sensor_id
    return {
        **record,
        "label": _LABELS.get(labeled.analyst_verdict, "unknown"),
        "detailed_label": ",".join([labeled.detector, *(technique.id for technique in labeled.techniques)]),
        "analyst_verdict": enum_name(_VERDICT, labeled.analyst_verdict),
        "finding_id": labeled.finding.rpartition("/")[2],
        "labeled_by": labeled.labeled_by,
        "labeled_at": to_datetime(labeled.label_time).isoformat().replace("+00:00", "Z"),
    }


def _has(message: Message, name: str) -> bool:
    field = message.DESCRIPTOR.fields_by_name[name]
    return message.HasField(name) if field.has_presence else bool(getattr(message, name))
