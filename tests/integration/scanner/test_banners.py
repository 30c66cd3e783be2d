"""Banners of real servers, kind and hostile."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from securenet_scanner.network.banners import MAX_BYTES, Banner, BannerReader, Patience
from securenet_scanner.network.services import identify

pytestmark = pytest.mark.integration

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PATIENT = Patience(greeting=0.3, answer=2.0, quiet=0.2, total=10.0)


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read(port: int, patience: Patience = PATIENT) -> Banner:
    return await BannerReader(patience).read("127.0.0.1", port)


async def test_a_server_that_speaks_first() -> None:
    async def ssh(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        await asyncio.sleep(60)

    async with serving(ssh) as port:
        banner = await read(port)
    assert (banner.data, banner.probe, banner.tls) == (b"SSH-2.0-OpenSSH_9.2p1\r\n", "greeting", False)


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    assert request.startswith(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def test_a_web_server() -> None:
    async with serving(http) as port:
        banner = await read(port)
    assert (banner.probe, identify(banner).product) == ("http", "nginx")


async def test_a_web_server_behind_tls(tmp_path: Path) -> None:
    context = _server_context(tmp_path)
    async with serving(http, context) as port:
        banner = await read(port)
    assert banner.tls
    assert identify(banner).product == "nginx"


async def test_redis() -> None:
    async def redis(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline() == b"PING\r\n":
            writer.write(b"+PONG\r\n")
            await writer.drain()

    async with serving(redis) as port:
        banner = await read(port)
    assert identify(banner).name == "redis"


async def test_a_grpc_server() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        banner = await read(port)
    finally:
        await server.stop(0)
    assert identify(banner).name == "grpc"


async def test_a_server_that_never_answers() -> None:
    async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with serving(silent) as port:
        banner = await read(port, Patience(greeting=0.05, answer=0.1, quiet=0.05, total=2.0))
    assert (banner.data, banner.tls) == (b"", False)


async def test_a_server_that_never_stops() -> None:
    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with serving(endless) as port:
        banner = await read(port)
    assert banner.data == b"x" * MAX_BYTES


async def test_a_tarpit_that_dribbles() -> None:
    async def dribble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"y")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(dribble) as port:
        async with asyncio.timeout(30):
            banner = await read(port, Patience(greeting=0.2, answer=0.3, quiet=0.2, total=1.0))
    assert set(banner.data) == {ord("y")}
    assert len(banner.data) < MAX_BYTES


async def test_a_server_that_hangs_up() -> None:
    async def rude(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        return

    async with serving(rude) as port:
        assert (await read(port)).data == b""


async def test_nobody_listens() -> None:
    async with serving(http) as port:
        pass
    assert (await read(port)).data == b""


def _server_context(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "expired.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=20))
        .not_valid_after(now - timedelta(days=10))  # what is wrong with a certificate must not hide the service
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
