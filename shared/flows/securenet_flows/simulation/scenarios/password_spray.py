"""One password for many: a few SSH log-ins at every server, so that no account and no server sees many.

Realistic: rounds over all Linux servers with pauses between them, one attempt a connection. Otherwise as
:mod:`.ssh_brute_force`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from securenet_flows.simulation import shapes
from securenet_flows.simulation.scenarios.interface import Attack, Parameter, Scenario, repeat
from securenet_flows.simulation.scenarios.ssh_brute_force import CLIENTS, logins
from securenet_flows.simulation.table import Flows


def generate(attack: Attack) -> Iterator[Flows]:
    """Rounds of log-ins by a work station."""
    rng, office = attack.rng, attack.office
    servers = office.servers[np.flatnonzero(office.stack[office.servers] == shapes.LINUX)]
    host = attack.workstation()
    tool = str(rng.choice(CLIENTS))
    for number in range(attack.count("rounds")):
        begin = attack.start_us + round(number * attack.number("pause") * 1e6)
        if begin >= attack.end_us:
            return
        victims = np.repeat(rng.permutation(servers), attack.count("tries"))
        n = len(victims)
        times = begin + np.cumsum(rng.integers(200_000, 2_500_000, n))
        flows = logins(
            attack,
            times=times,
            src=repeat(office.address[host], n),
            victim=victims,
            success=np.zeros(n, dtype=np.bool_),
            tool=tool,
            rtt=0.0006,
            stack=int(office.stack[host]),
            tries=np.ones(n, dtype=np.int64),
        )
        before = flows["start_us"] < begin + round(attack.number("pause") * 1e6)
        yield flows.where(before)


SCENARIO = Scenario(
    name="password-spray",
    summary="one host tries a few SSH passwords at every server, round by round",
    techniques=("T1110.003",),
    parameters=(
        Parameter("rounds", 6, "rounds over all servers", low=1, high=10_000),
        Parameter("pause", 900.0, "seconds from one round to the next", low=10, duration=True),
        Parameter("tries", 2, "connections to a server in a round", low=1, high=100),
    ),
    generate=generate,
)
