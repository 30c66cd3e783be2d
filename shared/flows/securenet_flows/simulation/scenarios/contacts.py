"""What a compromised host does before it talks to an attacker's server: it asks for the address, as everyone does."""

from __future__ import annotations

import numpy as np

from securenet_flows.batch import Int64
from securenet_flows.simulation import application
from securenet_flows.simulation.scenarios.interface import Attack, repeat
from securenet_flows.simulation.sites import Sites
from securenet_flows.simulation.table import Flows


def lookup(attack: Attack, host: int, times: Int64, server: Sites) -> Flows:
    """Lookups of the first site of `server` by a host, some milliseconds before the given times."""
    rng, office, n = attack.rng, attack.office, len(times)
    ahead = np.minimum(rng.integers(5_000, 60_000, n), times - attack.start_us)
    return application.dns(
        rng,
        start_us=times - np.maximum(ahead, 0),
        src=repeat(office.address[host], n),
        resolver=office.one("directory", n),
        query=np.full(n, server.name[0], dtype=object),
        answers=np.repeat(server.answers[:1], n),
        stack=office.stack[host],
    )
