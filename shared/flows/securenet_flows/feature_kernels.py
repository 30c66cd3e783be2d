"""Compiled loops behind :mod:`securenet_flows.features`; with :mod:`.kernel_memory` all that needs numba here.

One pass over the rows, in their order. Every kernel has one explicit signature with read-only inputs, so that the array
that a caller happens to have (a view of a message, a slice) never starts a compilation while the service runs.

numba's disk cache looks at this file's time alone: after a change of a constant that is imported here, touch this file.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from securenet_flows.batch import CONN_STATES, NUMERIC, FlowBatch
from securenet_flows.features import FEATURES, Column
from securenet_flows.kernel_memory import borrowed, prefetch
from securenet_flows.source_context import (
    BITMAP_WORDS,
    GAP_MEMORY,
    GENERATION_SECONDS,
    HALF_LIFE_SECONDS,
    WAYS,
    SourceContext,
)

_AUTH_PORTS: Final = (21, 22, 23, 139, 445, 1433, 3306, 3389, 5432, 5900, 5985, 5986)
_WEB_PORTS: Final = (80, 81, 443, 3128, 8000, 8008, 8080, 8081, 8443, 8888)
_DNS_PORTS: Final = (53, 853, 5353)

_FAILED: Final = np.array([name in ("S0", "REJ", "RSTOS0") for name in CONN_STATES])
_ESTABLISHED: Final = np.array([name in ("SF", "S1", "S2", "S3") for name in CONN_STATES])
_RESET: Final = np.array([name in ("RSTO", "RSTR", "RSTRH") for name in CONN_STATES])
_OTH: Final = CONN_STATES.index("OTH")
_LAST: Final = len(CONN_STATES) - 1

#: Port class by port: 0 auth, 1 web, 2 DNS, 3 any other below 1024, 4 any other.
_PORT_CLASS: Final = np.array(
    [
        0 if p in _AUTH_PORTS else 1 if p in _WEB_PORTS else 2 if p in _DNS_PORTS else 3 if p < 1024 else 4
        for p in range(1 << 16)
    ],
    dtype=np.uint8,
)

_COLUMNS: Final = len(FEATURES)
_BITS: Final = BITMAP_WORDS * 64

_SHAPE_COLUMNS: Final = (
    "duration_ns", "orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts", "conn_state", "dst_port",
)  # fmt: skip

#: Where payload is counted from, for exporters that count the bytes of IP alone.
_OF_IP: Final = {"orig_bytes": "orig_ip_bytes", "resp_bytes": "resp_ip_bytes"}


def _in(dtype: types.Type, ndim: int = 1) -> types.Array:
    return types.Array(dtype, ndim, "C", readonly=True)


def _out(dtype: types.Type, ndim: int = 1) -> types.Array:
    return types.Array(dtype, ndim, "C")


#: Arguments travel as tuples: one of columns, each with its presence, and one a table.
_COLUMN_TYPES: Final = types.Tuple(  # type: ignore[no-untyped-call]  # numba's own are untyped
    [
        t
        for dtype in (types.int64, types.int64, types.int64, types.int64, types.int64, types.uint8, types.uint16)
        for t in (_in(dtype), _in(types.boolean))
    ]
)
_TABLE_TYPES: Final = types.Tuple(  # type: ignore[no-untyped-call]  # likewise
    (_out(types.uint64, 2), _out(types.int64), _out(types.int64), _out(types.float64, 2), _out(types.uint64, 3))
)
_FLOW_TYPES: Final = types.Tuple(  # type: ignore[no-untyped-call]  # likewise
    (
        _in(types.int64),
        _in(types.uint64, 2),
        _in(types.uint64, 2),
        _in(types.uint16),
        _in(types.uint8),
        _in(types.boolean),
    )
)
_TABLES_TYPE: Final = types.UniTuple(_TABLE_TYPES, 3)  # type: ignore[no-untyped-call]  # likewise

#: Of a float64: the bits after the exponent, those of 1.0, and constants of the logarithm.
_MANTISSA: Final = (1 << 52) - 1
_ONE: Final = 1023 << 52
_ROOT_2: Final = math.sqrt(2.0)
_LN_2: Final = math.log(2.0)

#: How many rows ahead buckets are fetched, and what they point at.
_FAR: Final = 12
_NEAR: Final = 6

#: What a compiled function takes; numba goes by the signatures and by inference.
_Array = Any


@numba.njit(nogil=True, forceinline=True)
def _round(value: float) -> float:
    return math.floor(value * 1024.0 + 0.5) / 1024.0


@numba.njit(nogil=True, forceinline=True)
def _log(value: float) -> float:
    """ln(1 + value), to within 1e-14 before it is rounded: a quarter of the time that the C library takes."""
    bits = np.float64(1.0 + max(value, 0.0)).view(np.int64)
    exponent = (bits >> 52) - 1023
    mantissa = np.int64((bits & _MANTISSA) | _ONE).view(np.float64)
    if mantissa > _ROOT_2:
        mantissa *= 0.5
        exponent += 1
    # ln m = 2 artanh((m − 1) / (m + 1)), of which |s| < 0.172 needs nine terms.
    s = (mantissa - 1.0) / (mantissa + 1.0)
    z = s * s
    series = 1.0 / 17.0
    for odd in range(15, 0, -2):
        series = series * z + 1.0 / odd
    return _round(exponent * _LN_2 + 2.0 * s * series)


@numba.njit(nogil=True, forceinline=True)
def _seconds(before: _Array, now: _Array) -> float:
    # Unsigned, since two distant int64 times differ by more than int64 holds; a clock that runs backwards stands still.
    return float(np.uint64(now) - np.uint64(before)) / 1e9 if now > before else 0.0


@numba.njit(
    types.void(_in(types.uint8), _COLUMN_TYPES, _out(types.boolean), _out(types.float32, 2)), cache=True, nogil=True
)
def _shape(protocol: _Array, columns: _Array, failed_rows: _Array, out: _Array) -> None:
    """The features of a flow's own shape, and whether nobody answered it."""
    (
        duration, has_duration, orig_bytes, has_orig_bytes, resp_bytes, has_resp_bytes, orig_pkts, has_orig_pkts,
        resp_pkts, has_resp_pkts, state, has_state, port, has_port,
    ) = columns  # fmt: skip
    nan = np.float32(np.nan)
    out = borrowed(out)
    for i in range(len(protocol)):
        row = out[i]
        row[Column.DURATION_LOG] = _log(duration[i] / 1e6) if has_duration[i] else nan
        sent, received = max(float(orig_bytes[i]), 0.0), max(float(resp_bytes[i]), 0.0)
        row[Column.ORIG_BYTES_LOG] = _log(sent) if has_orig_bytes[i] else nan
        row[Column.RESP_BYTES_LOG] = _log(received) if has_resp_bytes[i] else nan
        row[Column.ORIG_PKTS_LOG] = _log(float(orig_pkts[i])) if has_orig_pkts[i] else nan
        row[Column.RESP_PKTS_LOG] = _log(float(resp_pkts[i])) if has_resp_pkts[i] else nan
        known = has_orig_bytes[i] and has_orig_pkts[i] and orig_pkts[i] > 0
        row[Column.ORIG_BYTES_PER_PKT_LOG] = _log(sent / orig_pkts[i]) if known else nan
        known = has_resp_bytes[i] and has_resp_pkts[i] and resp_pkts[i] > 0
        row[Column.RESP_BYTES_PER_PKT_LOG] = _log(received / resp_pkts[i]) if known else nan
        known = has_orig_bytes[i] and has_resp_bytes[i] and sent + received > 0
        row[Column.DIRECTION_RATIO] = _round((sent - received) / (sent + received)) if known else nan
        if has_state[i] and 0 < state[i] < len(_FAILED):
            failed, established, reset = _FAILED[state[i]], _ESTABLISHED[state[i]], _RESET[state[i]]
            row[Column.STATE_FAILED] = 1.0 if failed else 0.0
            row[Column.STATE_ESTABLISHED] = 1.0 if established else 0.0
            row[Column.STATE_RESET] = 1.0 if reset else 0.0
            row[Column.STATE_OTHER] = 0.0 if failed or established or reset else 1.0
        else:
            row[Column.STATE_FAILED] = row[Column.STATE_ESTABLISHED] = nan
            row[Column.STATE_RESET] = row[Column.STATE_OTHER] = nan
        # After conn_state or, without it, after the responder's packets.
        silent = has_resp_pkts[i] and resp_pkts[i] == 0
        kind = min(state[i], _LAST)
        failed_rows[i] = (_FAILED[kind] or (kind == _OTH and silent)) if has_state[i] else silent
        icmp = protocol[i] == 1 or protocol[i] == 58
        row[Column.PROTOCOL_TCP] = 1.0 if protocol[i] == 6 else 0.0
        row[Column.PROTOCOL_UDP] = 1.0 if protocol[i] == 17 else 0.0
        row[Column.PROTOCOL_ICMP] = 1.0 if icmp else 0.0
        for column in range(5):
            row[Column.PORT_AUTH + column] = nan if icmp or not has_port[i] else 0.0
        if has_port[i] and not icmp:
            row[Column.PORT_AUTH + _PORT_CLASS[port[i]]] = 1.0


@numba.njit(nogil=True, forceinline=True)
def _mix(high: _Array, low: _Array) -> _Array:
    # The finaliser of splitmix64 over both halves.
    x = high * np.uint64(0x9E3779B97F4A7C15) ^ low
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(nogil=True, forceinline=True)
def _find(keys: _Array, touched: _Array, high: _Array, low: _Array) -> _Array:
    buckets = np.uint64(len(touched) // WAYS)
    first: Any = np.int64(_mix(high, low) & (buckets - np.uint64(1))) * WAYS
    oldest = first
    for slot in range(first, first + WAYS):
        if touched[slot] >= 0 and keys[slot, 0] == high and keys[slot, 1] == low:
            return slot, True
        if touched[slot] < touched[oldest]:
            oldest = slot
    return oldest, False


@numba.njit(nogil=True, forceinline=True)
def _fetch_ahead(  # noqa: PLR0917 - numba takes arguments by position
    keys: _Array, touched: _Array, values: _Array, seen: _Array, names: _Array, i: int
) -> None:
    """Fetches what the rows that follow row i will ask a table for."""
    far, near = i + _FAR, i + _NEAR
    if far < len(names):
        buckets = np.uint64(len(touched) // WAYS)
        first = np.int64(_mix(names[far, 0], names[far, 1]) & (buckets - np.uint64(1))) * WAYS
        for line in range(3):
            prefetch(keys, first, line)
        prefetch(touched, first, 0)
        prefetch(touched, first, 1)
    if near < len(names):
        slot, _ = _find(keys, touched, names[near, 0], names[near, 1])
        prefetch(values, slot, 0)
        prefetch(values, slot, 1)
        prefetch(seen, slot, 0)


@numba.njit(nogil=True, forceinline=True)
def _learn_gap(values: _Array, slot: _Array, gap: float) -> None:
    values[slot, 4] += 1.0
    weight = 1.0 / min(values[slot, 4], float(GAP_MEMORY))
    deviation = abs(gap - values[slot, 5])
    values[slot, 5] += weight * (gap - values[slot, 5])
    if values[slot, 4] > 1.0:
        weight = 1.0 / min(values[slot, 4] - 1.0, float(GAP_MEMORY))
        values[slot, 6] += weight * (deviation - values[slot, 6])


@numba.njit(nogil=True, forceinline=True)
def _variation(values: _Array, slot: _Array) -> _Array:
    return min(values[slot, 6] / (values[slot, 5] + 0.001), 16.0)


@numba.njit(nogil=True, forceinline=True)
def _ones(x: _Array) -> _Array:
    x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@numba.njit(nogil=True, forceinline=True)
def _novelty(bits: _Array, slot: _Array, now: int, item: _Array) -> float:
    """Adds an item to a bitmap and returns how many distinct items it stands for: 0 where it was known.

    A new bit in a bitmap of which a share z is still zero stands for 1/z items, which makes the running sum an unbiased
    count (Ting, "Streamed approximate counting of distinct elements", KDD 2014).
    """
    position = _mix(item, np.uint64(0x51)) & np.uint64(_BITS - 1)
    word, mask = np.int64(position >> np.uint64(6)), np.uint64(1) << (position & np.uint64(63))
    known = (bits[slot, now, word] & mask) != 0
    before = (bits[slot, now + 1, word] & mask) != 0
    if known:
        return 0.0
    zeros = 0
    for w in range(BITMAP_WORDS):
        zeros += _ones(~(bits[slot, now, w] | bits[slot, now + 1, w]))
    bits[slot, now, word] |= mask
    return 0.0 if before else _BITS / float(max(zeros, 1))


@numba.njit(
    types.void(
        _FLOW_TYPES, types.boolean, _TABLES_TYPE, _out(types.int64), _out(types.uint64, 2), _out(types.float32, 2)
    ),
    cache=True,
    nogil=True,
)
def _context(  # noqa: PLR0912, PLR0915, PLR0917 - read, then learn, for three tables in one pass
    flows: _Array, learn: bool, tables: _Array, counters: _Array, pairs: _Array, out: _Array
) -> None:
    start, src, dst, port, protocol, failed = flows
    src, dst, out, pairs = borrowed(src), borrowed(dst), borrowed(out), borrowed(pairs)
    src_keys, src_touched, src_values = borrowed(tables[0][0]), borrowed(tables[0][1]), borrowed(tables[0][3])
    dst_keys, dst_touched, dst_values = borrowed(tables[1][0]), borrowed(tables[1][1]), borrowed(tables[1][3])
    pair_keys, pair_touched, pair_values = borrowed(tables[2][0]), borrowed(tables[2][1]), borrowed(tables[2][3])
    src_seen, src_bits = borrowed(tables[0][2]), borrowed(tables[0][4])
    dst_seen, pair_seen = borrowed(tables[1][2]), borrowed(tables[2][2])
    nan = np.float32(np.nan)
    for i in range(len(start)):
        # Two 64-bit hashes of source, destination, port and protocol: nobody meets a collision of 128 bits by chance.
        service = np.uint64(port[i]) << np.uint64(8) | np.uint64(protocol[i])
        pairs[i, 0] = _mix(_mix(src[i, 0], src[i, 1]), _mix(dst[i, 0], dst[i, 1]) + service)
        pairs[i, 1] = _mix(_mix(src[i, 1], dst[i, 0]) + service, _mix(dst[i, 1], src[i, 0]))
    for i in range(len(start)):
        _fetch_ahead(src_keys, src_touched, src_values, src_seen, src, i)
        _fetch_ahead(dst_keys, dst_touched, dst_values, dst_seen, dst, i)
        _fetch_ahead(pair_keys, pair_touched, pair_values, pair_seen, pairs, i)
        row = out[i]
        now = start[i]

        slot, found = _find(src_keys, src_touched, src[i, 0], src[i, 1])
        gap = 0.0
        fade = 0.0
        if found:
            gap = _seconds(src_seen[slot], now)
            fade = math.exp2(-gap / HALF_LIFE_SECONDS)
            row[Column.SRC_FLOWS_LOG] = _log(src_values[slot, 0] * fade)
            row[Column.SRC_FAILURE_RATE] = _round(src_values[slot, 1] / src_values[slot, 0])
            row[Column.SRC_DESTINATIONS_LOG] = _log(src_values[slot, 2] * fade)
            row[Column.SRC_FAILED_PORTS_LOG] = _log(src_values[slot, 3] * fade)
            row[Column.SRC_GAP_LOG] = _log(gap * 1e3)
            row[Column.SRC_GAP_VARIATION] = _round(_variation(src_values, slot)) if src_values[slot, 4] > 1 else nan
        else:
            row[Column.SRC_FLOWS_LOG] = row[Column.SRC_DESTINATIONS_LOG] = row[Column.SRC_FAILED_PORTS_LOG] = 0.0
            row[Column.SRC_FAILURE_RATE] = row[Column.SRC_GAP_LOG] = row[Column.SRC_GAP_VARIATION] = nan
        if learn:
            if found:
                _learn_gap(src_values, slot, gap)
                src_seen[slot] = max(src_seen[slot], now)
            else:
                counters[1] += src_touched[slot] >= 0
                src_keys[slot, 0], src_keys[slot, 1] = src[i, 0], src[i, 1]
                src_values[slot, :] = 0.0
                src_bits[slot, :, :] = np.uint64(0)
                src_seen[slot] = now
                src_values[slot, 7] = now / 1e9
            src_touched[slot] = counters[0]
            age = now / 1e9 - src_values[slot, 7]
            if age >= GENERATION_SECONDS:
                for w in range(BITMAP_WORDS):
                    stale = age >= 2 * GENERATION_SECONDS
                    src_bits[slot, 1, w] = np.uint64(0) if stale else src_bits[slot, 0, w]
                    src_bits[slot, 3, w] = np.uint64(0) if stale else src_bits[slot, 2, w]
                    src_bits[slot, 0, w] = src_bits[slot, 2, w] = np.uint64(0)
                src_values[slot, 7] = now / 1e9
            src_values[slot, 0] = src_values[slot, 0] * fade + 1.0
            src_values[slot, 1] = src_values[slot, 1] * fade + (1.0 if failed[i] else 0.0)
            destination = _novelty(src_bits, slot, 0, _mix(dst[i, 0], dst[i, 1]))
            src_values[slot, 2] = src_values[slot, 2] * fade + destination
            src_values[slot, 3] *= fade
            if failed[i]:
                service = np.uint64(port[i]) << np.uint64(8) | np.uint64(protocol[i])
                src_values[slot, 3] += _novelty(src_bits, slot, 2, service)

        slot, found = _find(dst_keys, dst_touched, dst[i, 0], dst[i, 1])
        fade = 0.0
        if found:
            fade = math.exp2(-_seconds(dst_seen[slot], now) / HALF_LIFE_SECONDS)
            row[Column.DST_FLOWS_LOG] = _log(dst_values[slot, 0] * fade)
            row[Column.DST_FAILURE_RATE] = _round(dst_values[slot, 1] / dst_values[slot, 0])
        else:
            row[Column.DST_FLOWS_LOG] = 0.0
            row[Column.DST_FAILURE_RATE] = nan
        if learn:
            if found:
                dst_seen[slot] = max(dst_seen[slot], now)
            else:
                counters[1] += dst_touched[slot] >= 0
                dst_keys[slot, 0], dst_keys[slot, 1] = dst[i, 0], dst[i, 1]
                dst_values[slot, :] = 0.0
                dst_seen[slot] = now
            dst_touched[slot] = counters[0]
            dst_values[slot, 0] = dst_values[slot, 0] * fade + 1.0
            dst_values[slot, 1] = dst_values[slot, 1] * fade + (1.0 if failed[i] else 0.0)

        slot, found = _find(pair_keys, pair_touched, pairs[i, 0], pairs[i, 1])
        gap = 0.0
        fade = 0.0
        if found:
            gap = _seconds(pair_seen[slot], now)
            fade = math.exp2(-gap / HALF_LIFE_SECONDS)
            row[Column.PAIR_FLOWS_LOG] = _log(pair_values[slot, 0] * fade)
            row[Column.PAIR_GAP_LOG] = _log(gap * 1e3)
            row[Column.PAIR_GAP_VARIATION] = _round(_variation(pair_values, slot)) if pair_values[slot, 4] > 1 else nan
        else:
            row[Column.PAIR_FLOWS_LOG] = 0.0
            row[Column.PAIR_GAP_LOG] = row[Column.PAIR_GAP_VARIATION] = nan
        if learn:
            if found:
                _learn_gap(pair_values, slot, gap)
                pair_seen[slot] = max(pair_seen[slot], now)
            else:
                counters[1] += pair_touched[slot] >= 0
                pair_keys[slot, 0], pair_keys[slot, 1] = pairs[i, 0], pairs[i, 1]
                pair_values[slot, :] = 0.0
                pair_seen[slot] = now
            pair_touched[slot] = counters[0]
            pair_values[slot, 0] = pair_values[slot, 0] * fade + 1.0
            counters[0] += 1


#: Bytes of IP and transport headers of a packet by protocol; TCP with the time stamps that most segments carry. A few
#: bytes a packet are next to nothing in a logarithm of payload.
_HEADERS: Final = np.full(256, 20, np.int64)
_HEADERS[[1, 17, 58]] = 28
_HEADERS[6] = 52

#: More packets than any flow has; a product with headers stays within int64.
_MOST_PACKETS: Final = 1 << 48


def _payload(batch: FlowBatch, side: str, protocol: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """int64 (n,) payload bytes and whether they are known; from IP bytes where the exporter counts those alone."""
    told, bytes_ = batch.has(f"{side}_bytes"), batch.number(f"{side}_bytes")
    packets = np.clip(batch.number(f"{side}_pkts"), 0, _MOST_PACKETS)
    left = np.maximum(batch.number(f"{side}_ip_bytes"), 0) - packets * _HEADERS[protocol]
    known = told | (batch.has(f"{side}_ip_bytes") & batch.has(f"{side}_pkts"))
    return np.where(told, bytes_, np.maximum(left, 0)), known


def compute(batch: FlowBatch, context: SourceContext, *, learn: bool) -> NDArray[np.float32]:
    """The matrix of :func:`securenet_flows.features.features`."""
    rows = len(batch)
    out = np.empty((rows, _COLUMNS), np.float32)
    if not rows:
        return out
    protocol = np.ascontiguousarray(batch.protocol)
    numeric, present = batch.numeric, batch.present
    all_, none = np.ones(rows, np.bool_), np.zeros(rows, np.bool_)
    shape: list[NDArray[np.generic]] = []
    for name in _SHAPE_COLUMNS:
        column = numeric.get(name)
        whole = column is not None and name not in present
        if not whole and name in _OF_IP and _OF_IP[name] in numeric:
            shape += _payload(batch, name[:4], protocol)
        elif column is None:
            shape += (np.zeros(rows, NUMERIC[name]), none)
        else:
            shape += (np.ascontiguousarray(column), all_ if whole else np.ascontiguousarray(present[name]))
    failed = np.empty(rows, np.bool_)
    _shape(protocol, tuple(shape), failed, out)
    flows = (
        np.ascontiguousarray(batch.start_time_ns),
        np.ascontiguousarray(batch.src_addr).view(np.uint64),
        np.ascontiguousarray(batch.dst_addr).view(np.uint64),
        shape[-2],
        protocol,
        failed,
    )
    _context(flows, learn, context.tables, context.counters, np.empty((rows, 2), np.uint64), out)
    return out
