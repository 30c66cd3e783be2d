"""What Zeek's logs hold, in whatever notation: which field of which log fills which column of a batch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from securenet_flows.batch import FlowBatch, Int64
from securenet_flows.readers.arrow import Array, decoded, repeated
from securenet_flows.readers.columns import Assembled, assemble
from securenet_flows.readers.protocols import ICMP, ICMPV6, UNKNOWN

#: Zeek's `conn.log` as it comes by default since 3.0, for a log that lost its header.
DEFAULT_CONN_FIELDS: Final[tuple[str, ...]] = (
    "ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service", "duration", "orig_bytes",
    "resp_bytes", "conn_state", "local_orig", "local_resp", "missed_bytes", "history", "orig_pkts", "orig_ip_bytes",
    "resp_pkts", "resp_ip_bytes", "tunnel_parents",
)  # fmt: skip

_ENDS: Final[Mapping[str, Sequence[str]]] = {
    "start_time_ns": ("ts",),
    "flow_id": ("uid",),
    "src_addr": ("id.orig_h", "id_orig_h"),
    "src_port": ("id.orig_p", "id_orig_p"),
    "dst_addr": ("id.resp_h", "id_resp_h"),
    "dst_port": ("id.resp_p", "id_resp_p"),
    "sensor_id": ("_system_name", "_node_name"),
}
_CONN: Final[Mapping[str, Sequence[str]]] = {
    "protocol": ("proto",),
    "service": ("service",),
    "duration_ns": ("duration",),
    "orig_bytes": ("orig_bytes",),
    "resp_bytes": ("resp_bytes",),
    "conn_state": ("conn_state",),
    "local_orig": ("local_orig",),
    "local_resp": ("local_resp",),
    "missed_bytes": ("missed_bytes",),
    "history": ("history",),
    "orig_pkts": ("orig_pkts",),
    "orig_ip_bytes": ("orig_ip_bytes",),
    "resp_pkts": ("resp_pkts",),
    "resp_ip_bytes": ("resp_ip_bytes",),
    "community_id": ("community_id",),
}
_LABELS: Final[Mapping[str, Sequence[str]]] = {
    "label": ("label",),
    "detailed_label": ("detailedlabel", "detailed-label", "detailed_label"),
}

#: By log, what it says of a flow beyond its ends.
APPLICATION: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "dns": {
        "dns_query": ("query",),
        "dns_query_type": ("qtype_name",),
        "dns_response_code": ("rcode_name",),
        "dns_answers": ("answers",),
    },
    "http": {
        "http_method": ("method",),
        "http_host": ("host",),
        "http_uri": ("uri",),
        "http_user_agent": ("user_agent",),
        "http_status_code": ("status_code",),
    },
    "ssl": {
        "tls_server_name": ("server_name",),
        "tls_version": ("version",),
        "tls_ja3": ("ja3",),
        "tls_ja4": ("ja4",),
        "tls_established": ("established",),
        "tls_certificate_sha256": ("cert_chain_fps",),
    },
    "ssh": {
        "ssh_client": ("client",),
        "ssh_server": ("server",),
        "ssh_auth_success": ("auth_success",),
        "ssh_auth_attempts": ("auth_attempts",),
    },
}

#: The field whose number of members becomes `dns_answer_count`, and the vector whose first member a column holds.
COUNTED: Final = "dns_answers"
FIRST: Final = "tls_certificate_sha256"

#: Logs whose records can stand for flows where there is no conn.log.
FLOW_KINDS: Final[tuple[str, ...]] = ("conn", *APPLICATION)

#: What the log itself says of the transport, where it has no `proto`.
_TRANSPORT: Final[Mapping[str, bytes]] = {"dns": b"udp", "http": b"tcp", "ssl": b"tcp", "ssh": b"tcp"}
_SERVICE: Final[Mapping[str, bytes]] = {"dns": b"dns", "http": b"http", "ssl": b"ssl", "ssh": b"ssh"}

#: Fields that only this log has, in any of its versions. JSON leaves out what has no value.
_MARKS: Final[Mapping[str, Sequence[frozenset[str]]]] = {
    "dns": (frozenset({"query", "trans_id"}), frozenset({"query", "qtype_name"})),
    "http": (frozenset({"method", "host", "trans_depth"}), frozenset({"trans_depth", "status_code"})),
    "ssl": (frozenset({"cipher", "established"}), frozenset({"established", "resumed"})),
    "ssh": (frozenset({"auth_attempts"}), frozenset({"client", "server", "kex_alg"})),
}

_ESCAPE: Final = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|\\)")


def fields_of(kind: str) -> dict[str, Sequence[str]]:
    """By column of a batch, the names that the field has in the given log."""
    if kind == "conn":
        return {**_ENDS, **_CONN, **_LABELS, "ip_proto": ("ip_proto",)}
    return {**_ENDS, "protocol": ("proto",), "duration_ns": ("rtt",), **APPLICATION[kind], **_LABELS}


def kind_of(fields: Iterable[str]) -> str | None:
    """Which of :data:`FLOW_KINDS` a log without a path is, by its fields; None where it is none of them."""
    names = {name.replace("id_orig", "id.orig").replace("id_resp", "id.resp") for name in fields}
    if not {"ts", "id.orig_h", "id.resp_h"} <= names:
        return None
    if {"proto", "conn_state"} <= names or {"proto", "orig_pkts", "resp_pkts"} <= names:
        return "conn"
    for kind, marks in _MARKS.items():
        if "uid" in names and any(mark <= names for mark in marks):
            return kind
    return None


def assemble_log(kind: str, columns: dict[str, Array], lines: Int64, names: Mapping[str, str]) -> Assembled:
    """A batch of the columns of one of :data:`FLOW_KINDS`.

    A record of a dns, http, ssl or ssh log becomes a flow with its ends, transport and application fields, but without
    bytes, packets and state, which those logs do not have.
    """
    rows = len(lines)
    columns = dict(columns)
    numbers = columns.pop("ip_proto", None)
    if "protocol" not in columns:
        columns["protocol"] = repeated(_TRANSPORT[kind], rows)
    if kind != "conn":
        columns["service"] = repeated(_SERVICE[kind], rows)
    if numbers is not None and rows:
        columns["protocol"] = _with_numbers(columns["protocol"], numbers)
    assembled = assemble(columns, lines, names=names, unescape=unescape)
    return Assembled(_separate_icmpv6(assembled.batch), assembled.bad_records, assembled.bad_labels)


def unescape(value: bytes) -> bytes:
    r"""Undoes Zeek's ``\xHH`` and ``\\`` (frameworks/logging: its ASCII writer escapes what is not printable)."""
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)) if match[1] else b"\\", value)


def _with_numbers(names: Array, numbers: Array) -> Array:
    """Where Zeek has no name for the transport, its number (`ip_proto`, since Zeek 7.1)."""
    texts = decoded(names).cast(pa.string()).to_pylist()
    return pa.array(
        [
            str(number) if text == "unknown_transport" and number is not None else text
            for text, number in zip(texts, numbers.cast(pa.string()).to_pylist(), strict=True)
        ],
        pa.string(),
    )


def _separate_icmpv6(batch: FlowBatch) -> FlowBatch:
    """Zeek calls both "icmp"; a flow between IPv6 addresses is ICMPv6."""
    icmp = np.flatnonzero(batch.protocol == ICMP)
    sources = batch.src_addr[icmp]
    mapped = (sources[:, :10] == 0).all(axis=1) & (sources[:, 10:12] == UNKNOWN).all(axis=1)
    if mapped.all():
        return batch
    protocol = batch.protocol.copy()
    protocol[icmp[~mapped]] = ICMPV6
    return FlowBatch(
        batch.start_time_ns, batch.src_addr, batch.dst_addr, protocol, batch.numeric, batch.text, batch.present
    )
