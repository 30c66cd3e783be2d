"""The compiled loop that makes the columns which several detectors need, in one pass over the rows.

A batch of a few flows costs as much as the steps that are made for it, whatever its size, so everything that follows
from a row alone is made here. One bit a mark tells whether any row carries it: a detector that looks for what nobody
does is done with the batch at once.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from securenet_detection.behaviours.kernels import _mix
from securenet_detection.behaviours.services import ADMINISTERS_AT, LOGIN, LOOKUP, MINING, RDP, SMB, SSH, WINRM
from securenet_detection.compiled import jit
from securenet_flows.batch import CONN_STATES
from securenet_flows.kernel_memory import borrowed

#: Columns of numbers; :class:`.observation.Observation` says what they are.
(
    SRC, DST, DST_PORT, PROTOCOL, TIMES, HOSTS, PAIR, PORT_PAIR, SERVICE_KEY, SENT, RECEIVED, DURATION_MS, LONG_QUERIES,
    ADMIN, ADMIN_PEER,
) = range(15)  # fmt: skip
NUMBERS: Final = ADMIN_PEER + 1

#: Marks of rows, likewise.
(
    SRC_LOCAL, DST_LOCAL, DST_GROUP, FAILED, TCP_ROW, PORTED, ICMP, LEAVES, CALLS, CONVERSES, STAYS, STROBES,
    UNANSWERED, TRIED, TRIED_PORTS, FAILED_PORTS, ASKS, KNOWN_TCP, FLOODS, LOOKUPS, SERVED, LOGINS, MINES, ADMINISTERS,
    ADMINISTERED, ANSWERED, NAME_PORT,
) = range(27)  # fmt: skip
MARKS: Final = NAME_PORT + 1

#: Bytes and packets of one flow count no further than this, whatever its log says; of queries, fewer do.
MOST_OF_A_FLOW: Final = 1 << 46
_MOST_QUERIES: Final = 1 << 32

#: Times are held this far from the ends of int64, so that no sum or difference of theirs overflows.
FARTHEST_NS: Final = 1 << 61

#: Shorter connections are calls, not stays.
_STAY_MS: Final = 5000

#: A conversation of so many packets is no single lookup; and mean payload that names of some 40 and 80 characters make.
_CONVERSATION: Final = 20
_LONG_IN_CONVERSATION: Final = 64
_LONG_ALONE: Final = 100

_TCP, _UDP = 6, 17

#: States that are failures outright, those that are where the responder sent nothing, and TCP that came to nothing.
_FAILED: Final = np.array([name in ("S0", "REJ") for name in CONN_STATES])
_FAILED_IF_SILENT: Final = np.array([name in ("OTH", "RSTOS0") for name in CONN_STATES])
_NOTHING: Final = np.array([name in ("S0", "S1", "REJ", "RSTO", "RSTR", "RSTOS0", "SH") for name in CONN_STATES])
_OTHER: Final = len(CONN_STATES) - 1

# What a compiled function takes and gives; numba goes by inference.
_Array = Any


@numba.njit(nogil=True, forceinline=True)
def _kind(a: _Array) -> int:
    """Bit 0: a private, unique local, link-local or loopback address; bit 1: multicast or broadcast.

    RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291, RFC 5771.
    """
    zeros = True
    for k in range(10):
        if a[k] != 0:
            zeros = False
            break
    if zeros and a[10] == 255 and a[11] == 255:
        w, x = a[12], a[13]
        if (
            w in (10, 127)
            or (w == 172 and 16 <= x < 32)
            or (w == 192 and x == 168)
            or (w == 169 and x == 254)
            or (w == 100 and 64 <= x < 128)
        ):
            return 1
        if 224 <= w < 240 or (w == 255 and x == 255 and a[14] == 255 and a[15] == 255):
            return 2
    elif a[0] == 255:
        return 2
    elif (a[0] & 254) == 252 or (a[0] == 254 and (a[1] & 192) == 128) or (zeros and a[15] == 1 and a[14] == 0):
        return 1
    return 0


@numba.njit(nogil=True, forceinline=True)
def _number(column: _Array, i: int) -> Any:
    """A row's number, 0 where the batch lacks the column."""
    return np.int64(column[i]) if len(column) else np.int64(0)


@numba.njit(nogil=True, forceinline=True)
def _has(column: _Array, present: _Array, i: int) -> bool:
    """Whether a row has a number; a column without a mask has one in every row."""
    return len(column) > 0 and (len(present) == 0 or present[i])


@numba.njit(nogil=True, forceinline=True)
def _administers(port: _Array, fact: _Array) -> Any:
    """Position of the service that administers a host, by its name, else by its port; −1 for others."""
    if fact >> ADMINISTERS_AT:
        return (fact >> ADMINISTERS_AT) - 1
    if port == 3389:
        return RDP
    if port in (445, 139):
        return SMB
    if port == 22:
        return SSH
    return WINRM if port in (5985, 5986) else -1


@numba.njit(nogil=True, forceinline=True)
def _mark(marks: _Array, mark: int, i: int, value: _Array) -> Any:
    marks[mark, i] = value
    return np.int64(value) << mark


@jit
def read_rows(  # noqa: PLR0915, PLR0917 - one pass over the rows; numba takes arguments by position
    src_addr: _Array,
    dst_addr: _Array,
    times: _Array,
    protocols: _Array,
    src_port: _Array,
    dst_port: _Array,
    states: _Array,
    states_present: _Array,
    orig_bytes: _Array,
    resp_bytes: _Array,
    resp_bytes_present: _Array,
    orig_pkts: _Array,
    resp_pkts: _Array,
    durations: _Array,
    local_orig: _Array,
    local_orig_present: _Array,
    local_resp: _Array,
    local_resp_present: _Array,
    services: _Array,
    facts: _Array,
    queries: _Array,
    seed: int,
    numbers: _Array,
    marks: _Array,
) -> Any:
    """Makes the columns of a batch of n rows; a column of the batch that it lacks comes empty.

    Args:
        src_addr, dst_addr: uint8 (n, 16).
        times: int64 (n,), ns. protocols: uint8 (n,).
        src_port, …, local_resp_present: columns of the batch, with those masks of presence that it has.
        services: int32 (n,), codes of the services' names. facts: int64 (values + 1,), see :mod:`.services`.
        queries: int32 (n,), codes of the names that were asked for.
        seed: keys the hashes of addresses.
        numbers: int64 (NUMBERS, n), filled. marks: boolean (MARKS, n), filled.

    Returns:
        A bit a mark, set where any row has it; and the longest duration, ns.
    """
    numbers, marks = borrowed(numbers), borrowed(marks)
    src_words, dst_words = src_addr.view(np.uint64), dst_addr.view(np.uint64)
    found = np.int64(0)
    longest = np.int64(0)
    for i in range(len(times)):
        protocol = np.int64(protocols[i])
        tcp, icmp = protocol == _TCP, protocol in (1, 58)
        ported = tcp or protocol == _UDP
        asker, port = _number(src_port, i), _number(dst_port, i)
        state = min(_number(states, i), _OTHER)
        sent_raw, received_raw = _number(orig_bytes, i), _number(resp_bytes, i)
        packets, answers = _number(orig_pkts, i), _number(resp_pkts, i)
        duration = _number(durations, i)
        longest = max(longest, duration)
        service = np.int64(services[i]) if len(services) else np.int64(-1)
        fact = facts[service] if service >= 0 else np.int64(0)
        src_kind, dst_kind = _kind(src_addr[i]), _kind(dst_addr[i])
        src_told, dst_told = _has(local_orig, local_orig_present, i), _has(local_resp, local_resp_present, i)
        src_local = local_orig[i] if src_told else src_kind & 1 != 0
        dst_local = local_resp[i] if dst_told else dst_kind & 1 != 0
        group = dst_kind == 2
        # Midstream flows from a system port to a high one are answers seen from the wrong side; of ICMP, echo asks.
        asks = asker in (8, 128) if icmp else not (state == _OTHER and asker < 1024 and port >= 1024)
        failed = (_FAILED[state] or (_FAILED_IF_SILENT[state] and received_raw == 0)) and asks and not group
        if icmp:
            port = np.int64(0)
        src = _mix(_mix(src_words[i, 0], seed), src_words[i, 1])
        dst = _mix(_mix(dst_words[i, 0], seed), dst_words[i, 1])
        hosts = _mix(src, dst)
        sent = min(max(sent_raw, 0), MOST_OF_A_FLOW)
        received = min(max(received_raw, 0), MOST_OF_A_FLOW)
        stay = max(duration // 1_000_000, 0)
        # Where the sensor does not say what is local, and neither address is private, any flow may leave.
        leaves = (src_local or not (src_told or dst_told or group)) and not dst_local
        calls = leaves and not failed
        # Bytes of NTP's messages, plain and with a 160-bit digest.
        clock = port == 123 and protocol == _UDP and (sent % 48 == 0 or sent % 68 == 0)
        served = port == 53 or fact & LOOKUP != 0
        least, most = min(max(packets, 0), _MOST_QUERIES), min(sent, _MOST_QUERIES)
        long = least >= _CONVERSATION and most >= _LONG_IN_CONVERSATION * least
        # A single lookup whose name is known is judged by its name.
        unnamed = not (len(queries) and queries[i] >= 0)
        long = long or (least > 0 and most >= _LONG_ALONE * least and unnamed)
        admin = -1
        if src_local and dst_local and tcp and src != dst:
            admin = _administers(port, fact)
        spoke = received_raw > 0 or not _has(resp_bytes, resp_bytes_present, i)
        login = fact & LOGIN != 0 or (service < 0 and port in (21, 22, 23, 445, 3389, 5900))
        nothing = _NOTHING[state] and sent_raw == 0 if tcp else answers == 0
        tried = not src_local and dst_local and failed and (asker >= 1024 or port < 1024)

        numbers[SRC, i], numbers[DST, i] = src, dst
        numbers[DST_PORT, i], numbers[PROTOCOL, i] = port, protocol
        numbers[TIMES, i] = min(max(times[i], -FARTHEST_NS), FARTHEST_NS)
        numbers[HOSTS, i] = hosts
        numbers[PAIR, i] = _mix(hosts, (port << 8) | protocol)
        numbers[PORT_PAIR, i] = _mix(hosts, port)
        numbers[SERVICE_KEY, i] = _mix(src, (port << 9) | (protocol << 1) | np.int64(dst_local))
        numbers[SENT, i], numbers[RECEIVED, i] = sent, received
        numbers[DURATION_MS, i] = stay
        numbers[LONG_QUERIES, i] = least if long and served and not group and protocol == _UDP else 0
        numbers[ADMIN, i] = admin
        numbers[ADMIN_PEER, i] = _mix(dst, np.int64(admin))

        found |= _mark(marks, SRC_LOCAL, i, src_local)
        found |= _mark(marks, DST_LOCAL, i, dst_local)
        found |= _mark(marks, DST_GROUP, i, group)
        found |= _mark(marks, FAILED, i, failed)
        found |= _mark(marks, TCP_ROW, i, tcp)
        found |= _mark(marks, PORTED, i, ported)
        found |= _mark(marks, ICMP, i, icmp)
        found |= _mark(marks, LEAVES, i, leaves)
        found |= _mark(marks, CALLS, i, calls)
        found |= _mark(marks, CONVERSES, i, calls and received > 0 and not clock)
        found |= _mark(marks, STAYS, i, calls and stay >= _STAY_MS and (answers != 0 or received_raw != 0))
        found |= _mark(marks, STROBES, i, leaves and port > 0)
        found |= _mark(marks, UNANSWERED, i, leaves and failed and tcp)
        found |= _mark(marks, TRIED, i, tried)
        found |= _mark(marks, TRIED_PORTS, i, tried and ported)
        found |= _mark(marks, FAILED_PORTS, i, failed and ported)
        # Echo, timestamp, information and address mask (RFC 792, 950), echo (RFC 4443); 0 is unknown.
        found |= _mark(marks, ASKS, i, icmp and not group and asker in (0, 8, 13, 15, 17, 128))
        found |= _mark(marks, KNOWN_TCP, i, tcp and _has(states, states_present, i))
        found |= _mark(marks, FLOODS, i, received_raw == 0 and state > 0 and nothing and not group)
        found |= _mark(marks, LOOKUPS, i, ported and port == 53)
        found |= _mark(marks, SERVED, i, served)
        found |= _mark(marks, LOGINS, i, login and tcp)
        found |= _mark(marks, MINES, i, fact & MINING != 0 and not failed)
        found |= _mark(marks, ADMINISTERS, i, admin >= 0)
        found |= _mark(marks, ADMINISTERED, i, admin >= 0 and not failed and spoke)
        found |= _mark(marks, ANSWERED, i, not failed and not group and spoke)
        found |= _mark(marks, NAME_PORT, i, port in (53, 853))
    return found, longest


@jit
def find_odd_ports(  # noqa: PLR0917 - numba takes arguments by position
    codes: _Array, known: _Array, answered: _Array, ports: _Array, odd_ports: _Array, odd: _Array
) -> int:
    """Marks answered rows whose port is odd for every service that was recognised.

    Args:
        codes: int32 (n,), positions in `known`, −1 where no service was recognised.
        known: int64 (values + 1, places), positions in `odd_ports`, 0 for none; the last are those of absent rows.
        answered: boolean (n,). ports: int64 (n,).
        odd_ports: boolean (services + 1, 65536).
        odd: boolean (n,), filled.

    Returns:
        How many rows are odd.
    """
    found = 0
    for i in range(len(codes)):
        services = known[codes[i]]
        odd[i] = answered[i] and services[0] > 0
        for place in range(len(services)):
            if services[place] > 0 and not odd_ports[services[place], ports[i]]:
                odd[i] = False
        found += odd[i]
    return found
