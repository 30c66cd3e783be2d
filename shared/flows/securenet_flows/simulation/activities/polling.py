"""Programs that ask a service outside at a fixed interval: mail, chat, synchronisation, telemetry.

The benign twin of a beacon: regular calls with little to say. What tells them apart is not in a flow: many hosts use
the same services, there are several a host, they stop when the computer is switched off, and some stay connected for
hours. A third of the hosts run all night.
"""

from __future__ import annotations

import numpy as np

from securenet_flows.batch import Int64
from securenet_flows.simulation import application
from securenet_flows.simulation.activities.browsing import lookups, outcomes
from securenet_flows.simulation.activities.interface import Slice, activity_level
from securenet_flows.simulation.table import Flows

#: Services with their interval, lateness, mean logarithms of request and answer, and share of hosts that use them.
_SERVICES = (
    (0, 60.0, 0.8, 5.6, 5.9, 0.55),
    (1, 300.0, 4.0, 6.4, 6.8, 0.9),
    (2, 30.0, 0.2, 5.2, 5.2, 0.2),
    (3, 900.0, 20.0, 8.0, 6.2, 0.8),
    (4, 3600.0, 60.0, 7.5, 7.2, 1.0),
    (5, 120.0, 25.0, 6.0, 7.4, 0.4),
    (6, 600.0, 1.0, 6.2, 5.7, 0.35),
)


def generate(part: Slice) -> Flows:
    """Calls of the slice."""
    office = part.office
    made = [_long_lived(part)]
    for number, interval, late, out, back, share in _SERVICES:
        users = office.workstations[(office.phase[office.workstations] * (number + 3)) % 1.0 < share]
        who, when = part.ticks(users, interval, late, shift=number * 0.37)
        who, when = _awake(part, who, when)
        made.append(_call(part, who, when, np.full(len(who), number), (out, back)))
    servers, when = part.ticks(office.servers, 1800.0, 45.0, shift=0.2)
    made.append(_call(part, servers, when, 8 + servers % 4, (6.5, 6.9)))
    return Flows.concatenate(made)


def _awake(part: Slice, who: Int64, when: Int64) -> tuple[Int64, Int64]:
    """The events of computers that are on: a third always, the others in their users' hours."""
    on = (who % 3 == 0) | (activity_level(when) > 0.2 + 0.3 * part.office.phase[who])
    return who[on], when[on]


def _call(part: Slice, who: Int64, when: Int64, service: Int64, volume: tuple[float, float]) -> Flows:
    office, rng, n = part.office, part.rng, len(who)
    sites = office.services
    asked = rng.random(n) < 0.2
    names, wait = lookups(part, who[asked], sites, service[asked], when[asked])
    start = when.copy()
    start[asked] += wait
    rtt = sites.rtt[service] * rng.lognormal(0, 0.12, n)
    src, dst = office.toward(rng, who, sites, service)
    busy = rng.random(n) < 0.06
    calls = application.tls(
        rng,
        start_us=start,
        src=src,
        dst=dst,
        server_name=sites.name[service],
        certificate=sites.certificate[service],
        request=np.exp(volume[0] + rng.normal(0, np.where(busy, 1.5, 0.06))).astype(np.int64),
        response=np.exp(volume[1] + rng.normal(0, np.where(busy, 1.8, 0.06))).astype(np.int64),
        seconds=rng.exponential(0.2, n) + 0.02,
        rtt=rtt,
        state=outcomes(rng, np.zeros(n, dtype=np.bool_)),
        client=5 + service,
        server=sites.software[service],
        stack=office.stack[who],
        resumed_share=0.7,
    )
    return Flows.concatenate([names, calls])


def _long_lived(part: Slice) -> Flows:
    """Push channels: one connection that stays for hours and sends a little at each keep-alive."""
    office, rng = part.office, part.rng
    who, when = part.arrivals(office.workstations, 0.25)
    n = len(who)
    service = 20 + who % 6
    seconds = rng.lognormal(8.6, 0.9, n)
    src, dst = office.toward(rng, who, office.services, service)
    beats = (seconds / 45).astype(np.int64) + 2
    return application.tls(
        rng,
        start_us=when,
        src=src,
        dst=dst,
        server_name=office.services.name[service],
        certificate=office.services.certificate[service],
        request=beats * rng.integers(30, 60, n),
        response=beats * rng.integers(30, 70, n) + rng.lognormal(8, 1.5, n).astype(np.int64),
        seconds=seconds,
        rtt=office.services.rtt[service],
        state=outcomes(rng, np.zeros(n, dtype=np.bool_)),
        client=7 + service % 3,
        server=office.services.software[service],
        stack=office.stack[who],
        turns=beats,
    )
