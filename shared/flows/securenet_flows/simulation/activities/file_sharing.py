"""Work stations and the office's own servers: log-on, directory, file shares, mail, intranet, printing.

Realistic: Kerberos and LDAP at log-on and with each ticket, SMB sessions that last and carry heavy-tailed volumes,
IMAP polling of the mail server, print jobs, many more internal bytes than external ones.
Not realistic: no replication between directory servers (there is one), no broadcast of computer browsers.
"""

from __future__ import annotations

import numpy as np

from securenet_flows.batch import Int64
from securenet_flows.simulation import application, shapes
from securenet_flows.simulation.activities.browsing import body_sizes, outcomes, paths
from securenet_flows.simulation.activities.interface import Slice
from securenet_flows.simulation.table import Column, Floats, Flows


def generate(part: Slice) -> Flows:
    """Flows of the slice."""
    return Flows.concatenate([_directory(part), _shares(part), _mail(part), _intranet(part), _printing(part)])


def inside(
    part: Slice,
    *,
    host: Int64,
    peer: Int64,
    start_us: Int64,
    port: Column | int,
    service: str | None,
    out: Column,
    back: Column,
    seconds: Floats,
    turns: Column | int = 2,
    server_first: bool = False,
) -> Flows:
    """TCP connections between hosts of the office, which end as all others do."""
    office, rng, n = part.office, part.rng, len(host)
    src, dst = office.within(rng, host, peer)
    state = outcomes(rng, np.zeros(n, dtype=np.bool_))
    return shapes.tcp(
        rng,
        start_us=start_us,
        src=src,
        dst=dst,
        dst_port=port,
        service=service,
        orig_bytes=out,
        resp_bytes=back,
        seconds=seconds,
        rtt=rng.lognormal(-7.7, 0.4, n),
        state=state,
        stack=office.stack[host],
        server_stack=office.stack[peer],
        turns=turns,
        server_first=server_first,
    )


def _directory(part: Slice) -> Flows:
    rng, office = part.rng, part.office
    made = []
    for per_hour, port, service, out, back in (
        (3.0, 88, "krb_tcp", 7.3, 7.4),
        (2.2, 389, "ldap_tcp", 6.8, 8.0),
        (0.8, 135, "dce_rpc", 5.6, 5.4),
    ):
        who, when = part.arrivals(np.concatenate([office.workstations, office.servers[1:]]), per_hour)
        n = len(who)
        made.append(
            inside(
                part,
                host=who,
                peer=np.full(n, office.server["directory"]),
                start_us=when,
                port=port,
                service=service,
                out=rng.lognormal(out, 0.35, n).astype(np.int64),
                back=rng.lognormal(back, 0.6, n).astype(np.int64),
                seconds=rng.exponential(0.05 if port == 88 else 20.0, n),
            )
        )
    return Flows.concatenate(made)


def _shares(part: Slice) -> Flows:
    rng, office = part.rng, part.office
    who, when = part.arrivals(office.workstations, 4.0 * office.diligence[office.workstations])
    n = len(who)
    saving = rng.random(n) < 0.3
    big = body_sizes(rng, np.full(n, 10.5))
    small = rng.lognormal(8.5, 0.6, n).astype(np.int64)
    return inside(
        part,
        host=who,
        peer=np.where(rng.random(n) < 0.85, office.server["files"], office.server["directory"]),
        start_us=when,
        port=445,
        service="gssapi,smb,ntlm",
        out=np.where(saving, big, small),
        back=np.where(saving, small, big),
        seconds=rng.lognormal(3.5, 1.6, n),
        turns=rng.integers(6, 60, n),
    )


def _mail(part: Slice) -> Flows:
    rng, office = part.rng, part.office
    who, when = part.ticks(office.workstations[office.workstations % 4 == 1], 180.0, 3.0, shift=0.71)
    n = len(who)
    state = outcomes(rng, np.zeros(n, dtype=np.bool_))
    fetched = rng.random(n) < 0.12
    src, dst = office.within(rng, who, np.full(n, office.server["mail"]))
    polls = application.tls(
        rng,
        start_us=when,
        src=src,
        dst=dst,
        dst_port=993,
        server_name=np.full(n, "mail.office.internal", dtype=object),
        certificate=np.full(n, application.fingerprint("mail.office.internal", "sha256"), dtype=object),
        request=rng.integers(180, 420, n),
        response=np.where(fetched, body_sizes(rng, np.full(n, 9.5)), rng.integers(240, 520, n)),
        seconds=rng.exponential(0.4, n) + 0.05,
        rtt=rng.lognormal(-7.7, 0.4, n),
        state=state,
        client=9,
        server=4,
        stack=office.stack[who],
    )
    who, when = part.arrivals(office.workstations, 1.2)
    n = len(who)
    sent = inside(
        part,
        host=who,
        peer=np.full(n, office.server["mail"]),
        start_us=when,
        port=587,
        service="smtp",
        out=body_sizes(rng, np.full(n, 9.0)),
        back=rng.integers(300, 900, n),
        seconds=rng.exponential(0.7, n) + 0.1,
        turns=8,
        server_first=True,
    )
    return Flows.concatenate([polls, sent])


def _intranet(part: Slice) -> Flows:
    rng, office = part.rng, part.office
    who, when = part.arrivals(office.workstations, 5.0 * office.diligence[office.workstations])
    n = len(who)
    src, dst = office.within(rng, who, np.full(n, office.server["intranet"]))
    return application.http(
        rng,
        start_us=when,
        src=src,
        dst=dst,
        dst_port=np.where(rng.random(n) < 0.7, 80, 8080),
        host=np.full(n, "intranet.office.internal", dtype=object),
        uri=paths(rng, n),
        user_agent=office.agent[who],
        request=np.where(rng.random(n) < 0.1, rng.lognormal(8, 1.5, n), 0).astype(np.int64),
        response=body_sizes(rng, np.full(n, 8.6)),
        seconds=rng.exponential(3.0, n),
        rtt=rng.lognormal(-7.6, 0.4, n),
        state=outcomes(rng, np.zeros(n, dtype=np.bool_)),
        status=rng.choice(np.array([200, 304, 302, 401, 404]), n, p=[0.78, 0.1, 0.06, 0.03, 0.03]),
        stack=office.stack[who],
    )


def _printing(part: Slice) -> Flows:
    rng, office = part.rng, part.office
    who, when = part.arrivals(office.workstations, 0.6)
    n = len(who)
    return inside(
        part,
        host=who,
        peer=office.printers[rng.integers(0, len(office.printers), n)],
        start_us=when,
        port=np.where(rng.random(n) < 0.7, 9100, 631),
        service=None,
        out=body_sizes(rng, np.full(n, 12.5)),
        back=rng.integers(60, 900, n),
        seconds=rng.lognormal(1.8, 0.7, n),
    )
