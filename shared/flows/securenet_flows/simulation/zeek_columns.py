"""The columns of Zeek's logs as text, built from simulated flows with Arrow's compute functions.

Every column is a string array in which null is an unset field. The TSV and the JSON form differ only in how a value is
written, so both are made from the same definitions.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute

from securenet_flows.batch import CONN_STATES, Bool, Int8
from securenet_flows.simulation.application import QTYPES, RCODES
from securenet_flows.simulation.table import Column, Flows, LogRecords, Objects

#: Arrow's stubs do not know compute functions over arrays and scalars together.
pc: Final[Any] = pyarrow.compute

#: A string array, null where a field is unset.
TextArray: TypeAlias = Any

_STATES: Final = np.array([name or None for name in CONN_STATES], dtype=object)
_PROTOCOLS: Final = np.full(256, "unknown_transport", dtype=object)
_PROTOCOLS[[1, 6, 17, 58]] = ["icmp", "tcp", "udp", "icmp"]
_OCTETS: Final[TextArray] = pa.array([str(n) for n in range(256)])

#: A column from the flows that the records belong to (one row a record) and the records themselves (None in conn.log).
Source = Callable[[Flows, LogRecords], TextArray]


@dataclass(frozen=True, slots=True)
class ZeekField:
    """A field of a log: its name, its Zeek type, and where its text comes from."""

    name: str
    type: str
    source: Source

    def text(self, flows: Flows, records: LogRecords, *, as_json: bool) -> TextArray:
        """The field's text, a row a record; null where unset."""
        values = self.source(flows, records)
        if not as_json:
            return values
        if self.type in {"string", "addr", "enum"}:
            return _quoted(values)
        if self.type == "bool":
            return pc.if_else(pc.equal(values, "T"), "true", pc.if_else(pc.equal(values, "F"), "false", None))
        if self.type == "vector[string]":
            return _join('["', pc.replace_substring(values, ",", '","'), '"]')
        return _join("[", values, "]") if self.type.startswith("vector") else values


def _join(*parts: TextArray | str) -> TextArray:
    return pc.binary_join_element_wise(*parts, "")


def _quoted(values: TextArray) -> TextArray:
    if pc.any(pc.match_substring_regex(values, r'["\\\x00-\x1f]')).as_py():
        return pa.array([None if v is None else json.dumps(v) for v in values.to_pylist()], type=pa.string())
    return _join('"', values, '"')


def numbers(values: Column) -> TextArray:
    """Whole numbers; negative ones are unset."""
    return pa.array(values.astype(np.int64), mask=np.asarray(values < 0)).cast(pa.string())


def seconds(microseconds: Column) -> TextArray:
    """Microseconds as seconds with six digits; negative ones are unset."""
    whole = pa.array(microseconds // 1_000_000, mask=np.asarray(microseconds < 0)).cast(pa.string())
    part = pc.utf8_lpad(pa.array(microseconds % 1_000_000).cast(pa.string()), 6, "0")
    return pc.binary_join_element_wise(whole, part, ".")


def booleans(values: Bool) -> TextArray:
    """T and F."""
    return pc.if_else(pa.array(values), "T", "F")


def texts(values: Objects) -> TextArray:
    """Texts; None is unset."""
    return pa.array(values, type=pa.string(), from_pandas=True)


def addresses(values: Int8) -> TextArray:
    """Text of (n, 16) addresses."""
    four = (values[:, :10] == 0).all(axis=1) & (values[:, 10] == 255)
    parts = [_OCTETS.take(pa.array(values[:, 12 + i].astype(np.int32))) for i in range(4)]
    dotted = pc.binary_join_element_wise(*parts, ".")
    six = np.flatnonzero(~four)
    if len(six) == 0:
        return dotted
    distinct, index = np.unique(np.ascontiguousarray(values[six]).view("V16").ravel(), return_inverse=True)
    names = pa.array([str(ipaddress.IPv6Address(value.tobytes())) for value in distinct])
    place = np.zeros(len(values), dtype=np.int64)
    place[six] = index
    return pc.if_else(pa.array(four), dotted, names.take(place))


def _flow(name: str, make: Callable[[Column], TextArray]) -> Source:
    return lambda flows, _: make(flows[name])


def _record(name: str, make: Callable[[Column], TextArray]) -> Source:
    return lambda _, records: make(records.columns[name])


def _unset(flows: Flows, _: LogRecords) -> TextArray:
    return pa.nulls(len(flows), pa.string())


def _constant(text: str) -> Source:
    return lambda flows, _: pa.repeat(pa.scalar(text), len(flows))


def _codes(name: str, table: Mapping[str, int]) -> Source:
    def make(_: Flows, records: LogRecords) -> TextArray:
        return numbers(np.array([table.get(text, -1) for text in records.columns[name]], dtype=np.int64))

    return make


def _ttls(_: Flows, records: LogRecords) -> TextArray:
    def row(text: str | None, ttl: int) -> str | None:
        return None if text is None else ",".join([f"{ttl}.000000"] * (text.count(",") + 1))

    pairs = zip(records.columns["answers"].tolist(), records.columns["ttls"].tolist(), strict=True)
    return pa.array([row(text, ttl) for text, ttl in pairs], type=pa.string())


def _optional_booleans(values: Objects) -> TextArray:
    return texts(np.array([None if v is None else "T" if v else "F" for v in values.tolist()], dtype=object))


def _fields(*definitions: tuple[str, str, Source]) -> tuple[ZeekField, ...]:
    return tuple(ZeekField(*definition) for definition in definitions)


_ID: Final = _fields(
    ("ts", "time", lambda f, r: seconds(f["start_us"] + r.delay_us)),
    ("uid", "string", _flow("uid", lambda v: pa.array(v.astype("U18")))),
    ("id.orig_h", "addr", _flow("src", addresses)),
    ("id.orig_p", "port", _flow("src_port", numbers)),
    ("id.resp_h", "addr", _flow("dst", addresses)),
    ("id.resp_p", "port", _flow("dst_port", numbers)),
)
_PROTO: Final = _fields(("proto", "enum", _flow("protocol", lambda v: texts(_PROTOCOLS[v]))))

#: The fields of each log in the order of Zeek 6, the labels last in conn.log.
LOGS: Final[Mapping[str, tuple[ZeekField, ...]]] = {
    "conn": _ID + _PROTO + _fields(
        ("service", "string", _flow("service", texts)),
        ("duration", "interval", _flow("duration_us", seconds)),
        ("orig_bytes", "count", _flow("orig_bytes", numbers)),
        ("resp_bytes", "count", _flow("resp_bytes", numbers)),
        ("conn_state", "string", _flow("state", lambda v: texts(_STATES[v]))),
        ("local_orig", "bool", _flow("local_orig", booleans)),
        ("local_resp", "bool", _flow("local_resp", booleans)),
        ("missed_bytes", "count", _constant("0")),
        ("history", "string", _flow("history", texts)),
        ("orig_pkts", "count", _flow("orig_pkts", numbers)),
        ("orig_ip_bytes", "count", _flow("orig_ip_bytes", numbers)),
        ("resp_pkts", "count", _flow("resp_pkts", numbers)),
        ("resp_ip_bytes", "count", _flow("resp_ip_bytes", numbers)),
        ("tunnel_parents", "set[string]", _unset),
        ("label", "string", _flow("malicious", lambda v: pc.if_else(pa.array(v), "malicious", "benign"))),
        ("detailed_label", "string", _flow("detail", texts)),
    ),
    "dns": _ID + _PROTO + _fields(
        ("trans_id", "count", _record("trans_id", numbers)),
        ("rtt", "interval", _record("rtt_us", seconds)),
        ("query", "string", _record("query", texts)),
        ("qclass", "count", _constant("1")),
        ("qclass_name", "string", _constant("C_INTERNET")),
        ("qtype", "count", _codes("qtype", QTYPES)),
        ("qtype_name", "string", _record("qtype", texts)),
        ("rcode", "count", _codes("rcode", RCODES)),
        ("rcode_name", "string", _record("rcode", texts)),
        ("AA", "bool", _constant("F")),
        ("TC", "bool", _constant("F")),
        ("RD", "bool", _constant("T")),
        ("RA", "bool", _record("rtt_us", lambda v: booleans(v >= 0))),
        ("Z", "count", _constant("0")),
        ("answers", "vector[string]", _record("answers", texts)),
        ("TTLs", "vector[interval]", _ttls),
        ("rejected", "bool", _record("rcode", lambda v: booleans(v == "REFUSED"))),
    ),
    "http": _ID + _fields(
        ("trans_depth", "count", _record("depth", numbers)),
        ("method", "string", _record("method", texts)),
        ("host", "string", _record("host", texts)),
        ("uri", "string", _record("uri", texts)),
        ("referrer", "string", _unset),
        ("version", "string", _constant("1.1")),
        ("user_agent", "string", _record("user_agent", texts)),
        ("request_body_len", "count", _record("request_body_len", numbers)),
        ("response_body_len", "count", _record("response_body_len", numbers)),
        ("status_code", "count", _record("status", numbers)),
        ("resp_mime_types", "vector[string]", _record("mime_type", texts)),
    ),
    "ssl": _ID + _fields(
        ("version", "string", _record("version", texts)),
        ("cipher", "string", _record("cipher", texts)),
        ("curve", "string", _record("curve", texts)),
        ("server_name", "string", _record("server_name", texts)),
        ("resumed", "bool", _record("resumed", booleans)),
        ("last_alert", "string", _unset),
        ("next_protocol", "string", _record("next_protocol", texts)),
        ("established", "bool", _record("established", booleans)),
        ("cert_chain_fps", "vector[string]", _record("certificate", texts)),
        ("validation_status", "string", _record("validation", texts)),
        ("ja3", "string", _record("ja3", texts)),
        ("ja3s", "string", _record("ja3s", texts)),
    ),
    "ssh": _ID + _fields(
        ("version", "count", _constant("2")),
        ("auth_success", "bool", _record("auth_success", _optional_booleans)),
        ("auth_attempts", "count", _record("auth_attempts", numbers)),
        ("direction", "enum", _record("inbound", lambda v: pc.if_else(pa.array(v), "INBOUND", "OUTBOUND"))),
        ("client", "string", _record("client", texts)),
        ("server", "string", _record("server", texts)),
        ("host_key", "string", _record("host_key", texts)),
    ),
}  # fmt: skip
