"""Flows of the contract, as columns and as records, into batches: the other half of `convert`."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, reduce
from operator import and_, attrgetter, or_
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from securenet.detection.v1 import flow_pb2
from securenet_core.exceptions import InvalidArgumentError
from securenet_flows.batch import CONN_STATES, NUMERIC, Dictionary, FlowBatch

_INT64_MAX: Final = 2**63 - 1

#: Largest value of each numeric column; of most, what its dtype holds.
_LARGEST: Final[Mapping[str, int]] = {
    **{name: 1 if dtype.kind == "b" else int(np.iinfo(dtype.str).max) for name, dtype in NUMERIC.items()},
    "conn_state": len(CONN_STATES) - 1,
    "http_status_code": 999,
}

#: Text columns of FlowBatch messages that are dictionary-encoded.
_TEXTS: Final = tuple(
    field.name
    for field in flow_pb2.FlowBatch.DESCRIPTOR.fields
    if field.message_type is not None and field.message_type.name == "StringColumn"
)


class RowError(NamedTuple):
    """One value of a batch that cannot be right."""

    row: int
    field: str
    reason: str


class Columns(NamedTuple):
    """A batch message as columns: its good rows, where they stood, and what was wrong with the others.

    `rows` is None where all are good.
    """

    batch: FlowBatch
    total: int
    rows: NDArray[np.int64] | None
    errors: list[RowError]


def flow_batch(message: flow_pb2.FlowBatch) -> Columns:
    """The columns of a message.

    Raises:
        InvalidArgumentError: a column's length does not fit; names it.
    """
    total = len(message.start_time_ns)
    errors: list[RowError] = []
    src, dst = _addresses(message.src_addr, "src_addr", total), _addresses(message.dst_addr, "dst_addr", total)
    protocol = _column(message, "protocol", total)
    if protocol is None:
        raise InvalidArgumentError.of("batch.protocol", f"0 values; expected {total}")
    _bad_rows(errors, "protocol", protocol, (protocol == 0) | (protocol > 255), "1 to 255")
    numeric: dict[str, NDArray[np.generic]] = {}
    present = _presence(message, total)
    for name, dtype in NUMERIC.items():
        values = _column(message, name, total)
        if values is not None:
            numeric[name] = _checked(errors, name, values, dtype, present.get(name))
    for name in present:
        if name not in numeric:
            raise InvalidArgumentError.of(f"batch.presence[{name!r}]", "no such numeric column in this batch")
    if "conn_state" in numeric and not numeric["conn_state"].all():
        present["conn_state"] = present.get("conn_state", True) & (numeric["conn_state"] != 0)
    batch = FlowBatch(
        start_time_ns=np.array(message.start_time_ns),
        src_addr=src,
        dst_addr=dst,
        protocol=protocol.astype(np.uint8),
        numeric=numeric,
        text=_texts(message, total, errors),
        present=present,
    )
    if not errors:
        return Columns(batch, total, None, errors)
    good = np.ones(total, np.bool_)
    good[[error.row for error in errors]] = False
    rows = np.flatnonzero(good)
    return Columns(batch.take(rows), total, rows, sorted(errors))


def _column(message: Any, name: str, total: int) -> NDArray[Any] | None:
    values = getattr(message, name)
    if not len(values):
        return None
    if len(values) != total:
        raise InvalidArgumentError.of(f"batch.{name}", f"{len(values)} values; expected {total}, as start_time_ns has")
    return np.array(values)


def _addresses(data: bytes, name: str, total: int) -> NDArray[np.uint8]:
    if len(data) != 16 * total:
        raise InvalidArgumentError.of(f"batch.{name}", f"{len(data)} bytes; expected {16 * total}, 16 a row")
    return np.frombuffer(data, np.uint8).reshape(total, 16)


def _presence(message: flow_pb2.FlowBatch, total: int) -> dict[str, Any]:
    masks: dict[str, Any] = {}
    for name, bits in message.presence.items():
        if len(bits) != (total + 7) // 8:
            raise InvalidArgumentError.of(
                f"batch.presence[{name!r}]", f"{len(bits)} bytes; expected {(total + 7) // 8}, a bit a row"
            )
        mask = np.unpackbits(np.frombuffer(bits, np.uint8), count=total, bitorder="little")
        masks[name] = mask.astype(np.bool_)
    return masks


def _checked(
    errors: list[RowError], name: str, values: NDArray[Any], dtype: np.dtype[Any], present: NDArray[np.bool_] | None
) -> NDArray[np.generic]:
    """Values in the column's own type; rows whose value does not fit become errors, unless it is absent there."""
    largest = _LARGEST[name]
    # Most columns hold nothing that is wrong, which their ends say at once.
    if values.max() > largest or values.min() < 0:
        bad = (values < 0) | (values > largest)
        if present is not None:
            bad &= present
        _bad_rows(errors, name, values, bad, f"0 to {largest}")
    return values.astype(dtype, copy=False)


def _bad_rows(errors: list[RowError], name: str, values: NDArray[Any], bad: NDArray[np.bool_], accepted: str) -> None:
    if bad.any():
        errors += [RowError(row, name, f"{values[row]}; expected {accepted}") for row in np.flatnonzero(bad).tolist()]


def _texts(message: flow_pb2.FlowBatch, total: int, errors: list[RowError]) -> dict[str, Dictionary]:
    texts: dict[str, Dictionary] = {}
    if message.flow_id:
        if len(message.flow_id) != total:
            raise InvalidArgumentError.of("batch.flow_id", f"{len(message.flow_id)} values; expected {total}")
        # A value a row: nothing is gained by looking for equal ones.
        texts["flow_id"] = Dictionary(np.arange(total, dtype=np.int32), tuple(message.flow_id))
    for name in _TEXTS:
        if not message.HasField(name):  # type: ignore[arg-type]  # the names come from the descriptor
            continue
        column = getattr(message, name)
        if not column.codes:
            continue
        if len(column.codes) != total:
            raise InvalidArgumentError.of(f"batch.{name}.codes", f"{len(column.codes)} values; expected {total}")
        codes = np.array(column.codes)
        limit = len(column.values)
        if codes.max() > limit:
            _bad_rows(errors, name, codes, codes > limit, f"a code from 0 to {limit}")
            codes[codes > limit] = 0
        texts[name] = Dictionary(codes.view(np.int32) - 1, tuple(column.values))
    return texts


#: An IPv6 address with an IPv4 address at its end.
_LONGEST_ADDRESS: Final = 45

#: Numeric columns and where they stand in a FlowRecord.
_RECORD_NUMBERS: Final = (
    "src_port", "dst_port", "orig_bytes", "resp_bytes", "orig_ip_bytes", "resp_ip_bytes", "orig_pkts", "resp_pkts",
    "missed_bytes", "local_orig", "local_resp",
)  # fmt: skip
_RECORD_TEXTS: Final = ("service", "history", "sensor_id", "community_id")
_numbers = attrgetter(*_RECORD_NUMBERS, "conn_state")
#: Columns of a row's numbers, and the bits of those that need no asking for presence.
_ROW_NUMBERS: Final = (*_RECORD_NUMBERS, "conn_state", "duration_ns")
_DURATION: Final = 1 << len(_ROW_NUMBERS) - 1
_record_texts = attrgetter(*_RECORD_TEXTS)

#: Columns of each application activity by its fields.
_ACTIVITIES: Final = {
    activity: tuple(
        (field.name, f"{activity}_{field.name}", f"{activity}_{field.name}" in NUMERIC)
        for field in message.DESCRIPTOR.fields
    )
    for activity, message in (
        ("dns", flow_pb2.DnsActivity),
        ("tls", flow_pb2.TlsActivity),
        ("http", flow_pb2.HttpActivity),
        ("ssh", flow_pb2.SshActivity),
    )
}


class FlowRow(NamedTuple):
    """One flow record, checked, with absent fields left out of `more` and `texts`.

    `numbers` are those of every kind of flow, 0 where absent, and `present` has a bit for each that is there; most rows
    of a batch have the same ones, so their columns are made at once. What an application said beside is in `more`.
    """

    start_time_ns: int
    src_addr: bytes
    dst_addr: bytes
    protocol: int
    numbers: tuple[int, ...]
    present: int
    more: dict[str, int]
    texts: dict[str, str]


def flow_row(record: flow_pb2.FlowRecord) -> FlowRow:
    """The row of a record that keeps the contract's field rules.

    Raises:
        InvalidArgumentError: a time does not fit into 64 bits of nanoseconds, or the protocol into 8 bits.
    """
    start_time = record.start_time
    start = start_time.seconds * 1_000_000_000 + start_time.nanos
    if not -_INT64_MAX <= start <= _INT64_MAX:
        raise InvalidArgumentError.of("flow.start_time", "expected a time from 1678 to 2262")
    protocol = record.protocol
    if not 0 < protocol < 256:
        raise InvalidArgumentError.of("flow.protocol", f"{protocol}; expected an IANA protocol number, 1 to 255")
    numbers = _numbers(record)
    present, bit = 0, 1
    for value, name in zip(numbers, _RECORD_NUMBERS, strict=False):
        if value or record.HasField(name):  # type: ignore[arg-type]  # mypy takes literals only
            present |= bit
        bit <<= 1
    if record.conn_state:
        present |= bit
    duration = 0
    texts = {
        name: value
        for name, value in zip(_RECORD_TEXTS, _record_texts(record), strict=True)
        if value or record.HasField(name)  # type: ignore[arg-type]  # likewise
    }
    if record.flow_id:
        texts["flow_id"] = record.flow_id
    if record.HasField("duration"):
        duration = record.duration.seconds * 1_000_000_000 + record.duration.nanos
        if not 0 <= duration <= _INT64_MAX:
            raise InvalidArgumentError.of("flow.duration", "expected 0 to 292 years")
        present |= _DURATION
    more: dict[str, int] = {}
    activity = record.WhichOneof("application")
    if activity is not None:
        _read_activity(getattr(record, activity), _ACTIVITIES[activity], more, texts)
    return FlowRow(
        start,
        _packed(record.src_ip, "src_ip"),
        _packed(record.dst_ip, "dst_ip"),
        protocol,
        (*numbers, duration),
        present,
        more,
        texts,
    )


def flow_record(flow: Mapping[str, str | int]) -> flow_pb2.FlowRecord:
    """The record of a flow that is kept as plain values by column."""
    record = flow_pb2.FlowRecord(
        flow_id=str(flow.get("flow_id", "")), src_ip=str(flow["src_ip"]), dst_ip=str(flow["dst_ip"])
    )
    start, protocol = int(flow["start_time_ns"]), int(flow["protocol"])
    record.start_time.seconds, record.start_time.nanos = divmod(start, 1_000_000_000)
    record.protocol = protocol  # type: ignore[assignment]  # an open enum
    if "duration_ns" in flow:
        record.duration.FromNanoseconds(int(flow["duration_ns"]))
    if flow.get("conn_state"):
        record.conn_state = int(flow["conn_state"])  # type: ignore[assignment]  # an enum's number
    for name in (*_RECORD_NUMBERS, *_RECORD_TEXTS):
        if name in flow:
            setattr(record, name, flow[name])
    # A flow has one activity at most; the first that says anything is it.
    for activity, fields in _ACTIVITIES.items():
        known = [(field, flow[column]) for field, column, _ in fields if column in flow]
        for field, value in known:
            setattr(getattr(record, activity), field, value)
        if known:
            break
    return record


def _read_activity(
    activity: Any, fields: Iterable[tuple[str, str, bool]], numbers: dict[str, int], texts: dict[str, str]
) -> None:
    for field, column, numeric in fields:
        value = getattr(activity, field)
        # dns.query alone has no presence: an empty name is the root, which is as good as none.
        if not value and (column == "dns_query" or not activity.HasField(field)):
            continue
        if not numeric:
            texts[column] = value
        elif value > np.iinfo(np.int32).max:
            raise InvalidArgumentError.of(f"flow.{column.replace('_', '.', 1)}", f"{value}; expected at most 2^31 − 1")
        else:
            numbers[column] = value


def _packed(address: str, field: str) -> bytes:
    # An address comes again and again; what is longer has a zone, and is not worth remembering.
    packed = _octets(address) if len(address) <= _LONGEST_ADDRESS else _octets.__wrapped__(address)
    if packed is None:
        raise InvalidArgumentError.of(f"flow.{field}", f"{address[:64]!r} is no IP address")
    return packed


@lru_cache(1 << 14)
def _octets(address: str) -> bytes | None:
    try:
        return b"\0" * 10 + b"\xff\xff" + socket.inet_pton(socket.AF_INET, address)
    except OSError:
        pass
    try:
        return ipaddress.IPv6Address(address.partition("%")[0]).packed
    except ValueError:
        return None


def _texts_of(rows: Sequence[Mapping[str, str]]) -> dict[str, Dictionary]:
    if len(rows) == 1:
        return {name: Dictionary(np.zeros(1, np.int32), (value,)) for name, value in rows[0].items()}
    return {name: Dictionary.encode([row.get(name) for row in rows]) for name in set().union(*rows)}


@lru_cache(1 << 10)
def _columns_of(present: int) -> tuple[tuple[int, str, np.dtype[np.generic] | None], ...]:
    """Position and name of the columns whose bits are set, and the type that they have where it is not int64."""
    found = []
    for at, name in enumerate(_ROW_NUMBERS):
        if present >> at & 1:
            found.append((at, name, None if NUMERIC[name] == np.int64 else NUMERIC[name]))
    return tuple(found)


def rows_as_batch(rows: Sequence[FlowRow]) -> FlowBatch:
    """One batch of many rows, in their order."""
    starts, sources, destinations, protocols, numbers, presences, more, texts = zip(*rows, strict=True)
    count = len(rows)
    some, every = reduce(or_, presences), reduce(and_, presences)
    table = np.ascontiguousarray(np.array(numbers, np.int64).T)
    numeric: dict[str, NDArray[np.generic]] = {}
    present: dict[str, NDArray[np.bool_]] = {}
    for at, name, dtype in _columns_of(some):
        numeric[name] = table[at] if dtype is None else table[at].astype(dtype)
    if some != every:
        masks = np.array(presences, np.int64)
        for at, name, _ in _columns_of(some & ~every):
            present[name] = (masks >> at & 1).astype(np.bool_)
    for name in set().union(*more):
        numeric[name] = np.array([row.get(name, 0) for row in more], NUMERIC[name])
        mask = [name in row for row in more]
        if not all(mask):
            present[name] = np.array(mask, np.bool_)
    return FlowBatch(
        start_time_ns=np.array(starts, np.int64),
        src_addr=np.frombuffer(bytearray().join(sources), np.uint8).reshape(count, 16),
        dst_addr=np.frombuffer(bytearray().join(destinations), np.uint8).reshape(count, 16),
        protocol=np.array(protocols, np.uint8),
        numeric=numeric,
        text=_texts_of(texts),
        present=present,
    )
