"""What a connection looks like on the wire: state, history, packets and IP bytes that agree with each other.

Every flow of the simulator is made here from what its parties meant to do (payload bytes each way, how it ended), so
benign and malicious flows obey the same arithmetic and the same noise.

Realistic: option and header sizes of Windows and Linux stacks in IPv4 and IPv6, segments of the path's MSS, delayed
acknowledgements, retransmissions with Zeek's T/t in the history, repeated SYNs of unanswered attempts, the orders in
which closes are seen. States follow Zeek's rules (`conn_state` in its base/protocols/conn/main.zeek).
Not realistic: no capture loss (`missed_bytes` is 0), no segmentation off-load, no NAT, no asymmetric routes.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from securenet_flows.batch import Bool, Int8, Int64
from securenet_flows.simulation.table import COLUMNS, ICMP, ICMPV6, STATE, TCP, UDP, Column, Floats, Flows, Objects

#: Stacks of hosts: they differ in TCP options, in ephemeral ports and in the number of SYNs after a refusal.
WINDOWS, LINUX, EMBEDDED = 0, 1, 2

_TCP_HEADER: Final = np.array([20, 32, 20])  # Linux sends time stamps, 12 bytes, with each segment
_SYN_HEADER: Final = np.array([32, 40, 24])
_PORTS: Final = np.array([[49152, 65536], [32768, 61000], [1024, 65536]])

_ANSWERED: Final = tuple(STATE[name] for name in ("S1", "SF", "S2", "S3", "RSTO", "RSTR"))
_CLOSINGS: Final = {
    STATE["SF"]: ("Ff", "fF", "FfR", "fFr"),
    STATE["RSTO"]: ("R", "FR", "fR", "R"),
    STATE["RSTR"]: ("r", "r", "fr", "Fr"),
    STATE["S2"]: ("F",) * 4,
    STATE["S3"]: ("f",) * 4,
    STATE["S1"]: ("",) * 4,
}
_CLOSING_ODDS: Final = np.array([0.5, 0.87, 0.97])


def is_ipv6(address: Int8) -> Bool:
    """Boolean (n,): which (n, 16) addresses are not IPv4-mapped."""
    return np.asarray((address[:, :10] != 0).any(axis=1) | (address[:, 10] != 255))


def ephemeral_ports(rng: np.random.Generator, stack: Column) -> Column:
    """A client port a row (uint16), from the range that the stack uses."""
    bounds = _PORTS[stack]
    return rng.integers(bounds[:, 0], bounds[:, 1]).astype(np.uint16)


def tcp(
    rng: np.random.Generator,
    *,
    start_us: Int64,
    src: Int8,
    dst: Int8,
    dst_port: Column | int,
    service: Objects | str | None,
    orig_bytes: Column,
    resp_bytes: Column,
    seconds: Floats,
    rtt: Floats,
    state: Column | str = "SF",
    stack: Column | int = WINDOWS,
    server_stack: Column | int = LINUX,
    src_port: Column | None = None,
    turns: Column | int = 1,
    server_first: bool = False,
) -> Flows:
    """TCP connections.

    Args:
        rng: source of the noise.
        start_us: time of the first packet.
        src, dst: addresses (n, 16).
        dst_port: port of the responder.
        service: what Zeek would recognise; null where no payload was exchanged.
        orig_bytes, resp_bytes: payload that each side means to send; nothing is sent where the state says so.
        seconds: time between the handshake and the close.
        rtt: round-trip time in seconds.
        state: conn_state, by number a row or by one name: S0, REJ or a state of an answered connection.
        stack, server_stack: WINDOWS, LINUX or EMBEDDED.
        src_port: port of the originator; from the stack's ephemeral range if not given.
        turns: requests and answers in turn; each is a segment at least.
        server_first: the responder speaks first, as in SSH and SMTP.

    Returns:
        The flows, in the order given.
    """
    n = len(start_us)
    states = np.full(n, STATE[state], dtype=np.uint8) if isinstance(state, str) else state.astype(np.uint8)
    stack = np.broadcast_to(np.asarray(stack), (n,))
    server_stack = np.broadcast_to(np.asarray(server_stack), (n,))
    answered = np.isin(states, _ANSWERED)
    refused = states == STATE["REJ"]
    out = np.where(answered, orig_bytes, 0).astype(np.int64)
    back = np.where(answered, resp_bytes, 0).astype(np.int64)

    extra = np.where(is_ipv6(src), 20, 0)
    # Both ends use time stamps only if both offer them.
    option = np.where((stack == LINUX) & (server_stack == LINUX), 32, 20)
    mss = 1480 - option - extra
    turns_ = np.broadcast_to(np.asarray(turns), (n,))
    data_out = np.where(out > 0, np.maximum(-(-out // mss), np.minimum(turns_, out)), 0)
    data_back = np.where(back > 0, np.maximum(-(-back // mss), np.minimum(turns_, back)), 0)
    acks_out = (data_back * rng.uniform(0.3, 0.62, n)).astype(np.int64)
    acks_back = (data_out * rng.uniform(0.3, 0.62, n)).astype(np.int64)

    lost_out = np.minimum(rng.poisson(data_out * 0.0015), data_out)
    lost_back = np.minimum(rng.poisson(data_back * 0.0015), data_back)
    again_out = np.where(data_out > 0, lost_out * np.minimum(out, mss), 0)
    again_back = np.where(data_back > 0, lost_back * np.minimum(back, mss), 0)

    closing = np.searchsorted(_CLOSING_ODDS, rng.random(n))
    endings, ending_of = _endings(states, closing)
    fin_out, fin_back = _letter_counts(endings, "FR")[ending_of], _letter_counts(endings, "fr")[ending_of]
    finished = states == STATE["SF"]

    # An unanswered or refused SYN is sent again: by Windows up to twice, by others when their timer says so.
    attempts = 1 + np.where(
        refused,
        np.where(stack == WINDOWS, rng.binomial(2, 0.8, n), 0),
        np.where(states == STATE["S0"], rng.binomial(3, 0.55, n), 0),
    )
    syn_out = extra + 20 + _SYN_HEADER[stack]
    syn_back = extra + 20 + np.where(refused, 20, np.minimum(_SYN_HEADER[stack], _SYN_HEADER[server_stack]))
    tail_out = np.where(answered, 1 + data_out + lost_out + acks_out + fin_out + finished, 0)
    tail_back = np.where(answered, data_back + lost_back + acks_back + fin_back + finished, 0)
    head_back = np.where(answered, 1, np.where(refused, attempts, 0))
    header = extra + 20 + option

    duration = _durations(rng, states, attempts, rtt, seconds)
    silent = duration < 0
    names = np.full(n, service, dtype=object) if not isinstance(service, np.ndarray) else service.copy()
    names[(out == 0) | (back == 0)] = None
    return assemble(
        start_us=start_us,
        duration_us=duration,
        src=src,
        dst=dst,
        src_port=ephemeral_ports(rng, stack) if src_port is None else src_port,
        dst_port=dst_port,
        protocol=TCP,
        service=names,
        orig_bytes=np.where(silent, -1, out),
        resp_bytes=np.where(silent, -1, back),
        state=states,
        history=_histories(states, endings, ending_of, (out, back, lost_out, lost_back), server_first=server_first),
        orig_pkts=attempts + tail_out,
        orig_ip_bytes=attempts * syn_out + tail_out * header + out + again_out,
        resp_pkts=head_back + tail_back,
        resp_ip_bytes=head_back * syn_back + tail_back * header + back + again_back,
    )


def udp(
    rng: np.random.Generator,
    *,
    start_us: Int64,
    src: Int8,
    dst: Int8,
    dst_port: Column | int,
    service: Objects | str | None,
    orig_bytes: Column,
    resp_bytes: Column,
    seconds: Floats,
    orig_pkts: Column | int = 1,
    resp_pkts: Column | int = 1,
    stack: Column | int = WINDOWS,
    src_port: Column | None = None,
) -> Flows:
    """UDP exchanges. `resp_pkts` of 0 is an unanswered one (S0); `seconds` is the time from first to last packet."""
    n = len(start_us)
    sent = np.maximum(np.broadcast_to(np.asarray(orig_pkts), (n,)), 1).astype(np.int64)
    got = np.broadcast_to(np.asarray(resp_pkts), (n,)).astype(np.int64)
    header = np.where(is_ipv6(src), 48, 28)
    single = (got == 0) & (sent == 1)
    out, back = np.asarray(orig_bytes).astype(np.int64), np.where(got > 0, resp_bytes, 0).astype(np.int64)
    names = np.full(n, service, dtype=object) if not isinstance(service, np.ndarray) else service
    return assemble(
        start_us=start_us,
        duration_us=np.where(single, -1, np.maximum((seconds * 1e6).astype(np.int64), 1)),
        src=src,
        dst=dst,
        src_port=ephemeral_ports(rng, np.broadcast_to(np.asarray(stack), (n,))) if src_port is None else src_port,
        dst_port=dst_port,
        protocol=UDP,
        service=names,
        orig_bytes=np.where(single, -1, out),
        resp_bytes=np.where(single, -1, back),
        state=np.where(got > 0, STATE["SF"], STATE["S0"]),
        history=_DATAGRAMS[(got > 0).astype(np.int64)],
        orig_pkts=sent,
        orig_ip_bytes=out + header * sent,
        resp_pkts=got,
        resp_ip_bytes=back + header * got,
    )


def icmp(
    *,
    start_us: Int64,
    src: Int8,
    dst: Int8,
    kind: int,
    code: int,
    orig_pkts: Column,
    resp_pkts: Column,
    payload: Column | int,
    seconds: Floats,
) -> Flows:
    """ICMP exchanges. Zeek puts the type into the originator's port, the answer's type or the code into the other."""
    n = len(start_us)
    six = is_ipv6(src)
    header = np.where(six, 48, 28)
    payload_ = np.broadcast_to(np.asarray(payload), (n,))
    sent, got = np.asarray(orig_pkts).astype(np.int64), np.asarray(resp_pkts).astype(np.int64)
    single = sent + got == 1
    return assemble(
        start_us=start_us,
        duration_us=np.where(single, -1, np.maximum((seconds * 1e6).astype(np.int64), 1)),
        src=src,
        dst=dst,
        src_port=np.where(six & (kind == 8), 128, kind),
        dst_port=np.where(six & (kind == 8), 129, code),
        protocol=np.where(six, ICMPV6, ICMP),
        service=np.full(n, None, dtype=object),
        orig_bytes=np.where(single, -1, sent * payload_),
        resp_bytes=np.where(single, -1, got * payload_),
        state=np.full(n, STATE["OTH"]),
        history=np.full(n, None, dtype=object),
        orig_pkts=sent,
        orig_ip_bytes=sent * (payload_ + header),
        resp_pkts=got,
        resp_ip_bytes=got * (payload_ + header),
    )


def assemble(**given: Column | int) -> Flows:
    """A table from columns, cast to their dtypes; single values are repeated; what the simulator stamps is empty."""
    n = len(np.asarray(given["start_us"]))
    columns: dict[str, Column] = {}
    for name, dtype in COLUMNS.items():
        value = np.asarray(given.get(name, _UNSTAMPED.get(name, 0)))
        shape = (n, 16) if name in {"src", "dst"} else (n,)
        columns[name] = np.broadcast_to(value, shape).astype(dtype)
    return Flows(columns)


_UNSTAMPED: Final = {"detail": None, "uid": b""}
_DATAGRAMS: Final = np.array(["D", "Dd"], dtype=object)


def _durations(rng: np.random.Generator, state: Column, attempts: Column, rtt: Floats, seconds: Floats) -> Int64:
    jitter = rng.uniform(0.9, 1.25, len(rtt))
    waits = np.array([0.0, 1.0, 3.0, 7.0])[np.minimum(attempts, 4) - 1]  # the retry timer doubles: 1, 2, 4 s
    total = rtt * 2 * jitter + seconds
    total = np.where(state == STATE["S0"], waits * rng.uniform(0.99, 1.03, len(rtt)), total)
    total = np.where(state == STATE["REJ"], rtt * jitter + (attempts - 1) * rng.uniform(0.49, 0.52, len(rtt)), total)
    microseconds = np.maximum((total * 1e6).astype(np.int64), 1)
    return np.where((state == STATE["S0"]) & (attempts == 1), -1, microseconds)


def _endings(state: Column, closing: Column) -> tuple[list[str], Int64]:
    """The close of each connection, as distinct texts and an index into them."""
    code = state.astype(np.int64) * 4 + closing
    distinct, index = np.unique(code, return_inverse=True)
    return [_CLOSINGS.get(c // 4, ("",) * 4)[c % 4] for c in distinct.tolist()], index.astype(np.int64)


def _letter_counts(texts: list[str], letters: str) -> Int64:
    return np.array([sum(text.count(letter) for letter in letters) for text in texts], dtype=np.int64)


def _histories(
    state: Column,
    endings: list[str],
    ending_of: Int64,
    volumes: tuple[Int64, Int64, Int64, Int64],
    *,
    server_first: bool,
) -> Objects:
    """Histories of TCP connections: one text for each distinct combination of what happened."""
    out, back, lost_out, lost_back = (values > 0 for values in volumes)
    code = ((((state.astype(np.int64) * len(endings) + ending_of) * 2 + out) * 2 + back) * 2 + lost_out) * 2 + lost_back
    distinct, index = np.unique(code, return_inverse=True)
    texts = np.empty(len(distinct), dtype=object)
    for i, value in enumerate(distinct.tolist()):
        flags = value % 16
        ending, number = endings[value // 16 % len(endings)], value // 16 // len(endings)
        texts[i] = _history(number, ending, flags, server_first=server_first)
    return texts[index]


def _history(state: int, ending: str, flags: int, *, server_first: bool) -> str:
    if state == STATE["S0"]:
        return "S"
    if state == STATE["REJ"]:
        return "Sr"
    sends = "D" if flags & 8 else ""
    answers = "d" if flags & 4 else ""
    resent = ("T" if flags & 2 else "") + ("t" if flags & 1 else "")
    # The responder's bare acknowledgement shows once it has something to acknowledge apart from its own data.
    acknowledged = "a" if sends else ""
    body = answers + sends + acknowledged if server_first else sends + acknowledged + answers
    return f"ShA{body}{resent}{ending}"
