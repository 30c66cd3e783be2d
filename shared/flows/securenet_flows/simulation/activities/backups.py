"""Backups: servers to the backup server each night, the backup server to a store outside, work stations to theirs.

The benign twin of exfiltration: hundreds of megabytes to some gigabytes leave the office, from one host to one place,
at night. It comes at the same time every night and to the same place.
"""

from __future__ import annotations

import numpy as np

from securenet_flows.simulation import application
from securenet_flows.simulation.activities.file_sharing import inside
from securenet_flows.simulation.activities.interface import Slice
from securenet_flows.simulation.table import Column, Flows

_DAY_US = 86_400_000_000


def generate(part: Slice) -> Flows:
    """Backups that begin in the slice: servers from 01:00 UTC, outside from 03:00, desks in the lunch hour."""
    office, rng = part.office, part.rng
    others = office.servers[office.servers != office.server["backup"]]
    who, when = _nightly(part, others, 1.0, 2.0)
    n = len(who)
    volume = np.minimum(rng.lognormal(20.0, 1.1, n), 4e10).astype(np.int64)
    stored = inside(
        part,
        host=who,
        peer=np.full(n, office.server["backup"]),
        start_us=when,
        port=np.where(who % 2 == 0, 873, 22),
        service=None,
        out=volume,
        back=volume // 300,
        seconds=volume / rng.uniform(3e7, 9e7, n) + 3,
        turns=40,
    )
    vault, when = _nightly(part, np.full(6, office.server["backup"]), 3.0, 1.5)
    desks, noon = _nightly(part, office.workstations[office.workstations % 5 == 0], 11.5, 1.5)
    return Flows.concatenate([stored, _outside(part, vault, when, 20.5, 12), _outside(part, desks, noon, 17.0, 13)])


def _nightly(part: Slice, hosts: Column, hour: float, spread: float) -> tuple[Column, Column]:
    """Once a day at each host's own time after the given hour."""
    phase = (part.office.phase[hosts] + np.arange(len(hosts)) * 0.61803) % 1.0
    moment = ((hour + phase * spread) * 3_600_000_000).astype(np.int64)
    first = part.start_us + (moment - part.start_us) % _DAY_US
    who, when = [], []
    for day in range(-(-(part.end_us - part.start_us) // _DAY_US)):
        due = first + day * _DAY_US < part.end_us
        who.append(hosts[due])
        when.append(first[due] + day * _DAY_US + part.rng.integers(0, 20_000_000, int(due.sum())))
    return np.concatenate(who), np.concatenate(when)


def _outside(part: Slice, who: Column, when: Column, location: float, site: int) -> Flows:
    office, rng, n = part.office, part.rng, len(who)
    sites = office.services
    chosen = np.full(n, site)
    src, dst = office.toward(rng, who, sites, chosen)
    volume = np.minimum(rng.lognormal(location, 0.9, n), 2e10).astype(np.int64)
    return application.tls(
        rng,
        start_us=when,
        src=src,
        dst=dst,
        server_name=sites.name[chosen],
        certificate=sites.certificate[chosen],
        request=volume,
        response=volume // 2000 + 2000,
        seconds=volume / rng.uniform(4e6, 1.2e7, n) + 1,
        rtt=sites.rtt[chosen],
        client=10,
        server=sites.software[chosen],
        stack=office.stack[who],
        turns=20,
    )
