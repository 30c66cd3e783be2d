"""Single probes of ports, as the scans send them, with what Zeek makes of each.

What comes back decides the state (the rules are those of Zeek's `conn_state`, checked against Zeek's logs of nmap):

========  ================  =====================  ==================
kind      open              closed                 filtered
========  ================  =====================  ==================
connect   RSTO ShAR, SF …   REJ Sr                 S0 S
syn       RSTO ShR          REJ Sr                 S0 S
fin       SH F              RSTR Fr                SH F
xmas      SH F              RSTR Fr                SH F
null      OTH (none)        RSTR r                 OTH (none)
udp       SF Dd             S0 D (+ an ICMP)       S0 D
========  ================  =====================  ==================
"""

from __future__ import annotations

from typing import Final

import numpy as np

from securenet_flows.batch import Int8, Int64
from securenet_flows.simulation import shapes
from securenet_flows.simulation.office import Office
from securenet_flows.simulation.scenarios.interface import Attack, repeat
from securenet_flows.simulation.table import STATE, TCP, Column, Flows

FILTERED, OPEN, CLOSED = 0, 1, 2

#: How a port may be tried.
KINDS: Final = ("connect", "syn", "fin", "null", "xmas", "udp")

#: Ports that roles of the office listen on.
_WINDOWS_PORTS: Final = (135, 139, 445, 3389, 5985)
_LINUX_PORTS: Final = (22, 111)
_ROLE_PORTS: Final = {
    "directory": (53, 88, 389, 464, 636, 3268), "files": (), "mail": (25, 143, 465, 587, 993), "web": (80, 443),
    "backup": (873, 2049, 10051), "monitor": (80, 443, 3000), "intranet": (80, 443, 8080, 5432), "jump": (),
}  # fmt: skip
_PRINTER_PORTS: Final = (80, 443, 515, 631, 9100)


def server_ports(office: Office, dst: Int8, port: Int64) -> Int64:
    """What the office's hosts answer on the given ports: OPEN, CLOSED, or FILTERED where there is no such host.

    Work stations have a firewall that drops most of what they do not serve.
    """
    key = _keys(office.address)
    order = np.argsort(key)
    wanted = _keys(dst)
    place = np.minimum(np.searchsorted(key[order], wanted), len(key) - 1)
    host = order[place]
    exists = key[host] == wanted
    listening = np.zeros(len(dst), dtype=np.bool_)
    for number, ports in _listeners(office):
        listening |= (host == number) & np.isin(port, ports)
    desk = np.isin(host, office.workstations)
    windows_desk = desk & (office.stack[host] == shapes.WINDOWS)
    listening |= windows_desk & np.isin(port, (445, 135)) & (host % 3 > 0)
    listening |= windows_desk & np.isin(port, (5985, 3389)) & (host % 3 == 1)
    guarded = desk & ((host + port) % 5 > 0)
    return np.where(~exists, FILTERED, np.where(listening, OPEN, np.where(guarded, FILTERED, CLOSED)))


def udp_ports(office: Office, dst: Int8, port: Int64) -> Int64:
    """What the office's servers answer to datagrams on the given ports: OPEN or CLOSED, one in ten FILTERED."""
    served = np.isin(port, (53, 88, 123, 137, 161, 389, 500))
    dropped = port % 10 == 3
    nobody = server_ports(office, dst, np.zeros(len(dst), dtype=np.int64)) == FILTERED
    return np.where(nobody | dropped, FILTERED, np.where(served, OPEN, CLOSED))


def _listeners(office: Office) -> list[tuple[int, tuple[int, ...]]]:
    roles = {position: _ROLE_PORTS[name] for name, position in office.server.items()}
    found = []
    for host in office.servers.tolist():
        general = _WINDOWS_PORTS if office.stack[host] == shapes.WINDOWS else _LINUX_PORTS
        found.append((host, general + roles.get(host, ())))
    return found + [(host, _PRINTER_PORTS) for host in office.printers.tolist()]


def _keys(address: Int8) -> Int64:
    return np.asarray(address[:, 12:].astype(np.int64) @ np.array([1 << 24, 1 << 16, 1 << 8, 1]))


def probe(
    attack: Attack, *, times: Int64, scanner: int | Int8, dst: Int8, port: Int64, answer: Int64, kind: str
) -> Flows:
    """Probes of a scanner, which is a host of the office or an address (16,) outside. Times in order, as the result."""
    office, n = attack.office, len(times)
    inside = isinstance(scanner, int)
    src = repeat(office.address[scanner] if isinstance(scanner, int) else scanner, n)
    stack = int(office.stack[scanner]) if isinstance(scanner, int) else shapes.LINUX
    rtt = attack.rng.lognormal(-7.6 if inside else -3.2, 0.4, n)
    if kind == "connect":
        return _connect(attack, times=times, ends=(src, dst), port=port, answer=answer, rtt=rtt, stack=stack)
    if kind == "udp":
        return _datagrams(attack, times=times, ends=(src, dst), port=port, answer=answer, rtt=rtt, stack=stack)
    # Raw probes come from one source port; a second one is sent where nothing answers.
    source_port = np.full(n, attack.rng.integers(33_000, 64_000))
    sent = 1 + ((answer == FILTERED) | ((answer == OPEN) & (kind != "syn"))) * attack.rng.binomial(1, 0.9, n)
    state, history, received = _verdicts(kind, answer)
    reset = (kind == "syn") & (answer == OPEN)
    header = {"syn": 44, "fin": 40, "null": 40, "xmas": 40}[kind]
    duration = np.where(received > 0, rtt, (sent - 1) * attack.rng.uniform(1.0, 1.25, n))
    alone = (received == 0) & (sent == 1)
    return shapes.assemble(
        start_us=times,
        src=src,
        dst=dst,
        src_port=source_port,
        dst_port=port,
        protocol=TCP,
        service=np.full(n, None, dtype=object),
        state=state,
        history=history,
        duration_us=np.where(alone, -1, np.maximum((duration * 1e6).astype(np.int64), 1)),
        orig_bytes=np.where(alone, -1, 0),
        resp_bytes=np.where(alone, -1, 0),
        orig_pkts=sent + reset,
        orig_ip_bytes=sent * header + reset * 40,
        resp_pkts=received,
        resp_ip_bytes=received * np.where(reset, 44, 40),
    )


def _verdicts(kind: str, answer: Int64) -> tuple[Int64, Column, Int64]:
    table = {
        "syn": (("S0", "S"), ("RSTO", "ShR"), ("REJ", "Sr")),
        "fin": (("SH", "F"), ("SH", "F"), ("RSTR", "Fr")),
        "xmas": (("SH", "F"), ("SH", "F"), ("RSTR", "Fr")),
        "null": (("OTH", None), ("OTH", None), ("RSTR", "r")),
    }[kind]
    states = np.array([STATE[name] for name, _ in table])
    histories = np.array([history for _, history in table], dtype=object)
    received = (answer == CLOSED) | ((answer == OPEN) & (kind == "syn"))
    return states[answer], histories[answer], received.astype(np.int64)


def _connect(
    attack: Attack, *, times: Int64, ends: tuple[Int8, Int8], port: Int64, answer: Int64, rtt: Column, stack: int
) -> Flows:
    """A full handshake by the scanner's own TCP stack; what is open is closed at once, by reset as a rule."""
    n, none = len(times), np.zeros(len(times), dtype=np.int64)
    polite = attack.rng.random(n) < 0.15
    state = np.where(
        answer == OPEN,
        np.where(polite, STATE["SF"], STATE["RSTO"]),
        np.where(answer == CLOSED, STATE["REJ"], STATE["S0"]),
    )
    return shapes.tcp(
        attack.rng,
        start_us=times,
        src=ends[0],
        dst=ends[1],
        dst_port=port,
        service=None,
        orig_bytes=none,
        resp_bytes=none,
        seconds=attack.rng.exponential(0.0005, n),
        rtt=rtt,
        state=state,
        stack=stack,
    )


def _datagrams(
    attack: Attack, *, times: Int64, ends: tuple[Int8, Int8], port: Int64, answer: Int64, rtt: Column, stack: int
) -> Flows:
    """Empty or protocol-specific datagrams. A closed port answers with ICMP, limited to about one a second."""
    rng, n = attack.rng, len(times)
    payload = np.where(np.isin(port, (53, 123, 161, 137, 111)), rng.integers(20, 60, n), 0)
    got = answer == OPEN
    probes = shapes.udp(
        rng,
        start_us=times,
        src=ends[0],
        dst=ends[1],
        dst_port=port,
        service=None,
        orig_bytes=payload * np.where(got, 1, 2),
        resp_bytes=np.where(got, rng.integers(40, 300, n), 0),
        seconds=np.where(got, rtt, rng.uniform(0.8, 1.1, n)),
        orig_pkts=np.where(got, 1, 2),
        resp_pkts=got,
        stack=stack,
    )
    told = np.flatnonzero(answer == CLOSED)
    told = told[np.unique(times[told] // 1_000_000, return_index=True)[1]]
    unreachable = shapes.icmp(
        start_us=times[told] + (rtt[told] * 1e6).astype(np.int64),
        src=ends[1][told],
        dst=ends[0][told],
        kind=3,
        code=3,
        orig_pkts=np.ones(len(told)),
        resp_pkts=np.zeros(len(told)),
        payload=28 + payload[told],
        seconds=rtt[told],
    )
    return Flows.concatenate([probes, unreachable]).in_order()
