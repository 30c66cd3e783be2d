"""From one computer to the next by the administrators' own protocols: SMB with service control, WinRM, RDP, SSH.

Realistic: a few peers that the host never contacted, tried one after the other with pauses of minutes, some of which
refuse or drop it; where one lets it in, a tool is copied over and a session follows; then the next computer goes on
from there. Volumes are those of ordinary administration, which the office has too; who does it to whom is the news.
Not realistic: no log of Kerberos tickets; user names are not modelled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from securenet_flows.batch import Int64
from securenet_flows.simulation import shapes
from securenet_flows.simulation.application import ssh
from securenet_flows.simulation.scenarios.interface import Attack, Parameter, Scenario, repeat
from securenet_flows.simulation.scenarios.probes import CLOSED, OPEN, server_ports
from securenet_flows.simulation.table import STATE, Column, Flows

_PORTS: Final = {"smb": 445, "winrm": 5985, "rdp": 3389, "ssh": 22}


def generate(attack: Attack) -> Iterator[Flows]:
    """Attempts hop by hop. The whole run is small; it is made as one piece."""
    rng, office = attack.rng, attack.office
    host, made, at = attack.workstation(), [], attack.start_us
    protocols = list(_PORTS) if attack.text("protocol") == "any" else [attack.text("protocol")]
    for _ in range(attack.count("hops")):
        candidates = np.concatenate([office.servers, rng.permutation(office.workstations)[: attack.count("peers")]])
        peers = rng.permutation(candidates[candidates != host])[: attack.count("peers")]
        gaps = attack.number("pause") * rng.uniform(0.4, 1.6, len(peers))
        times = at + np.cumsum((gaps * 1e6).astype(np.int64))
        ports, answer = _choose(attack, peers, np.array([_PORTS[name] for name in protocols]))
        made.append(_attempts(attack, host, peers, times, ports, answer))
        entered = np.flatnonzero(answer == OPEN)
        at = int(times[-1])
        if at >= attack.end_us:
            break
        if len(entered) == 0:
            continue
        host = int(peers[entered[-1]])
    yield Flows.concatenate(made).in_order()


def _choose(attack: Attack, peers: Int64, offered: Int64) -> tuple[Int64, Int64]:
    """A port for each peer and what it answers there; intruders know by then what listens where, two times in three."""
    rng, office = attack.rng, attack.office
    open_at = np.stack([server_ports(office, office.address[peers], np.full(len(peers), port)) for port in offered])
    wish = rng.random(open_at.shape) + np.where(open_at == OPEN, rng.random(len(peers)) < 0.67, 0)
    chosen = np.argmax(wish, axis=0)
    return offered[chosen], open_at[chosen, np.arange(len(peers))]


def _attempts(attack: Attack, host: int, peers: Int64, times: Int64, ports: Column, answer: Int64) -> Flows:  # noqa: PLR0917 (columns)
    rng, office = attack.rng, attack.office
    state = np.where(answer == OPEN, STATE["SF"], np.where(answer == CLOSED, STATE["REJ"], STATE["S0"]))
    made = []
    for name, port in _PORTS.items():
        rows = np.flatnonzero(ports == port)
        if len(rows) == 0:
            continue
        n = len(rows)
        src, dst, rtt = repeat(office.address[host], n), office.address[peers[rows]], rng.lognormal(-7.6, 0.4, n)
        if name == "ssh":
            success = state[rows] == STATE["SF"]
            made.append(
                ssh(
                    rng,
                    start_us=times[rows],
                    src=src,
                    dst=dst,
                    success=success,
                    attempts=np.ones(n, dtype=np.int64),
                    session_out=rng.lognormal(9.5, 1.2, n).astype(np.int64),
                    session_back=rng.lognormal(9.5, 1.2, n).astype(np.int64),
                    seconds=rng.lognormal(4.5, 1.0, n),
                    rtt=rtt,
                    client=np.full(n, "SSH-2.0-OpenSSH_9.6", dtype=object),
                    server=np.full(n, "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.8", dtype=object),
                    host_key=office.host_key[peers[rows]],
                    state=state[rows],
                    stack=office.stack[host],
                )
            )
            continue
        service, out, back, seconds = _SHAPES[name]
        made.append(
            shapes.tcp(
                rng,
                start_us=times[rows],
                src=src,
                dst=dst,
                dst_port=port,
                service=service,
                orig_bytes=rng.lognormal(out, 1.0, n).astype(np.int64),
                resp_bytes=rng.lognormal(back, 0.9, n).astype(np.int64),
                seconds=rng.lognormal(seconds, 1.0, n),
                rtt=rtt,
                state=state[rows],
                stack=office.stack[host],
                server_stack=office.stack[peers[rows]],
                turns=rng.integers(8, 40, n),
            )
        )
    return Flows.concatenate(made)


#: Service, mean logarithms of bytes out and back, and of seconds.
_SHAPES: Final = {
    "smb": ("gssapi,smb,dce_rpc,ntlm", 11.5, 9.3, 2.5),
    "winrm": ("http", 9.6, 9.5, 2.2),
    "rdp": ("rdp,ssl", 10.5, 13.0, 5.5),
}

SCENARIO = Scenario(
    name="lateral-movement",
    summary="an intruder goes from computer to computer with administrative protocols",
    techniques=("T1021.001", "T1021.002", "T1021.004", "T1021.006", "T1570"),
    parameters=(
        Parameter("hops", 3, "computers that it goes on from", low=1, high=200),
        Parameter("peers", 8, "computers that it tries from each", low=1, high=200),
        Parameter("pause", 60.0, "mean seconds between attempts", low=0.01, high=86400, duration=True),
        Parameter("protocol", "any", "what it uses", choices=("any", "smb", "winrm", "rdp", "ssh")),
    ),
    generate=generate,
)
