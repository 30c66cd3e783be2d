"""What a server says of itself: read what it says first, then ask a little, never more than 4 KiB, never for long.

A server may say nothing, dribble, or never stop. Every conversation has a byte cap and a deadline, and all of them
together have one too.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

MAX_BYTES = 4_096
MAX_BANNER = 4_096

_HTTP = b"GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: securenet-scanner\r\nAccept: */*\r\nConnection: close\r\n\r\n"
_REDIS = b"PING\r\n"
# The preface of HTTP/2 and an empty SETTINGS frame (RFC 9113 §3.4): a gRPC server answers with its own.
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

_TLS_PORTS = frozenset(
    {443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 2376, 3269, 4443, 5061, 5671, 5986, 6443}
)
_TLS_PORTS |= {8443, 8883, 9443, 10250, 10443}
_REDIS_PORTS = frozenset({6379, 6380, 16379, 26379})
_HTTP_PORTS = frozenset(
    {80, 81, 591, 3000, 5000, 5601, 5984, 5985, 8000, 8008, 8080, 8081, 8086, 8089, 8888, 9000, 9090, 9200}
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds."""

    greeting: float = 0.5
    """For a server that speaks first."""
    answer: float = 1.0
    """For the answer to a question, and for a TLS handshake."""
    quiet: float = 0.2
    """After the last byte of a banner, until it is taken for whole."""
    total: float = 4.0
    """For one port, all questions together."""


@dataclass(frozen=True, slots=True)
class Banner:
    """What a server said."""

    data: bytes
    """At most `MAX_BYTES`, as it came."""
    probe: str
    """What was asked: `greeting`, `http`, `http2`, `redis`; empty where nothing was ever said."""
    tls: bool


_NOTHING = Banner(b"", "", False)


class BannerReader:
    """Talks to one open port after another, on the event loop of its caller."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname = False
        # Who the server is does not matter here: what it offers is what is looked at, and nothing is confided to it.
        self._tls.verify_mode = ssl.CERT_NONE
        self._tls.set_alpn_protocols(["http/1.1", "h2"])

    async def read(self, address: str, port: int) -> Banner:
        """What listens at a port says of itself; an empty banner where it says nothing, or the network fails."""
        try:
            async with asyncio.timeout(self._patience.total):
                return await self._converse(address, port)
        except TimeoutError:
            return _NOTHING

    async def _converse(self, address: str, port: int) -> Banner:
        """The likeliest question first, then the others, until one is answered."""
        heard = _NOTHING
        for probe, tls in _plan(port):
            data, spoke_tls = await self._ask(address, port, probe, tls=tls)
            if data:
                if probe == "http" and not _is_http2_only(data):
                    return Banner(data, probe, spoke_tls)
                if probe != "http":
                    return Banner(data, probe, spoke_tls)
                heard = Banner(data, "http", spoke_tls)
            elif spoke_tls:
                heard = Banner(b"", "", tls=True)
        return heard

    async def _ask(self, address: str, port: int, probe: str, *, tls: bool) -> tuple[bytes, bool]:
        """One connection: (what came, whether TLS was spoken)."""
        try:
            async with asyncio.timeout(self._patience.answer):
                reader, writer = await asyncio.open_connection(
                    address, port, limit=MAX_BYTES, ssl=self._tls if tls else None, server_hostname="" if tls else None
                )
        except (OSError, ssl.SSLError, TimeoutError):
            return b"", False
        try:
            first_wait = self._patience.answer
            if probe == "greeting":
                first_wait = self._patience.greeting
            elif probe == "http":
                writer.write(_HTTP % _host(address))
            else:
                writer.write({"redis": _REDIS, "http2": _HTTP2}[probe])
            return await self._listen(reader, first_wait), tls
        finally:
            writer.transport.abort()

    async def _listen(self, reader: asyncio.StreamReader, wait: float) -> bytes:
        data = b""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience.answer
        try:
            while len(data) < MAX_BYTES and (left := deadline - loop.time()) > 0:
                async with asyncio.timeout(min(wait, left)):
                    part = await reader.read(MAX_BYTES - len(data))
                if not part:
                    break
                data += part
                wait = self._patience.quiet
        except (TimeoutError, OSError, ssl.SSLError):
            pass  # what came until then is what it says
        return data


def printable(data: bytes) -> str:
    """The bytes as text of printable ASCII alone, everything else escaped, at most `MAX_BANNER` characters."""
    named = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x5C: "\\\\"}
    pieces: list[str] = []
    length = 0
    for byte in data:
        piece = named.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}")
        length += len(piece)
        if length > MAX_BANNER:
            break
        pieces.append(piece)
    return "".join(pieces)


def _plan(port: int) -> list[tuple[str, bool]]:
    """(question, over TLS) pairs in the order of asking."""
    greeting, http, secure = ("greeting", False), ("http", False), ("http", True)
    if port in _TLS_PORTS:
        return [secure, ("greeting", True), greeting, http]
    if port in _REDIS_PORTS:
        return [("redis", False), greeting, secure]
    if port in _HTTP_PORTS:
        return [http, greeting, secure]
    return [greeting, http, ("http2", False), secure, ("redis", False)]


def _host(address: str) -> bytes:
    return f"[{address}]".encode() if ":" in address else address.encode()


def _is_http2_only(data: bytes) -> bool:
    """A server that knows HTTP/2 alone answers an HTTP/1 request with a SETTINGS or a GOAWAY frame."""
    return not data.startswith(b"HTTP/") and len(data) >= 9 and data[3] in {4, 7} and data[5:9] == b"\x00\x00\x00\x00"
