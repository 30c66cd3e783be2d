"""Guessing Windows passwords over RDP with network-level authentication: each guess is one short connection.

Realistic: the volumes of a TLS handshake and a refused CredSSP exchange, resets at the end of many, steady rate with
several connections at once.
Not realistic: user names are not modelled; no account is locked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from securenet_flows.simulation import shapes
from securenet_flows.simulation.scenarios.interface import Attack, Parameter, Scenario, paced, repeat
from securenet_flows.simulation.sites import public_addresses
from securenet_flows.simulation.table import STATE, Flows


def generate(attack: Attack) -> Iterator[Flows]:
    """Guesses at the file server."""
    rng, office = attack.rng, attack.office
    inside = attack.text("source") == "inside"
    host = attack.workstation()
    source = office.address[host] if inside else public_addresses(rng, 1)[0]
    base = 0.0006 if inside else float(rng.uniform(0.02, 0.2))
    for _, times in paced(attack, attack.count("attempts"), 1.0 / attack.number("rate"), spread=0.7):
        n = len(times)
        rtt = base * rng.lognormal(0, 0.1, n)
        ends = np.array([STATE[name] for name in ("SF", "RSTO", "RSTR", "S0")])
        yield shapes.tcp(
            rng,
            start_us=times,
            src=repeat(source, n),
            dst=office.one("files", n),
            dst_port=3389,
            service="rdp,ssl",
            orig_bytes=rng.normal(1750, 160, n).astype(np.int64),
            resp_bytes=rng.normal(2150, 220, n).astype(np.int64),
            seconds=rng.lognormal(-0.6, 0.5, n) + 6 * rtt,
            rtt=rtt,
            state=rng.choice(ends, n, p=[0.55, 0.3, 0.13, 0.02]),
            stack=int(office.stack[host]) if inside else shapes.LINUX,
            server_stack=shapes.WINDOWS,
            turns=6,
        )


SCENARIO = Scenario(
    name="rdp-brute-force",
    summary="one host guesses Windows passwords of one server over RDP",
    techniques=("T1110.001",),
    parameters=(
        Parameter("attempts", 300, "connections", low=1, high=1e7),
        Parameter("rate", 1.0, "connections a second", low=0.001, high=1000),
        Parameter("source", "outside", "where the guesser is", choices=("outside", "inside")),
    ),
    generate=generate,
)
