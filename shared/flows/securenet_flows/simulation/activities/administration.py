"""Administrators at work: SSH and RDP from a few desks, managed configuration from the jump host, mistyped passwords.

The benign twin of brute force and lateral movement: the jump host reaches every Windows computer by WinRM and every
Linux server by SSH twice a day; help desk takes over work stations by RDP; people mistype passwords and try again; a
script with an old key fails at each run.
"""

from __future__ import annotations

import numpy as np

from securenet_flows.batch import Int64
from securenet_flows.simulation import application, shapes
from securenet_flows.simulation.activities.file_sharing import inside
from securenet_flows.simulation.activities.interface import Slice
from securenet_flows.simulation.table import Column, Flows

_SERVER = "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.8"
_CLIENTS = np.array(
    ["SSH-2.0-OpenSSH_for_Windows_9.5", "SSH-2.0-OpenSSH_9.6", "SSH-2.0-PuTTY_Release_0.81", "SSH-2.0-paramiko_3.5.0"],
    dtype=object,
)


def generate(part: Slice) -> Flows:
    """Sessions of the slice."""
    return Flows.concatenate([_shells(part), _script(part), _desktops(part), _configuration(part)])


def administrators(part: Slice) -> Int64:
    """The desks of administrators, one in fifteen."""
    desks = part.office.workstations
    return desks[: max(1, len(desks) // 15)]


def _linux(part: Slice) -> Int64:
    servers = part.office.servers
    return servers[np.flatnonzero(part.office.stack[servers] == shapes.LINUX)]


def _shells(part: Slice) -> Flows:
    rng = part.rng
    who, when = part.arrivals(administrators(part), 2.5)
    # A mistyped password shows as further attempts in the connection, or as a connection that ends without success.
    tries = rng.choice(np.array([1, 2, 3]), len(who), p=[0.86, 0.11, 0.03])
    failed = rng.random(len(who)) < 0.05
    again = np.flatnonzero(failed)
    who, when = (
        np.concatenate([who, who[again]]),
        np.concatenate([when, when[again] + rng.integers(5_000_000, 25_000_000, len(again))]),
    )
    success = np.concatenate([~failed, np.ones(len(again), dtype=np.bool_)])
    tries = np.concatenate([np.where(failed, 3, tries), np.ones(len(again), dtype=np.int64)])
    n = len(who)
    return _sessions(part, who=who, peer=rng.choice(_linux(part), n), when=when, success=success, tries=tries)


def _script(part: Slice) -> Flows:
    """A forgotten job whose key was revoked: it fails every ten minutes, day and night."""
    who, when = part.ticks(part.office.workstations[-1:], 600.0, 2.0, shift=0.9)
    n = len(who)
    return _sessions(
        part,
        who=who,
        peer=np.full(n, part.office.server["intranet"]),
        when=when,
        success=np.zeros(n, dtype=np.bool_),
        tries=np.ones(n, dtype=np.int64),
    )


def _sessions(part: Slice, *, who: Int64, peer: Int64, when: Int64, success: Column, tries: Int64) -> Flows:
    office, rng, n = part.office, part.rng, len(who)
    src, dst = office.within(rng, who, peer)
    seconds = np.where(success, rng.lognormal(5.0, 1.6, n), rng.uniform(1.5, 3.5, n) * tries)
    return application.ssh(
        rng,
        start_us=when,
        src=src,
        dst=dst,
        success=success,
        attempts=tries,
        session_out=rng.lognormal(8.3, 1.3, n).astype(np.int64),
        session_back=rng.lognormal(9.8, 1.5, n).astype(np.int64),
        seconds=seconds,
        rtt=rng.lognormal(-7.6, 0.4, n),
        client=_CLIENTS[who % len(_CLIENTS)],
        server=np.full(n, _SERVER, dtype=object),
        host_key=office.host_key[peer],
        stack=office.stack[who],
    )


def _desktops(part: Slice) -> Flows:
    office, rng = part.office, part.rng
    who, when = part.arrivals(administrators(part), 1.2)
    n = len(who)
    desks = office.workstations[office.stack[office.workstations] == shapes.WINDOWS]
    if not len(desks):
        # A small office may have none.
        desks = np.array([office.server["files"]])
    peer = np.where(rng.random(n) < 0.5, office.server["files"], rng.choice(desks, n))
    # One in six is a log-in that fails or is given up at the password.
    brief = rng.random(n) < 0.16
    seconds = np.where(brief, rng.lognormal(-0.4, 0.7, n), rng.lognormal(6.2, 1.1, n))
    return inside(
        part,
        host=who,
        peer=peer,
        start_us=when,
        port=3389,
        service="rdp,ssl",
        out=(rng.normal(1780, 180, n) + np.where(brief, 0, seconds * rng.lognormal(5.5, 0.6, n))).astype(np.int64),
        back=(rng.normal(2200, 240, n) + np.where(brief, 0, seconds * rng.lognormal(8.3, 0.9, n))).astype(np.int64),
        seconds=seconds,
        turns=(seconds * 2).astype(np.int64) + 6,
    )


def _configuration(part: Slice) -> Flows:
    office, rng = part.office, part.rng
    managed = np.concatenate(
        [
            office.servers[office.stack[office.servers] == shapes.WINDOWS],
            office.workstations[office.stack[office.workstations] == shapes.WINDOWS],
        ]
    )
    peer, when = part.ticks(managed, 12 * 3600.0, 5.0, shift=0.33)
    n = len(peer)
    return inside(
        part,
        host=np.full(n, office.server["jump"]),
        peer=peer,
        start_us=when,
        port=5985,
        service="http",
        out=rng.lognormal(9.2, 0.4, n).astype(np.int64),
        back=rng.lognormal(9.6, 0.5, n).astype(np.int64),
        seconds=rng.lognormal(1.5, 0.6, n),
        turns=12,
    )
