"""One port of many hosts: a sweep from a work station through the network, or of hosts outside.

Realistic: addresses in random order, mostly empty (no answer) with the office's own hosts among them that answer or
refuse as they do; SYN or connect scan, retries of the scanner, one source port for a SYN scan as nmap does.
Not realistic: routers answer no ICMP for empty addresses.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from securenet_flows.simulation.scenarios.interface import Attack, Parameter, Scenario, paced
from securenet_flows.simulation.scenarios.probes import KINDS, probe, server_ports, udp_ports
from securenet_flows.simulation.sites import scattered_addresses
from securenet_flows.simulation.table import Flows


def generate(attack: Attack) -> Iterator[Flows]:
    """Probes of one port."""
    rng, office = attack.rng, attack.office
    scanner = attack.workstation()
    port = attack.count("port")
    for first, times in paced(attack, attack.count("targets"), 1.0 / attack.number("rate")):
        n = len(times)
        if attack.text("where") == "outside":
            dst = scattered_addresses(rng, n)
            answer = rng.choice(np.array([0, 1, 2]), n, p=[0.86, 0.05, 0.09])
        else:
            near = np.unique(office.address[:, 13:15], axis=0)
            step = (np.arange(first, first + n) * 7919) % (len(near) * 254)
            dst = np.repeat(office.address[scanner][None, :], n, axis=0)
            dst[:, 13:15] = near[step // 254]
            dst[:, 15] = step % 254 + 1
            known = udp_ports if attack.text("kind") == "udp" else server_ports
            answer = known(office, dst, np.full(n, port))
        yield probe(
            attack,
            times=times,
            scanner=scanner,
            dst=dst,
            port=np.full(n, port),
            answer=answer,
            kind=attack.text("kind"),
        )


SCENARIO = Scenario(
    name="horizontal-scan",
    summary="a work station tries one port of many hosts",
    techniques=("T1046",),
    parameters=(
        Parameter("port", 445, "port that is tried", low=1, high=65535),
        Parameter("targets", 500, "hosts that are tried", low=1, high=1e8),
        Parameter("rate", 20.0, "probes a second", low=0.0001, high=100_000),
        Parameter("kind", "connect", "how it is tried", choices=KINDS),
        Parameter("where", "inside", "which hosts", choices=("inside", "outside")),
    ),
    generate=generate,
)
