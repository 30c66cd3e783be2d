"""Command and control over HTTPS or HTTP: a call at a regular interval with jitter, mostly nothing to report.

Realistic: jitter as implants define it (each gap is the interval less a random share of it), a lookup when the cached
address runs out, small answers of a few sizes with now and then a task and its result, missed calls, the same client
software and the same kind of host name as ordinary traffic.
Not realistic: no proxies and no domain fronting; the server is one host.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from securenet_flows.batch import Int64
from securenet_flows.simulation import application
from securenet_flows.simulation.scenarios.contacts import lookup
from securenet_flows.simulation.scenarios.interface import LEAD_US, PIECE, Attack, Parameter, Scenario, repeat
from securenet_flows.simulation.sites import Sites
from securenet_flows.simulation.table import STATE, Flows


def generate(attack: Attack) -> Iterator[Flows]:
    """Calls of one work station to one server."""
    rng = attack.rng
    host, server = attack.workstation(), attack.outside()
    interval, jitter, end = attack.number("interval"), attack.number("jitter"), attack.until(attack.number("duration"))
    idle, result = int(rng.integers(120, 900)), int(rng.integers(90, 500))
    at = attack.start_us + LEAD_US
    while at < end:
        size = min(PIECE // 2, int((end - at) / 1e6 / interval / max(1 - jitter, 0.05)) + 2)
        gaps = interval * (1 - jitter * rng.random(size)) + rng.exponential(0.02, size)
        times = at + np.cumsum(np.maximum((gaps * 1e6).astype(np.int64), 1000)) - int(gaps[0] * 1e6)
        at = int(times[-1]) + int(interval * 1e6)
        times = times[times < end]
        tasked = rng.random(len(times)) < attack.number("tasks")
        request = (
            result + rng.integers(0, 24, len(times)) + tasked * rng.lognormal(8.5, 1.5, len(times)).astype(np.int64)
        )
        response = (
            idle + rng.integers(0, 16, len(times)) + tasked * rng.lognormal(7.0, 1.2, len(times)).astype(np.int64)
        )
        calls = _calls(attack, host, server, times, (request, response))
        asked = rng.random(len(times)) < min(1.0, interval / 300)
        lookups = lookup(attack, host, times[asked], server)
        yield Flows.concatenate([lookups, calls]).in_order()


def _calls(attack: Attack, host: int, server: Sites, times: Int64, volume: tuple[Int64, Int64]) -> Flows:
    rng, office, n = attack.rng, attack.office, len(times)
    rtt = server.rtt[0] * rng.lognormal(0, 0.12, n)
    src, dst = repeat(office.address[host], n), repeat(server.addresses[0, 0], n)
    state = rng.choice(np.array([STATE["SF"], STATE["RSTO"], STATE["S0"]]), n, p=[0.965, 0.025, 0.01])
    seconds = rng.exponential(0.15, n) + 0.02
    if attack.text("transport") == "http":
        page = f"/{application.fingerprint(str(server.name[0]))[:8]}"
        return application.http(
            rng,
            start_us=times,
            src=src,
            dst=dst,
            host=np.full(n, server.name[0], dtype=object),
            uri=np.full(n, page, dtype=object),
            user_agent=np.full(n, office.agent[host], dtype=object),
            request=volume[0],
            response=volume[1],
            seconds=seconds,
            rtt=rtt,
            method="POST",
            mime_type="text/plain",
            state=state,
            stack=office.stack[host],
        )
    return application.tls(
        rng,
        start_us=times,
        src=src,
        dst=dst,
        server_name=np.full(n, server.name[0], dtype=object),
        certificate=np.full(n, server.certificate[0], dtype=object),
        request=volume[0],
        response=volume[1],
        seconds=seconds,
        rtt=rtt,
        state=state,
        client=int(office.client[host]) + 5,
        server=server.software[0],
        stack=office.stack[host],
        valid=False,
    )


SCENARIO = Scenario(
    name="beacon",
    summary="a work station calls a command-and-control server at a regular interval",
    techniques=("T1071.001", "T1029"),
    parameters=(
        Parameter("interval", 60.0, "seconds between calls", low=1, high=86400, duration=True),
        Parameter("jitter", 0.2, "largest share of the interval by which a call comes early", high=0.95),
        Parameter("duration", 86400.0, "seconds until the last call", low=1, duration=True),
        Parameter("tasks", 0.03, "share of calls that carry a task and its result", high=1),
        Parameter("transport", "tls", "what it speaks", choices=("tls", "http")),
    ),
    generate=generate,
)
