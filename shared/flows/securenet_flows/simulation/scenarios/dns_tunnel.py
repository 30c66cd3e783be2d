"""Data in names: every query carries a piece of the payload under the tunnel's domain, every answer a piece back.

Realistic: names near the length that DNS allows, base-32 or hexadecimal digits, the record types that tunnel programs
use, bursts while there is data and slow polling else, asked of the office's own resolver.
Not realistic: the resolver's own queries to the outside, which carry the same names, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from securenet_flows.simulation import application
from securenet_flows.simulation.scenarios.interface import Attack, Parameter, Scenario, paced, repeat
from securenet_flows.simulation.scenarios.names import BASE32, HEXADECIMAL, below, random_texts
from securenet_flows.simulation.table import Flows


def generate(attack: Attack) -> Iterator[Flows]:
    """Queries of a work station."""
    rng, office = attack.rng, attack.office
    host = attack.workstation()
    apex = f"t{int(rng.integers(1, 10))}.{'.'.join(str(attack.outside().name[0]).split('.')[-2:])}"
    alphabet = BASE32 if attack.text("encoding") == "base32" else HEXADECIMAL
    kind = attack.text("type").upper()
    room = attack.count("length") - len(apex) - 4
    for _, times in paced(attack, attack.count("queries"), 1.0 / attack.number("rate"), spread=0.85):
        n = len(times)
        polling = rng.random(n) < 0.25
        length = np.where(polling, rng.integers(8, 24, n), rng.integers(max(room * 3 // 4, 1), max(room, 2), n))
        yield application.dns(
            rng,
            start_us=times,
            src=repeat(office.address[host], n),
            resolver=office.one("directory", n),
            query=below(random_texts(rng, np.minimum(length, max(room, 1)), alphabet), apex),
            qtype=kind,
            answers=np.array(random_texts(rng, rng.integers(4, 60, n), alphabet), dtype=object),
            answer_bytes=np.where(polling, rng.integers(16, 40, n), rng.integers(60, 220, n)),
            rtt=rng.lognormal(-3.2, 0.4, n),
            stack=office.stack[host],
            ttl=0,
        )


SCENARIO = Scenario(
    name="dns-tunnel",
    summary="a work station sends data through DNS queries under one domain",
    techniques=("T1071.004", "T1048.003"),
    parameters=(
        Parameter("queries", 600, "queries", low=1, high=1e7),
        Parameter("rate", 3.0, "queries a second", low=0.001, high=1000),
        Parameter("length", 180, "longest name in characters", low=40, high=250),
        Parameter("type", "txt", "record type", choices=("txt", "null", "cname", "a", "mx")),
        Parameter("encoding", "base32", "how the payload is written", choices=("base32", "hex")),
    ),
    generate=generate,
)
