"""The Internet comes to the office's web and mail servers: readers, crawlers, other mail servers.

Realistic: many sources with a power law of visits, crawlers that fetch steadily, connections that reset or never
finish, mail at all hours. Not here: the background of scans that every public address sees; ask for it with a scenario,
so that it is labelled.
"""

from __future__ import annotations

import numpy as np

from securenet_flows.batch import Int8
from securenet_flows.simulation import application, shapes
from securenet_flows.simulation.activities.browsing import body_sizes, outcomes, transfer_seconds
from securenet_flows.simulation.activities.interface import MACHINES, Slice
from securenet_flows.simulation.sites import public_addresses
from securenet_flows.simulation.table import Column, Flows


def generate(part: Slice) -> Flows:
    """Visits of the slice."""
    return Flows.concatenate([_readers(part), _post(part), _delivery(part)])


def _sources(part: Slice, count: int, pool: int, salt: int) -> Int8:
    """Addresses drawn from a fixed population, some much more often than others."""
    population = public_addresses(np.random.default_rng([salt, len(part.office)]), pool)
    return population[np.minimum(part.rng.zipf(1.5, count) - 1, pool - 1)]


def _readers(part: Slice) -> Flows:
    office, rng = part.office, part.rng
    _, when = part.arrivals(office.servers[:1], 14.0 * len(office), MACHINES)
    n = len(when)
    rtt = np.clip(rng.lognormal(-3.2, 0.7, n), 0.004, 0.6)
    response = body_sizes(rng, np.full(n, 9.0))
    return application.tls(
        rng,
        start_us=when,
        src=_sources(part, n, 3000, 77),
        dst=office.one("web", n),
        server_name=np.full(n, "www.office.example", dtype=object),
        certificate=np.full(n, application.fingerprint("www.office.example", "sha256"), dtype=object),
        request=rng.lognormal(6.3, 0.7, n).astype(np.int64),
        response=response,
        seconds=transfer_seconds(rng, response, rtt),
        rtt=rtt,
        state=outcomes(rng, rng.random(n) < 0.002),
        client=rng.integers(0, 12, n),
        server=3,
        stack=rng.integers(0, 2, n),
    )


def _post(part: Slice) -> Flows:
    office = part.office
    _, when = part.arrivals(office.servers[:1], 2.5 * len(office), MACHINES)
    n = len(when)
    return _smtp(part, when, _sources(part, n, 400, 78), office.one("mail", n))


def _delivery(part: Slice) -> Flows:
    office = part.office
    _, when = part.arrivals(office.servers[:1], 1.2 * len(office))
    n = len(when)
    return _smtp(part, when, office.one("mail", n), _sources(part, n, 400, 78))


def _smtp(part: Slice, when: Column, src: Int8, dst: Int8) -> Flows:
    rng, n = part.rng, len(when)
    size = body_sizes(rng, np.full(n, 9.6))
    rtt = np.clip(rng.lognormal(-3.4, 0.7, n), 0.004, 0.6)
    return shapes.tcp(
        rng,
        start_us=when,
        src=src,
        dst=dst,
        dst_port=25,
        service="smtp",
        orig_bytes=size + rng.integers(200, 700, n),
        resp_bytes=rng.integers(350, 4500, n),
        seconds=rtt * 8 + size / 2e6 + rng.exponential(0.8, n),
        rtt=rtt,
        state=outcomes(rng, rng.random(n) < 0.01),
        stack=shapes.LINUX,
        turns=9,
        server_first=True,
    )
