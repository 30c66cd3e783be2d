"""Floods: SYNs from forged sources at the web server, or datagrams from a bot inside at a victim outside.

Realistic: forged sources spread over the whole address space, of which some exist and reset the answer, answers that
the server repeats until its backlog is full and then gives none; datagram floods with one flow a port or one long flow.
Not realistic: the victim's ordinary visitors are served as if nothing happened.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from securenet_flows.simulation import shapes
from securenet_flows.simulation.scenarios.interface import Attack, Parameter, Scenario, paced, repeat
from securenet_flows.simulation.sites import scattered_addresses
from securenet_flows.simulation.table import STATE, TCP, Flows


def generate_syns(attack: Attack) -> Iterator[Flows]:
    """Half-open connections to the web server."""
    rng, office = attack.rng, attack.office
    rate = attack.number("rate")
    # The backlog of pending connections fills within the first seconds; SYN cookies then answer once, or nothing does.
    for first, times in paced(attack, round(rate * attack.number("duration")), 1.0 / rate, spread=1.0):
        n = len(times)
        full = np.arange(first, first + n) > 4096
        answered = ~full | (rng.random(n) < 0.15)
        reset = answered & (rng.random(n) < 0.12)
        replies = np.where(answered, np.where(reset | full, 1, rng.integers(2, 7, n)), 0)
        waiting = 2.0**replies - 2
        wait = np.where(
            reset, rng.uniform(0.02, 0.3, n), np.where(replies > 1, waiting * rng.uniform(0.98, 1.02, n), 3e-4)
        )
        header = rng.choice(np.array([40, 44, 60]), n)
        yield shapes.assemble(
            start_us=times,
            duration_us=np.where(answered, np.maximum((wait * 1e6).astype(np.int64), 1), -1),
            src=scattered_addresses(rng, n),
            dst=office.one("web", n),
            src_port=rng.integers(1024, 65536, n),
            dst_port=attack.count("port"),
            protocol=TCP,
            service=np.full(n, None, dtype=object),
            orig_bytes=np.where(answered, 0, -1),
            resp_bytes=np.where(answered, 0, -1),
            state=np.where(reset, STATE["RSTO"], np.where(answered, STATE["S1"], STATE["S0"])),
            history=np.array(["S", "Sh", "ShR"], dtype=object)[answered.astype(np.int64) + reset],
            orig_pkts=1 + reset,
            orig_ip_bytes=header + reset * 40,
            resp_pkts=replies,
            resp_ip_bytes=replies * np.where(header == 60, 60, 44),
        )


def generate_datagrams(attack: Attack) -> Iterator[Flows]:
    """Datagrams of a work station at one address outside."""
    rng, office = attack.rng, attack.office
    host = attack.workstation()
    victim = scattered_addresses(rng, 1)[0]
    rate = attack.number("rate")
    for _, times in paced(attack, round(rate * attack.number("duration")), 1.0 / rate, spread=1.0):
        n = len(times)
        packets = rng.geometric(1 / attack.number("packets"), n)
        size = rng.integers(200, 1400, n)
        yield shapes.udp(
            rng,
            start_us=times,
            src=repeat(office.address[host], n),
            dst=repeat(victim, n),
            dst_port=rng.integers(1, 65536, n) if attack.text("ports") == "random" else 53,
            service=None,
            orig_bytes=packets * size,
            resp_bytes=np.zeros(n, dtype=np.int64),
            seconds=packets * rng.uniform(1e-4, 4e-4, n),
            orig_pkts=packets,
            resp_pkts=0,
            stack=office.stack[host],
        )


SYNS = Scenario(
    name="syn-flood",
    summary="forged sources open connections to the web server and never finish them",
    techniques=("T1498.001", "T1499.001"),
    parameters=(
        Parameter("rate", 500.0, "connections a second", low=0.1, high=100_000),
        Parameter("duration", 60.0, "seconds", low=0.1, high=86400, duration=True),
        Parameter("port", 443, "port of the web server", low=1, high=65535),
    ),
    generate=generate_syns,
)

DATAGRAMS = Scenario(
    name="udp-flood",
    summary="a work station floods an address outside with datagrams",
    techniques=("T1498.001",),
    parameters=(
        Parameter("rate", 200.0, "flows a second", low=0.1, high=100_000),
        Parameter("duration", 60.0, "seconds", low=0.1, high=86400, duration=True),
        Parameter("packets", 40.0, "mean packets of a flow", low=1, high=1e6),
        Parameter("ports", "random", "which ports are hit", choices=("random", "one")),
    ),
    generate=generate_datagrams,
)
