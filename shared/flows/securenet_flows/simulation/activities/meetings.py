"""Video calls: signalling over TLS, then long UDP flows both ways for twenty minutes to an hour.

Realistic: STUN checks before the media, 30 to 250 packets a second each way, calls that begin on the hour and the half
hour, two streams a call, about one call in ten over TCP. Benign long connections and large symmetric volumes.
"""

from __future__ import annotations

import numpy as np

from securenet_flows.simulation import application, shapes
from securenet_flows.simulation.activities.browsing import lookups
from securenet_flows.simulation.activities.interface import Slice, activity_level
from securenet_flows.simulation.table import Flows

_HALF_HOUR_S = 1800.0


def generate(part: Slice) -> Flows:
    """Calls that begin in the slice."""
    office, rng = part.office, part.rng
    slots = np.arange(-(-part.start_us // 1_800_000_000), -(-part.end_us // 1_800_000_000)) * 1_800_000_000
    host = np.tile(office.workstations, len(slots))
    slot = np.repeat(slots, len(office.workstations))
    joins = rng.random(len(host)) < np.minimum(0.07 * part.rate, 0.9) * activity_level(slot)
    host, slot = host[joins], slot[joins]
    n = len(host)
    when = slot + rng.integers(0, 240_000_000, n)
    site = 30 + slot // 1_800_000_000 % 4
    sites = office.services
    names, wait = lookups(part, host, sites, site, when)
    start = when + wait
    src, dst = office.toward(rng, host, sites, site)
    seconds = rng.choice(np.array([0.4, 0.9, 0.95, 1.9]), n) * _HALF_HOUR_S * rng.uniform(0.7, 1.02, n)
    rtt = sites.rtt[site]
    signalling = application.tls(
        rng,
        start_us=start,
        src=src,
        dst=dst,
        server_name=sites.name[site],
        certificate=sites.certificate[site],
        request=(seconds * rng.uniform(15, 60, n)).astype(np.int64) + 4000,
        response=(seconds * rng.uniform(20, 90, n)).astype(np.int64) + 20_000,
        seconds=seconds,
        rtt=rtt,
        client=11,
        server=sites.software[site],
        stack=office.stack[host],
        turns=(seconds / 10).astype(np.int64) + 2,
    )
    made = [names, signalling]
    for delay, packets in ((1_500_000, 50.0), (2_300_000, 140.0)):
        rate_out, rate_back = packets * rng.lognormal(0, 0.4, n), packets * rng.lognormal(0.1, 0.5, n)
        out, back = (seconds * rate_out).astype(np.int64) + 4, (seconds * rate_back).astype(np.int64) + 4
        size = 130 if packets < 100 else 920
        made.append(
            shapes.udp(
                rng,
                start_us=start + delay + rng.integers(0, 300_000, n),
                src=src,
                dst=dst,
                dst_port=np.where(site % 2 == 0, 3478 + host % 4, 8801 + host % 9),
                service=None,
                orig_bytes=(out * size * rng.uniform(0.8, 1.2, n)).astype(np.int64),
                resp_bytes=(back * size * rng.uniform(0.8, 1.2, n)).astype(np.int64),
                seconds=np.maximum(seconds - delay / 1e6, 1.0),
                orig_pkts=out,
                resp_pkts=back,
                stack=office.stack[host],
            )
        )
    return Flows.concatenate(made)
