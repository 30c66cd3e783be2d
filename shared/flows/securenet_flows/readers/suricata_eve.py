"""Suricata's EVE log: the `flow` events, with what the dns, http, tls and ssh events of the same flow said before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa

from securenet_flows.batch import FlowBatch
from securenet_flows.readers.arrow import Array
from securenet_flows.readers.columns import assemble
from securenet_flows.readers.conversions import protocol_numbers, times_of
from securenet_flows.readers.interface import Detected
from securenet_flows.readers.json_lines import encode, parse_object
from securenet_flows.readers.problems import tell
from securenet_flows.readers.sources import Source
from securenet_flows.readers.states import states_of_flags
from securenet_flows.report import FileLog

#: Flows of which application events wait for their flow event; the oldest are let go beyond it.
_MOST_WAITING: Final = 100_000
_LONGEST_TEXT: Final = 8192

#: By column of a batch, where a flow event holds it.
_FLOW: Final[Mapping[str, tuple[str, ...]]] = {
    "flow_id": ("flow_id",),
    "start_time_ns": ("flow", "start"),
    "src_addr": ("src_ip",),
    "dst_addr": ("dest_ip",),
    "src_port": ("src_port",),
    "dst_port": ("dest_port",),
    "protocol": ("proto",),
    "service": ("app_proto",),
    "orig_pkts": ("flow", "pkts_toserver"),
    "resp_pkts": ("flow", "pkts_toclient"),
    "orig_ip_bytes": ("flow", "bytes_toserver"),
    "resp_ip_bytes": ("flow", "bytes_toclient"),
    "community_id": ("community_id",),
    "sensor_id": ("host",),
    "end": ("flow", "end"),
    "orig_flags": ("tcp", "tcp_flags_ts"),
    "resp_flags": ("tcp", "tcp_flags_tc"),
}
_APPLICATION: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "dns": {
        "dns_query": ("dns", "rrname"),
        "dns_query_type": ("dns", "rrtype"),
        "dns_response_code": ("dns", "rcode"),
        "dns_answer_count": ("dns", "answers"),
    },
    "http": {
        "http_method": ("http", "http_method"),
        "http_host": ("http", "hostname"),
        "http_uri": ("http", "url"),
        "http_user_agent": ("http", "http_user_agent"),
        "http_status_code": ("http", "status"),
    },
    "tls": {
        "tls_server_name": ("tls", "sni"),
        "tls_version": ("tls", "version"),
        "tls_ja3": ("tls", "ja3", "hash"),
        "tls_ja4": ("tls", "ja4"),
    },
    "ssh": {
        "ssh_client": ("ssh", "client", "software_version"),
        "ssh_server": ("ssh", "server", "software_version"),
    },
}
_APPLICATION_COLUMNS: Final = tuple(column for places in _APPLICATION.values() for column in places)
#: What Suricata says where it knows no application.
_NO_SERVICE: Final = (b"failed", b"unknown")


class SuricataEveReader:
    """Bytes are those of whole frames, so they stand in `orig_ip_bytes` and `resp_ip_bytes`; payload is absent.

    The first event of each application counts; later ones only add what it lacked (an answer to its query).
    """

    def read(self, source: Source, detected: Detected, log: FileLog, batch_rows: int) -> Iterator[FlowBatch]:
        """See :class:`securenet_flows.readers.interface.Reader`. Events of other types are passed over."""
        del detected
        waiting = _Waiting()
        flows = lines = 0
        for block in source.blocks(batch_rows):
            records = _Records()
            bad: list[tuple[int, str]] = []
            for number, text in enumerate(_lines(block.data), block.first_line):
                lines += 1
                event = parse_object(text)
                if isinstance(event, str):
                    bad.append((number, event))
                    continue
                match event.get("event_type"):
                    case "flow" if isinstance(event.get("flow"), dict):
                        records.add(number, event, waiting.take(event.get("flow_id")))
                    case "flow":
                        bad.append((number, "flow: nothing; expected an object"))
                    case str(kind):
                        waiting.add(kind, event)
                    case other:
                        bad.append((number, f"event_type: {other!r}; expected a text"[:200]))
            batch, wrong = records.batch()
            tell(log, block, bad + wrong)
            flows += len(batch)
            if len(batch):
                yield batch
        if lines and not flows:
            log.note("no flow events; Suricata writes them with `flow` among the types of its eve-log")


def _lines(data: bytes) -> list[bytes]:
    return data.removesuffix(b"\n").split(b"\n") if data else []


class _Waiting:
    """Application events by flow until the flow's own event, which comes last."""

    def __init__(self) -> None:
        self._flows: OrderedDict[object, dict[str, bytes]] = OrderedDict()

    def add(self, kind: str, event: Mapping[str, Any]) -> None:
        flow_id = event.get("flow_id")
        places = _APPLICATION.get(kind)
        if places is None or not isinstance(flow_id, (int, str)):
            return
        known = self._flows.setdefault(flow_id, {})
        for column, place in places.items():
            value = _application_value(column, _at(event, place))
            if value is not None:
                known.setdefault(column, value)
        if kind == "dns":
            _add_queries(known, event.get("dns"))
        if len(self._flows) > _MOST_WAITING:
            self._flows.popitem(last=False)

    def take(self, flow_id: object) -> Mapping[str, bytes]:
        return self._flows.pop(flow_id, {}) if isinstance(flow_id, (int, str)) else {}


def _add_queries(known: dict[str, bytes], dns: object) -> None:
    """Since Suricata 8 the question stands in a list."""
    queries = dns.get("queries") if isinstance(dns, dict) else None
    if isinstance(queries, list) and queries and isinstance(queries[0], dict):
        for column, key in (("dns_query", "rrname"), ("dns_query_type", "rrtype")):
            value = _application_value(column, queries[0].get(key))
            if value is not None:
                known.setdefault(column, value)


def _application_value(column: str, value: object) -> bytes | None:
    """What does not fit its column is left out: it loses no flow."""
    if column == "dns_answer_count":
        return str(len(value)).encode() if isinstance(value, list) and value else None
    if column == "http_status_code":
        return str(value).encode() if isinstance(value, int) and 0 <= value <= 0xFFFF else None
    return encode(value[:_LONGEST_TEXT]) if isinstance(value, str) and value else None


def _at(event: Mapping[str, Any], place: tuple[str, ...]) -> object:
    value: Any = event
    for key in place:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _value(value: object) -> bytes | None:
    if value is None or value == "":
        return None
    return encode(value) if isinstance(value, str) else str(value)[:_LONGEST_TEXT].encode("utf-8", "replace")


class _Records:
    """The flow events of a block as columns."""

    def __init__(self) -> None:
        self._lines: list[int] = []
        self._values: dict[str, list[bytes | None]] = {name: [] for name in (*_FLOW, *_APPLICATION_COLUMNS)}

    def add(self, line: int, event: Mapping[str, Any], application: Mapping[str, bytes]) -> None:
        self._lines.append(line)
        for column, place in _FLOW.items():
            self._values[column].append(_value(_at(event, place)))
        if self._values["start_time_ns"][-1] is None:
            self._values["start_time_ns"][-1] = _value(event.get("timestamp"))
        if self._values["service"][-1] in _NO_SERVICE:
            self._values["service"][-1] = None
        for column in _APPLICATION_COLUMNS:
            self._values[column].append(application.get(column))

    def batch(self) -> tuple[FlowBatch, list[tuple[int, str]]]:
        columns: dict[str, Array] = {
            name: pa.array(values, pa.binary())
            for name, values in self._values.items()
            if name in {"start_time_ns", "src_addr", "dst_addr", "protocol"}
            or any(value is not None for value in values)
        }
        ends = columns.pop("end", None)
        if ends is not None:
            columns["duration_ns"] = _durations(columns["start_time_ns"], ends)
        flags = [columns.pop(name, None) for name in ("orig_flags", "resp_flags")]
        if self._lines:
            columns["conn_state"] = _states(columns, flags)
        names = {column: ".".join(place) for column, place in _FLOW.items()}
        assembled = assemble(columns, np.asarray(self._lines, np.int64), names=names)
        return assembled.batch, assembled.bad_records


def _durations(starts: Array, ends: Array) -> Array:
    """End − start in nanoseconds; null where one of them is no time. A negative one is found wrong later."""
    start, end = times_of(starts), times_of(ends)
    return pa.array(end.values - start.values, pa.int64(), mask=~(start.present & end.present))


def _states(columns: Mapping[str, Array], flags: list[Array | None]) -> Array:
    """From the flags of either side; TCP without them, and flows without packet counts, have no state."""
    protocol = protocol_numbers(columns["protocol"])
    orig, resp = (_flag_bits(array, len(protocol)) for array in flags)
    packets = columns.get("resp_pkts")
    counts = [0] * len(protocol) if packets is None else [_count(text) for text in packets.to_pylist()]
    responded = np.asarray(counts, np.int64) > 0
    tcp = protocol == 6  # IANA's number of TCP
    known = np.where(tcp, (orig | resp) != 0, np.asarray(packets is not None))
    return pa.array(states_of_flags(protocol, orig, resp, responded), mask=~known)


def _count(text: bytes | None) -> int:
    return int(text) if text is not None and text.isdigit() and len(text) < 19 else 0  # fits int64


def _flag_bits(array: Array | None, rows: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if array is None:
        return np.zeros(rows, np.uint8)
    return np.fromiter((_hex(text) for text in array.to_pylist()), np.uint8, rows)


def _hex(text: bytes | None) -> int:
    try:
        return int(text, 16) & 0xFF if text else 0
    except ValueError:
        return 0
