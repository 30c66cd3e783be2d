"""Many ports of one host, in any of the ways that scanners know.

Realistic: ports in random order or a list of common ones first, answers of the host as its role has them, and what Zeek
makes of each kind of probe (see :mod:`.probes`), ICMP answers to UDP probes at the rate that hosts allow.
Not realistic: no detection of versions or of the operating system after the scan.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from securenet_flows.simulation.scenarios.interface import Attack, Parameter, Scenario, paced, repeat
from securenet_flows.simulation.scenarios.probes import KINDS, probe, server_ports, udp_ports
from securenet_flows.simulation.sites import public_addresses
from securenet_flows.simulation.table import Flows

_COMMON: Final = np.array(
    [
        80, 23, 443, 21, 22, 25, 3389, 110, 445, 139, 143, 53, 135, 3306, 8080, 1723, 111, 995, 993, 5900, 1025,
        587, 8888, 199, 1720, 465, 548, 113, 81, 6001, 10000, 514, 5060, 179, 1026, 2000, 8443, 8000, 32768, 554,
        26, 1433, 49152, 2001, 515, 8008, 49154, 1027, 5666, 646, 5000, 5631, 631, 49153, 8081, 2049, 88, 79,
        5800, 106, 2121, 1110, 49155, 6000,
    ],
)  # fmt: skip


def generate(attack: Attack) -> Iterator[Flows]:
    """Probes of one server."""
    rng, office = attack.rng, attack.office
    kind = attack.text("kind")
    scanner = attack.workstation() if attack.text("source") == "inside" else public_addresses(rng, 1)[0]
    victim = office.server["web" if attack.text("source") == "outside" else "files"]
    count = attack.count("ports")
    others = np.setdiff1d(np.arange(1, 65536), _COMMON)
    ports = np.concatenate([rng.permutation(_COMMON), rng.permutation(others)])[:count]
    rng.shuffle(ports)
    for first, times in paced(attack, count, 1.0 / attack.number("rate")):
        port = ports[first : first + len(times)]
        dst = repeat(office.address[victim], len(times))
        answer = udp_ports(office, dst, port) if kind == "udp" else server_ports(office, dst, port)
        yield probe(attack, times=times, scanner=scanner, dst=dst, port=port, answer=answer, kind=kind)


SCENARIO = Scenario(
    name="vertical-scan",
    summary="many ports of one server are tried from one host",
    techniques=("T1046", "T1595.001"),
    parameters=(
        Parameter("ports", 1000, "ports that are tried", low=1, high=65535),
        Parameter("rate", 50.0, "probes a second", low=0.0001, high=100_000),
        Parameter("kind", "syn", "how they are tried", choices=KINDS),
        Parameter("source", "inside", "where the scanner is", choices=("inside", "outside")),
    ),
    generate=generate,
)
