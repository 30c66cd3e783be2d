"""The monitoring server asks every server and printer how it is: by ping, SNMP, HTTP and an SSH log-in.

The benign twin of a beacon and of a scan: exact intervals, one source and all servers, constant volumes, and a few
checks that fail because what they check is down.
"""

from __future__ import annotations

import numpy as np

from securenet_flows.simulation import application, shapes
from securenet_flows.simulation.activities.interface import Slice
from securenet_flows.simulation.table import STATE, Column, Flows


def generate(part: Slice) -> Flows:
    """Checks of the slice."""
    office = part.office
    watched = np.concatenate([office.servers, office.printers])
    return Flows.concatenate([_pings(part, watched), _counters(part, watched), _pages(part), _agentless(part)])


def _pings(part: Slice, watched: Column) -> Flows:
    rng, office = part.rng, part.office
    who, when = part.ticks(watched, 60.0, 0.05)
    n = len(who)
    up = rng.random(n) < 0.998
    return shapes.icmp(
        start_us=when,
        src=office.one("monitor", n),
        dst=office.address[who],
        kind=8,
        code=0,
        orig_pkts=np.full(n, 3),
        resp_pkts=np.where(up, 3, 0),
        payload=56,
        seconds=2.0 + rng.normal(0.004, 0.001, n),
    )


def _counters(part: Slice, watched: Column) -> Flows:
    rng, office = part.rng, part.office
    who, when = part.ticks(watched, 300.0, 0.3, shift=0.5)
    n = len(who)
    questions = 6 + who % 20
    return shapes.udp(
        rng,
        start_us=when,
        src=office.one("monitor", n),
        dst=office.address[who],
        dst_port=161,
        service="snmp",
        orig_bytes=questions * rng.integers(78, 86, n),
        resp_bytes=questions * rng.integers(90, 140, n),
        seconds=questions * rng.lognormal(-6.2, 0.3, n),
        orig_pkts=questions,
        resp_pkts=np.where(rng.random(n) < 0.995, questions, 0),
        stack=shapes.LINUX,
    )


def _pages(part: Slice) -> Flows:
    rng, office = part.rng, part.office
    roles = np.array([office.server["web"], office.server["intranet"]])
    who, when = part.ticks(np.repeat(roles, 1), 30.0, 0.05, shift=0.25)
    n = len(who)
    return application.http(
        rng,
        start_us=when,
        src=office.one("monitor", n),
        dst=office.address[who],
        host=np.where(who == roles[0], "www.office.example", "intranet.office.internal").astype(object),
        uri=np.full(n, "/healthz", dtype=object),
        user_agent=np.full(n, "check_http/v2.3.5 (monitoring-plugins 2.3.5)", dtype=object),
        request=np.zeros(n, dtype=np.int64),
        response=np.full(n, 2),
        seconds=rng.lognormal(-5, 0.3, n),
        rtt=rng.lognormal(-7.7, 0.2, n),
        state=rng.choice(np.array([STATE["SF"], STATE["REJ"]]), n, p=[0.997, 0.003]),
        stack=shapes.LINUX,
        mime_type="text/plain",
    )


def _agentless(part: Slice) -> Flows:
    rng, office = part.rng, part.office
    linux = office.servers[office.stack[office.servers] == shapes.LINUX]
    who, when = part.ticks(linux, 600.0, 0.5, shift=0.8)
    n = len(who)
    return application.ssh(
        rng,
        start_us=when,
        src=office.one("monitor", n),
        dst=office.address[who],
        success=np.ones(n, dtype=np.bool_),
        attempts=np.ones(n, dtype=np.int64),
        session_out=rng.integers(900, 1300, n),
        session_back=rng.integers(1500, 6000, n),
        seconds=rng.lognormal(0.2, 0.3, n),
        rtt=rng.lognormal(-7.7, 0.2, n),
        client=np.full(n, "SSH-2.0-OpenSSH_9.6", dtype=object),
        server=np.full(n, "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.8", dtype=object),
        host_key=office.host_key[who],
    )
