"""A scan that takes its time: first contacts with hosts and ports in any order, minutes apart.

No window of a few minutes holds more than a handful of probes, so a threshold on their number does not see it; the
sequence of failed first contacts does (the case of Jung et al., "Fast Portscan Detection Using Sequential Hypothesis
Testing", 2004). Realistic as the other scans are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from securenet_flows.simulation.scenarios.interface import Attack, Parameter, Scenario, paced
from securenet_flows.simulation.scenarios.probes import probe, server_ports
from securenet_flows.simulation.table import Flows

_PORTS = np.array([22, 23, 80, 135, 139, 443, 445, 1433, 3306, 3389, 5432, 5900, 5985, 8080, 8443, 9200])


def generate(attack: Attack) -> Iterator[Flows]:
    """Probes of random ports of random addresses of the office's networks."""
    rng, office = attack.rng, attack.office
    scanner = attack.workstation()
    near = np.unique(office.address[:, 13:15], axis=0)
    for _, times in paced(attack, attack.count("probes"), attack.number("interval"), spread=0.9):
        n = len(times)
        dst = np.repeat(office.address[scanner][None, :], n, axis=0)
        dst[:, 13:15] = near[rng.integers(0, len(near), n)]
        dst[:, 15] = rng.integers(1, 255, n)
        port = rng.choice(_PORTS, n)
        answer = server_ports(office, dst, port)
        yield probe(attack, times=times, scanner=scanner, dst=dst, port=port, answer=answer, kind=attack.text("kind"))


SCENARIO = Scenario(
    name="slow-scan",
    summary="a work station tries hosts and ports one by one with long pauses",
    techniques=("T1046",),
    parameters=(
        Parameter("probes", 120, "probes", low=1, high=1e7),
        Parameter("interval", 45.0, "mean seconds between probes", low=0.1, high=86400, duration=True),
        Parameter("kind", "connect", "how it is tried", choices=("connect", "syn")),
    ),
    generate=generate,
)
