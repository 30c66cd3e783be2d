"""What computers do by themselves: clocks, addresses, announcements, and names and hosts that are no longer there.

Realistic: NTP at powers of two seconds, DHCP renewals, multicast announcements that nobody answers (S0), lookups of
names that do not exist (browser probes, search suffixes), connections to retired servers and to printers that are off.
About half of an office's benign S0 and REJ come from here.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from securenet_flows.batch import Int8, Int64
from securenet_flows.simulation import application, shapes
from securenet_flows.simulation.activities.interface import MACHINES, Slice
from securenet_flows.simulation.table import STATE, Flows

_ALPHABET: Final = np.array(list("abcdefghijklmnopqrstuvwxyz"))


def generate(part: Slice) -> Flows:
    """Flows of the slice."""
    return Flows.concatenate([_clocks(part), _leases(part), _announcements(part), _missing_names(part), _retired(part)])


def multicast(*octets: int) -> Int8:
    """An IPv4-mapped address (16,)."""
    return np.array([0] * 10 + [255, 255, *octets], dtype=np.uint8)


def _clocks(part: Slice) -> Flows:
    rng, office = part.rng, part.office
    everyone = np.arange(len(office))
    made = []
    for hosts, interval in (
        (everyone[everyone % 3 == 0], 64.0),
        (everyone[everyone % 3 == 1], 1024.0),
        (everyone[everyone % 3 == 2], 512.0),
    ):
        who, when = part.ticks(hosts, interval, 1.5, shift=0.11)
        n = len(who)
        outer = np.isin(who, office.servers)
        to_directory = office.one("directory", n)
        pool = office.services.addresses[40 + who % 4, 0]
        made.append(
            shapes.udp(
                rng,
                start_us=when,
                src=office.address[who],
                dst=np.where(outer[:, None], pool, to_directory),
                dst_port=123,
                service="ntp",
                orig_bytes=np.full(n, 48),
                resp_bytes=np.full(n, 48),
                seconds=np.where(outer, rng.lognormal(-4.0, 0.4, n), rng.lognormal(-7.5, 0.4, n)),
                resp_pkts=rng.random(n) < 0.985,
                stack=office.stack[who],
                src_port=np.where(office.stack[who] == shapes.WINDOWS, 123, rng.integers(32768, 61000, n)),
            )
        )
    return Flows.concatenate(made)


def _leases(part: Slice) -> Flows:
    rng, office = part.rng, part.office
    who, when = part.ticks(np.concatenate([office.workstations, office.printers]), 14_400.0, 30.0, shift=0.43)
    n = len(who)
    return shapes.udp(
        rng,
        start_us=when,
        src=office.address[who],
        dst=office.one("directory", n),
        dst_port=67,
        service="dhcp",
        orig_bytes=rng.integers(300, 340, n),
        resp_bytes=rng.integers(300, 350, n),
        seconds=rng.lognormal(-7.0, 0.6, n),
        src_port=np.full(n, 68),
    )


def _announcements(part: Slice) -> Flows:
    rng, office = part.rng, part.office
    made = []
    for per_hour, group, port, service in (
        (2.0, multicast(224, 0, 0, 251), 5353, "dns"),
        (1.5, multicast(239, 255, 255, 250), 1900, None),
        (0.8, multicast(224, 0, 0, 252), 5355, "dns"),
        (0.5, multicast(10, 24, 255, 255), 137, "dns"),
    ):
        who, when = part.arrivals(np.concatenate([office.workstations, office.printers]), per_hour, MACHINES)
        n = len(who)
        packets = rng.integers(1, 5, n)
        made.append(
            shapes.udp(
                rng,
                start_us=when,
                src=office.address[who],
                dst=np.repeat(group[None, :], n, axis=0),
                dst_port=port,
                service=service,
                orig_bytes=packets * rng.integers(30, 180, n),
                resp_bytes=np.zeros(n, dtype=np.int64),
                seconds=(packets - 1) * rng.uniform(0.1, 1.1, n),
                orig_pkts=packets,
                resp_pkts=0,
                stack=office.stack[who],
                src_port=np.full(n, port) if port in {5353, 137} else None,
            )
        )
    return Flows.concatenate(made)


def _missing_names(part: Slice) -> Flows:
    """Lookups without a result: suffixes tried in turn, retired hosts, random names that test resolvers."""
    rng, office = part.rng, part.office
    who, when = part.arrivals(office.workstations, 5.0)
    n = len(who)
    random_names = np.array(["".join(rng.choice(_ALPHABET, size)) for size in rng.integers(7, 16, n)], dtype=object)
    known = office.sites.name[rng.integers(0, len(office.sites), n)]
    kind = rng.random(n)
    query = np.array(
        [
            name
            if share < 0.12
            else f"{site}.office.internal"
            if share < 0.6
            else "wpad.office.internal"
            if share < 0.8
            else f"old-{site}"
            for name, site, share in zip(random_names, known, kind.tolist(), strict=True)
        ],
        dtype=object,
    )
    return application.dns(
        rng,
        start_us=when,
        src=office.address[who],
        resolver=office.one("directory", n),
        query=query,
        rcode=np.where(kind > 0.98, "SERVFAIL", "NXDOMAIN").astype(object),
        stack=office.stack[who],
    )


def _retired(part: Slice) -> Flows:
    """Connections to what is gone: a server under its old address, a closed port, a computer that is off."""
    rng, office = part.rng, part.office
    who, when = part.arrivals(office.workstations, 1.6, MACHINES)
    n = len(who)
    dst = office.one("files", n)
    dst[:, 15] = 200 + who % 4
    port = rng.choice(
        np.array([445, 80, 443, 9100, 3306, 8080, 1433, 5900]), n, p=[0.4, 0.15, 0.15, 0.1, 0.05, 0.05, 0.05, 0.05]
    )
    closed = rng.random(n) < 0.3
    dst[closed, 15] = office.address[office.servers[who[closed] % len(office.servers)], 15]
    port[closed] = rng.choice(np.array([8443, 81, 3128, 1433, 5900, 9090]), int(closed.sum()))
    none = _none(n)
    return shapes.tcp(
        rng,
        start_us=when,
        src=office.address[who],
        dst=dst,
        dst_port=port,
        service=None,
        orig_bytes=none,
        resp_bytes=none,
        seconds=np.zeros(n),
        rtt=rng.lognormal(-7.7, 0.4, n),
        state=np.where(closed, STATE["REJ"], STATE["S0"]),
        stack=office.stack[who],
    )


def _none(count: int) -> Int64:
    return np.zeros(count, dtype=np.int64)
