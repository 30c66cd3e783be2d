"""People on the web: pages of several sites each, looked up first, with sizes and durations that have heavy tails.

Realistic: popularity of sites (power law), several connections a page, DNS lookups before connections unless the name
is cached, HTTP/3 where the site offers it, log-normal bodies with a Pareto tail, keep-alive times, and the failures of
real life: dead hosts, resets by either side, connections still open, closes seen from one side (about 7 % are not SF).
Not realistic: no pipelining of several requests in one HTTP connection, sites do not change over months.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from securenet_flows.batch import Int64
from securenet_flows.simulation import application, shapes
from securenet_flows.simulation.activities.interface import Slice
from securenet_flows.simulation.office import Office
from securenet_flows.simulation.sites import Sites
from securenet_flows.simulation.table import STATE, Column, Floats, Flows, Objects, where

#: How answered connections end, with shares.
_ENDS: Final = (
    ("SF", 0.925), ("RSTO", 0.03), ("RSTR", 0.018), ("S1", 0.006), ("S2", 0.003), ("S3", 0.004), ("S0", 0.009),
    ("REJ", 0.005),
)  # fmt: skip
_STATES: Final = np.array([STATE[name] for name, _ in _ENDS])
_SHARES: Final = np.array([share for _, share in _ENDS])
_PATHS: Final = np.array(
    ["/", "/index.html", "/favicon.ico", "/api/v1/items", "/img/logo.png", "/css/site.css", "/js/app.js", "/news",
     "/search?q=", "/static/main.js", "/v2/collect", "/feed.xml"], dtype=object,
)  # fmt: skip
_TYPES: Final = np.array(
    ["text/html", "image/png", "text/css", "application/javascript", "application/json", "image/jpeg"], dtype=object
)


def generate(part: Slice) -> Flows:
    """Flows of pages opened in the slice."""
    office, rng, sites = part.office, part.rng, part.office.sites
    who, when = part.arrivals(office.workstations, 26.0 * office.diligence[office.workstations])
    parts = 1 + rng.negative_binomial(1.2, 0.22, len(who))
    host = np.repeat(who, parts)
    order = np.arange(len(host)) - np.repeat(np.cumsum(parts) - parts, parts)
    gap = np.where(order == 0, 0.0, rng.exponential(0.9, len(host)) + 0.05)
    at = np.repeat(when, parts) + (gap * 1e6).astype(np.int64)
    site = choose_sites(rng, host, sites)
    return visit(part, host, site, at, sites)


def choose_sites(rng: np.random.Generator, host: Int64, sites: Sites) -> Int64:
    """A site a row: half the time one of the host's own fifty favourites, else by popularity."""
    popular = np.searchsorted(np.cumsum(sites.weight), rng.random(len(host)))
    own = (host * 7919 + rng.integers(0, 50, len(host)) * 104_729) % len(sites)
    chosen = np.where(rng.random(len(host)) < 0.5, own, popular)
    return np.asarray(np.minimum(chosen, len(sites) - 1), dtype=np.int64)


def outcomes(rng: np.random.Generator, dead: Column) -> Column:
    """conn_state numbers of connections to hosts that answer as a rule, or never where `dead`."""
    state = rng.choice(_STATES, len(dead), p=_SHARES)
    return np.where(dead, STATE["S0"], state)


def body_sizes(rng: np.random.Generator, location: Floats) -> Int64:
    """Bytes of answers: log-normal around exp(location), one in thirty with a Pareto tail (α = 1.15) up to 2 GB."""
    n = len(location)
    body = np.exp(np.clip(location + rng.normal(0, 1.4, n), 3, 16))
    tail = np.where(rng.random(n) < 0.033, 1 + rng.pareto(1.15, n) * 8, 1.0)
    return np.asarray(np.minimum(body * tail, 2e9), dtype=np.int64)


def transfer_seconds(rng: np.random.Generator, size: Int64, rtt: Floats) -> Floats:
    """Seconds that an exchange takes: round trips, bandwidth (log-normal around 30 Mbit/s), idling."""
    n = len(size)
    bandwidth = rng.lognormal(15.1, 0.8, n)
    idle = np.where(rng.random(n) < 0.45, rng.exponential(25.0, n), rng.exponential(0.3, n))
    timeout = np.where(
        rng.random(n) < 0.08, rng.choice(np.array([15.0, 60.0, 65.0, 115.0, 120.0]), n) + rng.normal(0, 0.02, n), 0.0
    )
    return np.asarray(rtt * 2 + size / bandwidth + np.maximum(idle, timeout))


def visit(part: Slice, host: Int64, site: Int64, at: Int64, sites: Sites) -> Flows:
    """Lookups and connections of hosts to sites at given times."""
    office, rng = part.office, part.rng
    n = len(host)
    looked = rng.random(n) < 0.42
    rtt = sites.rtt[site] * rng.lognormal(0.0, 0.15, n)
    asked, wait = lookups(part, host[looked], sites, site[looked], at[looked])
    start = at.copy()
    start[looked] += wait
    src, dst = office.toward(rng, host, sites, site)
    response = body_sizes(rng, sites.size[site])
    request = np.exp(rng.normal(6.6, 0.9, n)).astype(np.int64) + response // 4000
    seconds = transfer_seconds(rng, response, rtt)
    kind = rng.random(n)
    state = outcomes(rng, sites.dead[site])
    quic = (kind < 0.2) & (sites.software[site] % 3 == 0) & ~sites.dead[site]
    plain = (kind > 0.965) & ~quic
    secure = ~quic & ~plain
    flows = [asked]
    if secure.any():
        s = np.flatnonzero(secure)
        flows.append(
            application.tls(
                rng,
                start_us=start[s],
                src=src[s],
                dst=dst[s],
                server_name=sites.name[site[s]],
                certificate=sites.certificate[site[s]],
                request=request[s],
                response=response[s],
                seconds=seconds[s],
                rtt=rtt[s],
                state=state[s],
                client=office.client[host[s]],
                server=sites.software[site[s]],
                stack=office.stack[host[s]],
                turns=rng.geometric(0.3, len(s)),
            )
        )
    if plain.any():
        s = np.flatnonzero(plain)
        flows.append(
            application.http(
                rng,
                start_us=start[s],
                src=src[s],
                dst=dst[s],
                host=sites.name[site[s]],
                uri=paths(rng, len(s)),
                user_agent=office.agent[host[s]],
                request=np.zeros(len(s), dtype=np.int64),
                response=response[s],
                seconds=seconds[s],
                rtt=rtt[s],
                state=state[s],
                stack=office.stack[host[s]],
                status=rng.choice(np.array([200, 304, 301, 404, 500]), len(s), p=[0.8, 0.08, 0.07, 0.04, 0.01]),
                mime_type=rng.choice(_TYPES, len(s)),
            )
        )
    if quic.any():
        s = np.flatnonzero(quic)
        flows.append(
            _http3(
                rng,
                office,
                host=host[s],
                start_us=start[s],
                ends=(src[s], dst[s]),
                volume=(request[s], response[s]),
                seconds=seconds[s],
            )
        )
    return Flows.concatenate(flows)


def paths(rng: np.random.Generator, count: int) -> Objects:
    """Ordinary request paths."""
    base = rng.choice(_PATHS, count)
    number = rng.integers(0, 100_000, count)
    return np.array(
        [f"{b}?id={i}" if i % 4 == 0 else b for b, i in zip(base, number.tolist(), strict=True)], dtype=object
    )


def lookups(part: Slice, host: Int64, sites: Sites, site: Int64, at: Int64) -> tuple[Flows, Int64]:
    """A records (AAAA too for hosts with IPv6) asked of the office's resolver; and how long the asker waits, in µs.

    The resolver itself asks outside for what it has not cached, one time in three.
    """
    office, rng = part.office, part.rng
    n = len(host)
    hit = rng.random(n) < 0.67
    rtt = np.where(hit, rng.lognormal(-7.6, 0.5, n), rng.lognormal(-4.0, 0.7, n))
    six = np.flatnonzero(office.has6[host])
    texts4, texts6 = sites.answers[site], sites.answers6[site]
    ttl = 60 + site % 7 * 120
    name = sites.name[site]
    outer = np.flatnonzero(~hit)
    flows = [
        application.dns(
            rng,
            ttl=ttl,
            start_us=at,
            src=office.address[host],
            resolver=office.one("directory", n),
            query=name,
            answers=texts4,
            rtt=rtt,
            stack=office.stack[host],
        ),
        application.dns(
            rng,
            start_us=at[six] + 40,
            src=office.address[host[six]],
            resolver=office.one("directory", len(six)),
            query=name[six],
            qtype="AAAA",
            answers=where(sites.has6[site[six]], texts6[six]),
            rtt=rtt[six] * 1.1,
            stack=office.stack[host[six]],
        ),
        application.dns(
            rng,
            start_us=at[outer] + 200,
            src=office.one("directory", len(outer)),
            resolver=np.repeat(office.services.addresses[:1, 0], len(outer), axis=0),
            query=name[outer],
            answers=texts4[outer],
            rtt=rtt[outer] * 0.9,
            stack=shapes.WINDOWS,
        ),
    ]
    return Flows.concatenate(flows), (rtt * 1e6).astype(np.int64) + rng.integers(100, 3000, n)


def _http3(
    rng: np.random.Generator,
    office: Office,
    *,
    host: Int64,
    start_us: Int64,
    ends: tuple[Column, Column],
    volume: tuple[Int64, Int64],
    seconds: Floats,
) -> Flows:
    request, response = volume
    back = -(-response // 1250) + rng.integers(3, 8, len(host))
    out = (back * rng.uniform(0.25, 0.6, len(host))).astype(np.int64) + 3
    return shapes.udp(
        rng,
        start_us=start_us,
        src=ends[0],
        dst=ends[1],
        dst_port=443,
        service="quic",
        orig_bytes=request + 1200 + out * 33,
        resp_bytes=response + 3600 + back * 24,
        seconds=seconds,
        orig_pkts=out,
        resp_pkts=back,
        stack=office.stack[host],
    )
