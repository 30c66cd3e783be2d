"""Generated domains: a host asks for many names of which almost none exist, until one answers.

Realistic: names of letters, of hexadecimal digits or of words, under cheap top-level domains, a rate of about one a
second, an NXDOMAIN each, at the end one that resolves and a connection to it.
Not realistic: the generators are not those of known families.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from securenet_flows.simulation import application
from securenet_flows.simulation.scenarios.interface import Attack, Parameter, Scenario, paced, repeat
from securenet_flows.simulation.scenarios.names import HEXADECIMAL, LETTERS, random_texts
from securenet_flows.simulation.sites import site_names
from securenet_flows.simulation.table import Flows, Objects, where

_TLDS = np.array([".com", ".net", ".org", ".info", ".biz", ".top", ".xyz", ".ru"])


def generate(attack: Attack) -> Iterator[Flows]:
    """Lookups of a work station, and the call to what was found."""
    rng, office = attack.rng, attack.office
    host, server = attack.workstation(), attack.outside()
    count = attack.count("names")
    for first, times in paced(attack, count, 1.0 / attack.number("rate"), spread=0.6):
        n = len(times)
        names = _names(attack, n)
        found = np.arange(first, first + n) == count - 1
        wait = rng.lognormal(-3.6, 0.6, n)
        lookups = application.dns(
            rng,
            start_us=times,
            src=repeat(office.address[host], n),
            resolver=office.one("directory", n),
            query=names,
            rcode=np.where(found, "NOERROR", "NXDOMAIN").astype(object),
            answers=where(found, str(server.answers[0])),
            rtt=wait,
            answered=found | (rng.random(n) < 0.99),
            stack=office.stack[host],
        )
        at = np.flatnonzero(found)
        call = application.tls(
            rng,
            start_us=times[at] + (wait[at] * 1e6).astype(np.int64) + 2000,
            src=repeat(office.address[host], len(at)),
            dst=repeat(server.addresses[0, 0], len(at)),
            server_name=names[at],
            certificate=np.repeat(server.certificate[:1], len(at)),
            request=rng.integers(300, 1200, len(at)),
            response=rng.integers(500, 40_000, len(at)),
            seconds=np.full(len(at), 0.8),
            rtt=np.repeat(server.rtt[:1], len(at)),
            client=8,
            server=server.software[0],
            stack=office.stack[host],
            valid=False,
        )
        yield Flows.concatenate([lookups, call]).in_order()


def _names(attack: Attack, count: int) -> Objects:
    rng = attack.rng
    if attack.text("style") == "words":
        heads = [
            name.split(".")[-2] + other.split(".")[-2]
            for name, other in zip(*(site_names(rng, count) for _ in range(2)), strict=True)
        ]
        heads = [head.replace("-", "") for head in heads]
    else:
        alphabet = LETTERS if attack.text("style") == "letters" else HEXADECIMAL
        heads = random_texts(rng, rng.integers(9, 22, count), alphabet)
    return np.array(
        [head + tld for head, tld in zip(heads, rng.choice(_TLDS, count).tolist(), strict=True)], dtype=object
    )


SCENARIO = Scenario(
    name="dga",
    summary="a work station asks for generated domain names until one exists",
    techniques=("T1568.002",),
    parameters=(
        Parameter("names", 200, "names that are asked for", low=1, high=4000),
        Parameter("rate", 1.0, "names a second", low=0.001, high=1000),
        Parameter("style", "letters", "what names are made of", choices=("letters", "hex", "words")),
    ),
    generate=generate,
)
