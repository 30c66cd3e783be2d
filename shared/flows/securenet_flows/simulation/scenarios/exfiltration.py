"""Stolen data leaves over TLS: in a few large uploads, or in small ones over days.

Realistic: a server never seen before with an ordinary name, volumes that an upload's bandwidth allows, answers that are
small. The offsite backup of the office is larger: size alone does not tell the two apart.
Not realistic: the collection of the data inside (file shares, archives) leaves no traffic here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from securenet_flows.batch import Int64
from securenet_flows.simulation import application
from securenet_flows.simulation.scenarios.contacts import lookup
from securenet_flows.simulation.scenarios.interface import Attack, Parameter, Scenario, paced, repeat
from securenet_flows.simulation.sites import Sites
from securenet_flows.simulation.table import STATE, Flows


def generate(attack: Attack) -> Iterator[Flows]:
    """Uploads of a work station, one after the other."""
    rng = attack.rng
    host, server = attack.workstation(), attack.outside()
    count = attack.count("uploads")
    each = attack.number("megabytes") * 1e6 / count
    for _, times in paced(attack, count, each / 5e6 + 15, spread=0.2):
        volume = (each * rng.lognormal(-0.02, 0.2, len(times))).astype(np.int64)
        yield _uploads(attack, host, server, times, volume)


def generate_slowly(attack: Attack) -> Iterator[Flows]:
    """Small uploads at irregular times."""
    host, server = attack.workstation(), attack.outside()
    count = int((attack.end_us - attack.start_us) / 1e6 / attack.number("interval")) + 1
    for _, times in paced(attack, count, attack.number("interval"), spread=0.8):
        volume = (attack.number("kilobytes") * 1e3 * attack.rng.lognormal(0, 0.5, len(times))).astype(np.int64)
        yield _uploads(attack, host, server, times, volume)


def _uploads(attack: Attack, host: int, server: Sites, times: Int64, volume: Int64) -> Flows:
    rng, office, n = attack.rng, attack.office, len(times)
    calls = application.tls(
        rng,
        start_us=times,
        src=repeat(office.address[host], n),
        dst=repeat(server.addresses[0, 0], n),
        server_name=np.full(n, server.name[0], dtype=object),
        certificate=np.full(n, server.certificate[0], dtype=object),
        request=volume,
        response=rng.integers(300, 1500, n) + volume // 3000,
        seconds=volume / rng.uniform(3e6, 9e6, n) + 0.3,
        rtt=server.rtt[0] * rng.lognormal(0, 0.1, n),
        state=rng.choice(np.array([STATE["SF"], STATE["RSTO"]]), n, p=[0.94, 0.06]),
        client=int(rng.integers(12)),
        server=server.software[0],
        stack=office.stack[host],
        turns=rng.integers(3, 12, n),
    )
    return Flows.concatenate([lookup(attack, host, times[rng.random(n) < 0.5], server), calls]).in_order()


SCENARIO = Scenario(
    name="exfiltration",
    summary="a work station uploads stolen data to a server outside",
    techniques=("T1041", "T1048.002"),
    parameters=(
        Parameter("megabytes", 2000.0, "megabytes in all", low=0.001, high=1e7),
        Parameter("uploads", 8, "connections that carry them", low=1, high=1e5),
    ),
    generate=generate,
)

SLOW = Scenario(
    name="slow-exfiltration",
    summary="a work station uploads stolen data in small portions for as long as the simulation goes on",
    techniques=("T1041", "T1030"),
    parameters=(
        Parameter("kilobytes", 400.0, "kilobytes in a portion", low=0.1, high=1e6),
        Parameter("interval", 600.0, "mean seconds between portions", low=1, high=86400, duration=True),
    ),
    generate=generate_slowly,
)
