"""The inside: an office network with its hosts, and the sites that it uses. The same seed gives the same office."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from securenet_flows.batch import Bool, Int8, Int64
from securenet_flows.simulation.application import fingerprint
from securenet_flows.simulation.settings import SimulationSettings
from securenet_flows.simulation.shapes import EMBEDDED, LINUX, WINDOWS
from securenet_flows.simulation.sites import Sites, make_sites
from securenet_flows.simulation.table import Column, Floats, Objects

#: The servers that every office has, in this order, with the stack of each.
SERVERS: Final = {
    "directory": WINDOWS, "files": WINDOWS, "mail": LINUX, "web": LINUX, "backup": LINUX, "monitor": LINUX,
    "intranet": LINUX, "jump": LINUX,
}  # fmt: skip

_AGENTS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:135.0) Gecko/20100101 Firefox/135.0",
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0"
        " Safari/537.36 Edg/133.0.0.0"
    ),
    "Mozilla/5.0 (X11; Linux x86_64; rv:135.0) Gecko/20100101 Firefox/135.0",
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
        " Version/18.3 Safari/605.1.15"
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class Office:
    """Hosts as columns over all n of them, the groups that they belong to as positions, and the sites outside.

    Attributes:
        address: (n, 16) IPv4-mapped addresses in 10.20.0.0/16 and the blocks after it.
        address6: (n, 16) addresses in the documentation prefix 2001:db8::/32.
        has6: which hosts use IPv6.
        stack: WINDOWS, LINUX or EMBEDDED.
        phase: uniform in 0..1, the host's own shift of everything that it does regularly.
        diligence: log-normal with mean 1, how much its user does.
        agent: its browser's User-Agent.
        client: number of its browser among the TLS clients.
        workstations, printers, servers: positions.
        server: position of each of :data:`SERVERS` by name.
        sites: what people and programs use; `services` the few that programs poll.
    """

    address: Int8
    address6: Int8
    has6: Bool
    stack: Column
    phase: Floats
    diligence: Floats
    agent: Objects
    client: Column
    host_key: Objects
    workstations: Int64
    printers: Int64
    servers: Int64
    server: dict[str, int]
    sites: Sites
    services: Sites

    def __len__(self) -> int:
        return len(self.stack)

    def one(self, role: str, count: int) -> Int8:
        """The IPv4 address of the named server, repeated (count, 16)."""
        return np.repeat(self.address[self.server[role]][None, :], count, axis=0)

    def toward(self, rng: np.random.Generator, host: Int64, sites: Sites, site: Int64) -> tuple[Int8, Int8]:
        """Addresses of hosts and sites for connections between them: IPv6 where both have it, mostly."""
        six = self.has6[host] & sites.has6[site] & (rng.random(len(host)) < 0.92)
        which = rng.integers(0, 4, len(host))
        src = np.where(six[:, None], self.address6[host], self.address[host])
        dst = np.where(six[:, None], sites.addresses6[site, which], sites.addresses[site, which])
        return src, dst

    def within(self, rng: np.random.Generator, host: Int64, peer: Int64) -> tuple[Int8, Int8]:
        """Addresses for connections inside: IPv6 where both have it, one time in four."""
        six = self.has6[host] & self.has6[peer] & (rng.random(len(host)) < 0.25)
        return (
            np.where(six[:, None], self.address6[host], self.address[host]),
            np.where(six[:, None], self.address6[peer], self.address[peer]),
        )


def is_local(address: Int8) -> Bool:
    """Boolean (n,): which (n, 16) addresses are private, link-local or the office's own, multicast included."""
    four = (address[:, :10] == 0).all(axis=1) & (address[:, 10] == 255) & (address[:, 11] == 255)
    inside4 = (address[:, 12] == 10) | ((address[:, 12] == 192) & (address[:, 13] == 168))
    own6 = (address[:, 0] == 0x20) & (address[:, 1] == 0x01) & (address[:, 2] == 0x0D) & (address[:, 3] == 0xB8)
    return np.asarray(np.where(four, inside4, own6 | (address[:, 0] == 0xFE)))


def make_office(settings: SimulationSettings) -> Office:
    """The office of the settings; of them only the seed, the number of hosts and the IPv6 share matter."""
    rng = np.random.default_rng([settings.seed, 0x0FF1CE])
    total = settings.hosts
    printers = max(1, total // 25)
    extra = max(0, total // 12 - 4)
    fixed = len(SERVERS)
    servers = np.arange(fixed + extra)
    printer = np.arange(fixed + extra, fixed + extra + printers)
    desks = np.arange(fixed + extra + printers, total)
    stack = np.empty(total, dtype=np.int64)
    stack[:fixed] = list(SERVERS.values())
    stack[fixed : fixed + extra] = rng.choice([LINUX, WINDOWS], extra, p=[0.7, 0.3])
    stack[printer] = EMBEDDED
    stack[desks] = rng.choice([WINDOWS, LINUX], len(desks), p=[0.85, 0.15])
    has6 = rng.random(total) < settings.ipv6_share
    has6[printer] = False
    agents = np.where(stack == WINDOWS, rng.integers(0, 3, total), rng.integers(3, 5, total))
    return Office(
        address=_inside4(servers, printer, desks),
        address6=_inside6(rng, total),
        has6=has6,
        stack=stack,
        phase=rng.random(total),
        diligence=rng.lognormal(-0.125, 0.5, total),
        agent=np.array(_AGENTS, dtype=object)[agents],
        client=agents,
        host_key=np.array([fingerprint(f"{settings.seed} host {i}") for i in range(total)], dtype=object),
        workstations=desks,
        printers=printer,
        servers=servers,
        server=dict(zip(SERVERS, range(fixed), strict=True)),
        sites=make_sites(rng, 1500, dead_share=0.02),
        services=make_sites(rng, 60),
    )


def _inside4(servers: Int64, printers: Int64, desks: Int64) -> Int8:
    out = np.zeros((len(servers) + len(printers) + len(desks), 16), dtype=np.uint8)
    out[:, 10:12] = 255
    out[:, 12] = 10
    # Networks of 240 hosts: servers from 10.20.1.0, printers from 10.21.0.0, desks from 10.24.0.0.
    for group, second, third in ((servers, 20, 1), (printers, 21, 0), (desks, 24, 10)):
        order = np.arange(len(group))
        network = order // 240 + third
        out[group, 13] = second + network // 256
        out[group, 14] = network % 256
        out[group, 15] = order % 240 + 10
    return out


def _inside6(rng: np.random.Generator, total: int) -> Int8:
    out = np.zeros((total, 16), dtype=np.uint8)
    out[:, :6] = (0x20, 0x01, 0x0D, 0xB8, 0x00, 0x20)
    out[:, 8:] = rng.integers(0, 256, (total, 8))
    return out
