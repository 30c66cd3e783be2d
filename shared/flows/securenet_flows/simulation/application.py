"""Connections with their application records: DNS, HTTP, TLS and SSH, sharing one uid as in Zeek.

Benign and malicious flows use the same builders; what differs is who talks to whom, when and how much. Cipher suites,
fingerprints and header sizes come from the client's and the server's software, never from the scenario.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np

from securenet_flows.batch import Int8, Int64
from securenet_flows.simulation import shapes
from securenet_flows.simulation.table import Column, Floats, Flows, LogRecords, Objects, where

QTYPES: Final = {
    "A": 1,
    "NS": 2,
    "CNAME": 5,
    "SOA": 6,
    "NULL": 10,
    "PTR": 12,
    "MX": 15,
    "TXT": 16,
    "AAAA": 28,
    "SRV": 33,
}
RCODES: Final = {"NOERROR": 0, "SERVFAIL": 2, "NXDOMAIN": 3, "REFUSED": 5}

_CIPHERS: Final = np.array(
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
     "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"], dtype=object,
)  # fmt: skip


def fingerprint(text: str, algorithm: str = "md5") -> str:
    """A stable invented fingerprint: the hash of a description of the software."""
    return hashlib.new(algorithm, text.encode(), usedforsecurity=False).hexdigest()


#: JA3 of client programs by number; a scenario picks among the same ones as ordinary software does.
CLIENT_JA3: Final = np.array([fingerprint(f"client {i}") for i in range(12)], dtype=object)
SERVER_JA3: Final = np.array([fingerprint(f"server {i}") for i in range(9)], dtype=object)


def attach(flows: Flows, name: str, records: LogRecords) -> Flows:
    """The flows with records of one more application log."""
    return Flows(flows.columns, {**flows.logs, name: records})


def dns(
    rng: np.random.Generator,
    *,
    start_us: Int64,
    src: Int8,
    resolver: Int8,
    query: Objects,
    qtype: Objects | str = "A",
    rcode: Objects | str = "NOERROR",
    answers: Objects | None = None,
    answer_bytes: Column | None = None,
    rtt: Floats | None = None,
    stack: Column | int = shapes.WINDOWS,
    answered: Column | None = None,
    ttl: Column | int = 300,
) -> Flows:
    """A lookup over UDP a row, one query each.

    Message sizes are computed from the name: 12 bytes of header, the encoded name and 4 of the question, 11 of EDNS0
    where the client sends it (half the Linux clients); answers add 16 bytes an A record, 28 an AAAA record.

    Args:
        rng: source of the noise.
        start_us, src, resolver: when, who and whom; addresses are (n, 16).
        query, qtype, rcode: the question and its outcome.
        answers: text of the answers, comma-separated, None where there are none.
        answer_bytes: bytes of the answer section; from `answers` and `qtype` if not given.
        rtt: seconds until the answer.
        stack: of the client.
        answered: which lookups get an answer; 99.6 % of them if not given.
        ttl: seconds.
    """
    n = len(start_us)
    stack = np.broadcast_to(np.asarray(stack), (n,))
    types = np.full(n, qtype, dtype=object) if isinstance(qtype, str) else qtype
    codes = np.full(n, rcode, dtype=object) if isinstance(rcode, str) else rcode
    texts = np.full(n, None, dtype=object) if answers is None else answers
    wait = rng.lognormal(-6.2, 1.2, n) if rtt is None else rtt
    replied = rng.random(n) < 0.996 if answered is None else answered
    edns = np.where((stack == shapes.LINUX) & (rng.random(n) < 0.5), 11, 0)
    question = np.fromiter((len(name) for name in query), np.int64, n) + 18 + edns
    if answer_bytes is None:
        count = np.fromiter((0 if t is None else t.count(",") + 1 for t in texts), np.int64, n)
        each = np.where(types == "AAAA", 28, 16)
        # A negative answer carries the zone's SOA, whose length hangs on the names in it.
        answer_bytes = np.where(count > 0, count * each, np.where(codes == "NXDOMAIN", rng.integers(58, 110, n), 0))
    tries = np.where(replied, 1, 1 + rng.binomial(2, 0.6, n))
    flows = shapes.udp(
        rng,
        start_us=start_us,
        src=src,
        dst=resolver,
        dst_port=53,
        service="dns",
        orig_bytes=question * tries,
        resp_bytes=question + answer_bytes,
        seconds=np.where(replied, wait, (tries - 1) * 5.0),
        orig_pkts=tries,
        resp_pkts=replied,
        stack=stack,
    )
    got = np.asarray(replied, dtype=np.bool_)
    records = LogRecords(
        row=np.arange(n),
        delay_us=np.zeros(n, dtype=np.int64),
        columns={
            "trans_id": rng.integers(1, 65536, n),
            "rtt_us": np.where(got, np.maximum((wait * 1e6).astype(np.int64), 1), -1),
            "query": query,
            "qtype": types,
            "rcode": where(got, codes),
            "answers": where(got, texts),
            "ttls": np.where(got & (texts != None), np.broadcast_to(np.asarray(ttl), (n,)), -1),  # noqa: E711 (rowwise)
        },
    )
    return attach(flows, "dns", records)


def tls(
    rng: np.random.Generator,
    *,
    start_us: Int64,
    src: Int8,
    dst: Int8,
    dst_port: Column | int = 443,
    server_name: Objects,
    certificate: Objects,
    request: Column,
    response: Column,
    seconds: Floats,
    rtt: Floats,
    state: Column | str = "SF",
    client: Column | int = 0,
    server: Column | int = 0,
    stack: Column | int = shapes.WINDOWS,
    server_stack: Column | int = shapes.LINUX,
    resumed_share: float = 0.35,
    valid: Column | bool = True,
    turns: Column | int = 2,
) -> Flows:
    """TLS connections; `request` and `response` are application bytes, to which handshake and records are added.

    The handshake costs the client 250–700 bytes (more with post-quantum key shares), the server 2.3–5.5 kB, or 200–400
    when the session is resumed.
    """
    n = len(start_us)
    client_ = np.broadcast_to(np.asarray(client), (n,))
    server_ = np.broadcast_to(np.asarray(server), (n,))
    resumed = rng.random(n) < resumed_share
    hello = rng.integers(330, 760, n) + np.where(client_ % 3 == 1, 1216, 0)
    greeting = np.where(resumed, rng.integers(190, 420, n), rng.integers(2300, 5500, n))
    records_out, records_back = request // 4096 + turns, response // 16384 + turns
    flows = shapes.tcp(
        rng,
        start_us=start_us,
        src=src,
        dst=dst,
        dst_port=dst_port,
        service="ssl",
        orig_bytes=hello + 80 + request + 22 * records_out,
        resp_bytes=greeting + response + 22 * records_back,
        seconds=seconds + rtt,
        rtt=rtt,
        state=state,
        stack=stack,
        server_stack=server_stack,
        turns=np.asarray(turns) + 2,
    )
    row = np.flatnonzero(flows["service"] == "ssl")
    old = server_[row] % 5 == 4
    trusted = np.broadcast_to(np.asarray(valid), (n,))[row]
    verdicts = np.where(trusted, "ok", "self signed certificate").astype(object)
    return attach(
        flows,
        "ssl",
        LogRecords(
            row=row,
            delay_us=(rtt[row] * 1.1e6).astype(np.int64) + 1,
            columns={
                "version": np.where(old, "TLSv12", "TLSv13").astype(object),
                "cipher": _CIPHERS[server_[row] % 2 + 2 * old],
                "curve": np.where(server_[row] % 4 == 3, "secp256r1", "x25519").astype(object),
                "server_name": server_name[row],
                "resumed": resumed[row],
                "next_protocol": where(~old & (client_[row] % 4 != 3), "h2"),
                "established": np.ones(len(row), dtype=np.bool_),
                # TLS 1.3 encrypts the certificate and a resumed session has none.
                "certificate": where(old & ~resumed[row], certificate[row]),
                "ja3": CLIENT_JA3[client_[row] % len(CLIENT_JA3)],
                "ja3s": SERVER_JA3[server_[row] % len(SERVER_JA3)],
                "validation": where(old & ~resumed[row], verdicts),
            },
        ),
    )


def http(
    rng: np.random.Generator,
    *,
    start_us: Int64,
    src: Int8,
    dst: Int8,
    dst_port: Column | int = 80,
    host: Objects,
    uri: Objects,
    user_agent: Objects,
    request: Column,
    response: Column,
    seconds: Floats,
    rtt: Floats,
    method: Objects | str = "GET",
    status: Column | int = 200,
    mime_type: Objects | str | None = "text/html",
    state: Column | str = "SF",
    stack: Column | int = shapes.WINDOWS,
    server_stack: Column | int = shapes.LINUX,
) -> Flows:
    """HTTP connections of one request each; `request` and `response` are body bytes, headers are added."""
    n = len(start_us)
    lengths = np.fromiter(
        (len(h) + len(u) + len(a or "") for h, u, a in zip(host, uri, user_agent, strict=True)), np.int64, n
    )
    head_out, head_back = lengths + rng.integers(60, 420, n), rng.integers(160, 520, n)
    flows = shapes.tcp(
        rng,
        start_us=start_us,
        src=src,
        dst=dst,
        dst_port=dst_port,
        service="http",
        orig_bytes=head_out + request,
        resp_bytes=head_back + response,
        seconds=seconds,
        rtt=rtt,
        state=state,
        stack=stack,
        server_stack=server_stack,
    )
    row = np.flatnonzero(flows["service"] == "http")
    methods = np.full(n, method, dtype=object) if isinstance(method, str) else method
    types = mime_type if isinstance(mime_type, np.ndarray) else np.full(n, mime_type, dtype=object)
    return attach(
        flows,
        "http",
        LogRecords(
            row=row,
            delay_us=(rtt[row] * 1.05e6).astype(np.int64) + 1,
            columns={
                "depth": np.ones(len(row), dtype=np.int64),
                "method": methods[row],
                "host": host[row],
                "uri": uri[row],
                "user_agent": user_agent[row],
                "request_body_len": np.asarray(request)[row].astype(np.int64),
                "response_body_len": np.asarray(response)[row].astype(np.int64),
                "status": np.broadcast_to(np.asarray(status), (n,))[row].astype(np.int64),
                "mime_type": types[row],
            },
        ),
    )


def ssh(
    rng: np.random.Generator,
    *,
    start_us: Int64,
    src: Int8,
    dst: Int8,
    dst_port: Column | int = 22,
    success: Column,
    attempts: Column,
    session_out: Column,
    session_back: Column,
    seconds: Floats,
    rtt: Floats,
    inbound: Column | bool = False,
    client: Objects,
    server: Objects,
    host_key: Objects,
    state: Column | str = "SF",
    stack: Column | int = shapes.LINUX,
) -> Flows:
    """SSH connections: banner and key exchange, authentication attempts, then the session's own bytes if one succeeded.

    Key exchange costs 1.4–2.3 kB from the client and 1.5–2.4 kB from the server, an attempt about 150 and 80 bytes, as
    OpenSSH does.
    """
    n = len(start_us)
    tries = np.asarray(attempts)
    let_in = np.asarray(success, dtype=np.bool_)
    flows = shapes.tcp(
        rng,
        start_us=start_us,
        src=src,
        dst=dst,
        dst_port=dst_port,
        service="ssh",
        orig_bytes=rng.integers(1400, 2300, n) + tries * rng.integers(130, 170, n) + np.where(let_in, session_out, 0),
        resp_bytes=rng.integers(1500, 2400, n) + tries * rng.integers(64, 100, n) + np.where(let_in, session_back, 0),
        seconds=seconds,
        rtt=rtt,
        state=state,
        stack=stack,
        turns=5 + tries * 2,
        server_first=True,
    )
    row = np.flatnonzero(flows["service"] == "ssh")
    known = tries[row] > 0
    return attach(
        flows,
        "ssh",
        LogRecords(
            row=row,
            delay_us=(rtt[row] * 1.5e6).astype(np.int64) + 1,
            columns={
                "auth_success": where(known, let_in[row].astype(object)),
                "auth_attempts": tries[row].astype(np.int64),
                "inbound": np.broadcast_to(np.asarray(inbound), (n,))[row],
                "client": client[row],
                "server": server[row],
                "host_key": host_key[row],
            },
        ),
    )
