"""Mining for someone else: a connection to a mining pool that stays for hours and says a little all the time.

Realistic: jobs from the pool every half minute, shares of the miner now and then, connections that break and are opened
again at once, a port of its own or 443 with TLS.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from securenet_flows.simulation import application, shapes
from securenet_flows.simulation.scenarios.contacts import lookup
from securenet_flows.simulation.scenarios.interface import Attack, Parameter, Scenario, paced, repeat
from securenet_flows.simulation.table import STATE, Flows


def generate(attack: Attack) -> Iterator[Flows]:
    """Connections one after the other until the end of the simulation."""
    rng, office = attack.rng, attack.office
    host, server = attack.workstation(), attack.outside()
    stay = attack.number("stay")
    count = int((attack.end_us - attack.start_us) / 1e6 / stay) + 2
    for _, times in paced(attack, count, stay, spread=0.5):
        n = len(times)
        # Each connection lasts until shortly before the next, the last as long as the mean.
        gaps = np.append(np.diff(times) / 1e6, stay)
        seconds = np.maximum(gaps - rng.uniform(1, 10, n), 1.0)
        jobs = (seconds / 30).astype(np.int64) + 2
        src, dst = repeat(office.address[host], n), repeat(server.addresses[0, 0], n)
        out, back = 300 + jobs * rng.integers(90, 260, n), 400 + jobs * rng.integers(250, 420, n)
        rtt = server.rtt[0] * rng.lognormal(0, 0.1, n)
        state = rng.choice(np.array([STATE["RSTR"], STATE["SF"], STATE["RSTO"]]), n, p=[0.4, 0.4, 0.2])
        if attack.text("transport") == "tls":
            pool = application.tls(
                rng, start_us=times, src=src, dst=dst, server_name=np.full(n, server.name[0], dtype=object),
                certificate=np.repeat(server.certificate[:1], n), request=out, response=back, seconds=seconds, rtt=rtt,
                state=state, client=9, server=server.software[0], stack=office.stack[host], turns=jobs,
            )  # fmt: skip
        else:
            pool = shapes.tcp(
                rng, start_us=times, src=src, dst=dst, dst_port=3333, service=None, orig_bytes=out, resp_bytes=back,
                seconds=seconds, rtt=rtt, state=state, stack=office.stack[host], turns=jobs,
            )  # fmt: skip
        yield Flows.concatenate([lookup(attack, host, times, server), pool]).in_order()


SCENARIO = Scenario(
    name="cryptomining",
    summary="a work station mines for a pool outside",
    techniques=("T1496.001",),
    parameters=(
        Parameter("stay", 7200.0, "mean seconds of a connection", low=30, high=604_800, duration=True),
        Parameter("transport", "plain", "plain stratum on port 3333, or TLS on 443", choices=("plain", "tls")),
    ),
    generate=generate,
)
