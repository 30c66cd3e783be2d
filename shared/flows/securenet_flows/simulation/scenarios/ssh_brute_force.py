"""Guessing SSH passwords of one server from one host outside (or inside).

Realistic: connections in a few parallel threads, up to the tries that the server allows in each, failed log-ins that
look like OpenSSH's (key exchange, 1–6 attempts, server closes), refused connections when the server limits them, and at
the end, if asked for, one success with a session.
Not realistic: user names are not modelled, the guesser's tool does not change its banner.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from securenet_flows.batch import Bool, Int8, Int64
from securenet_flows.simulation import application, shapes
from securenet_flows.simulation.scenarios.interface import Attack, Parameter, Scenario, paced, repeat
from securenet_flows.simulation.sites import public_addresses
from securenet_flows.simulation.table import STATE, Flows

#: Banners of clients; guessing tools use libraries that ordinary scripts use as well.
CLIENTS: Final = np.array(
    ["SSH-2.0-Go", "SSH-2.0-libssh_0.10.6", "SSH-2.0-paramiko_3.5.0", "SSH-2.0-OpenSSH_9.6"], dtype=object
)
#: How attempts end: closed in order as a rule, now and then cut off, refused or dropped by a busy server.
_ENDS: Final = np.array([STATE[name] for name in ("SF", "RSTO", "RSTR", "REJ", "S0")])
_SHARES: Final = np.array([0.86, 0.06, 0.05, 0.01, 0.02])

SERVER: Final = "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.8"


def generate(attack: Attack) -> Iterator[Flows]:
    """Log-in attempts at the web server (from outside) or the jump host (from inside)."""
    rng, office = attack.rng, attack.office
    inside = attack.text("source") == "inside"
    victim = office.server["jump" if inside else "web"]
    host = attack.workstation()
    source = office.address[host] if inside else public_addresses(rng, 1)[0]
    tool = CLIENTS[int(rng.integers(len(CLIENTS)))]
    rtt = 0.0006 if inside else float(rng.uniform(0.02, 0.2))
    count = attack.count("attempts")
    for first, times in paced(attack, count, 1.0 / attack.number("rate"), spread=0.6):
        success = np.zeros(len(times), dtype=np.bool_)
        if attack.text("outcome") == "success" and first + len(times) >= count:
            success[-1] = True
        yield logins(
            attack,
            times=times,
            src=repeat(source, len(times)),
            victim=np.full(len(times), victim),
            success=success,
            tool=str(tool),
            rtt=rtt,
            stack=int(office.stack[host]) if inside else shapes.LINUX,
        )


def logins(
    attack: Attack,
    *,
    times: Int64,
    src: Int8,
    victim: Int64,
    success: Bool,
    tool: str,
    rtt: float,
    stack: int = shapes.LINUX,
    tries: Int64 | None = None,
) -> Flows:
    """One connection a row, with the given tries or some."""
    rng, office, n = attack.rng, attack.office, len(times)
    if tries is None:
        tries = rng.choice(np.array([1, 2, 3, 6]), n, p=[0.55, 0.1, 0.25, 0.1])
    trips = rtt * rng.lognormal(0, 0.1, n)
    # A failed attempt costs about two seconds, by the delay of PAM.
    seconds = tries * rng.uniform(1.4, 2.9, n) + 6 * trips + np.where(success, rng.uniform(30, 600, n), 0)
    return application.ssh(
        rng,
        start_us=times,
        src=src,
        dst=office.address[victim],
        success=success,
        attempts=tries,
        session_out=rng.lognormal(8.5, 1, n).astype(np.int64),
        session_back=rng.lognormal(10, 1, n).astype(np.int64),
        seconds=seconds,
        rtt=trips,
        inbound=True,
        client=np.full(n, tool, dtype=object),
        server=np.full(n, SERVER, dtype=object),
        host_key=office.host_key[victim],
        stack=stack,
        state=np.where(success, STATE["SF"], rng.choice(_ENDS, n, p=_SHARES)),
    )


SCENARIO = Scenario(
    name="ssh-brute-force",
    summary="one host guesses SSH passwords of one server",
    techniques=("T1110.001",),
    parameters=(
        Parameter("attempts", 300, "connections", low=1, high=1e7),
        Parameter("rate", 1.0, "connections a second", low=0.001, high=1000),
        Parameter("source", "outside", "where the guesser is", choices=("outside", "inside")),
        Parameter("outcome", "failure", "whether the last guess gets in", choices=("failure", "success")),
    ),
    generate=generate,
)
