"""Software updates: signatures and operating systems from content networks, packages of Linux hosts, in waves.

Realistic: a check every few hours per host and a download when there is something, plain HTTP as several systems do,
volumes from kilobytes to gigabytes, many hosts fetching the same at about the same time.
"""

from __future__ import annotations

import numpy as np

from securenet_flows.simulation import application, shapes
from securenet_flows.simulation.activities.browsing import lookups, outcomes
from securenet_flows.simulation.activities.interface import Slice
from securenet_flows.simulation.table import Flows

_AGENTS = np.array(["Microsoft-Delivery-Optimization/10.1", "Debian APT-HTTP/1.3 (2.7.14)"], dtype=object)


def generate(part: Slice) -> Flows:
    """Checks and downloads of the slice."""
    office, rng = part.office, part.rng
    hosts = np.concatenate([office.workstations, office.servers])
    who, when = part.ticks(hosts, 6 * 3600.0, 1800.0, shift=0.05)
    fetching = rng.random(len(who)) < 0.35
    pieces = 1 + np.where(fetching, rng.geometric(0.2, len(who)), 0)
    who, start = np.repeat(who, pieces), np.repeat(when, pieces)
    n = len(who)
    order = np.arange(n) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    start = start + (order * rng.exponential(8.0, n) * 1e6).astype(np.int64)
    linux = (office.stack[who] == shapes.LINUX).astype(np.int64)
    site = 50 + linux * 3 + rng.integers(0, 3, n)
    asked = (order == 0) | (rng.random(n) < 0.2)
    names, wait = lookups(part, who[asked], office.services, site[asked], start[asked])
    start[asked] += wait
    volume = np.where(order == 0, rng.lognormal(7.5, 0.6, n), np.minimum(rng.lognormal(14.5, 1.8, n), 3e9)).astype(
        np.int64
    )
    rtt = office.services.rtt[site] * rng.lognormal(0, 0.1, n)
    src, dst = office.toward(rng, who, office.services, site)
    fetched = application.http(
        rng,
        start_us=start,
        src=src,
        dst=dst,
        host=office.services.name[site],
        uri=np.array(
            [f"/d/{k:x}/{v:x}.cab" for k, v in zip(site.tolist(), volume.tolist(), strict=True)], dtype=object
        ),
        user_agent=_AGENTS[linux],
        request=np.zeros(n, dtype=np.int64),
        response=volume,
        seconds=volume / rng.lognormal(16.0, 0.6, n) + rng.exponential(2.0, n),
        rtt=rtt,
        status=np.where(order == 0, 200, 206),
        mime_type="application/octet-stream",
        state=outcomes(rng, np.zeros(n, dtype=np.bool_)),
        stack=office.stack[who],
    )
    return Flows.concatenate([names, fetched])
