"""The connect scan on real sockets of this machine."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from securenet_scanner.network.connecting import Answer, ConnectScan, Pace, PortState, _Probe
from securenet_scanner.network.targets import AddressList, Span, parse_target

pytestmark = pytest.mark.integration


def addresses(*texts: str) -> AddressList:
    spans = [parse_target(text) for text in texts]
    return AddressList([span for span in spans if isinstance(span, Span)])


@contextmanager
def listeners(count: int, family: socket.AddressFamily = socket.AF_INET, host: str = "127.0.0.1") -> Iterator[set[int]]:
    sockets = [socket.socket(family) for _ in range(count)]
    try:
        for item in sockets:
            item.bind((host, 0))
            item.listen(16)
        yield {item.getsockname()[1] for item in sockets}
    finally:
        for item in sockets:
            item.close()


def scan(where: AddressList, ports: list[int], pace: Pace | None = None) -> dict[tuple[str, int], PortState]:
    found: list[Answer] = []
    engine = ConnectScan(where, ports, pace or Pace(), found.append, open_only=False)
    assert engine.run()
    assert engine.done == engine.total == len(found) == engine.low_water
    return {(answer.address, answer.port): answer.state for answer in found}


def test_open_and_closed_ports_are_told_apart() -> None:
    with listeners(8) as opened, listeners(4) as soon_closed:
        ports = sorted(opened | soon_closed)
        assert set(scan(addresses("127.0.0.1"), ports).values()) == {PortState.OPEN}
    with listeners(8) as opened:
        closed = [port for port in soon_closed if port not in opened]
        states = scan(addresses("127.0.0.1"), sorted(opened) + closed)
    assert all(states["127.0.0.1", port] is PortState.OPEN for port in opened)
    assert (
        sum(states["127.0.0.1", port] is PortState.CLOSED for port in closed) >= len(closed) - 1
    )  # others may take one


def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        with listeners(2, socket.AF_INET6, "::1") as opened:
            states = scan(addresses("::1"), sorted(opened))
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    assert set(states.values()) == {PortState.OPEN}


def test_several_addresses_at_once() -> None:
    with listeners(1, host="127.0.0.2") as (port,):
        states = scan(addresses("127.0.0.1-127.0.0.4"), [port])
    assert len(states) == 4
    assert states["127.0.0.2", port] is PortState.OPEN
    assert states["127.0.0.3", port] is PortState.CLOSED


@pytest.mark.slow
def test_every_port_of_loopback_finds_what_listens_and_never_itself() -> None:
    found: list[Answer] = []
    with listeners(20) as opened:
        engine = ConnectScan(addresses("127.0.0.1"), range(1, 65_536), Pace(), found.append)
        assert engine.run()
        ports = {answer.port for answer in found}
        assert opened <= ports
        # What else was found open must accept a connection from somebody else, unless it has closed by now.
        for port in ports - opened:
            with socket.socket() as probe:
                probe.settimeout(5)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    assert probe.getsockname() != probe.getpeername()


def test_a_socket_that_meets_itself_is_not_an_open_port() -> None:
    # Bound to the very port that it connects to, a socket meets itself; the kernel may choose such a port by itself.
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        assert reserved.connect_ex(("127.0.0.1", port)) == 0
        assert reserved.getsockname() == reserved.getpeername()
        found: list[Answer] = []
        engine = ConnectScan(addresses("127.0.0.1"), [port], Pace(), found.append, open_only=False)
        engine._open(_Probe((0, 0), ("127.0.0.1", port), reserved, time.monotonic()))
        assert found[0].state is PortState.CLOSED


def _full_backlog() -> tuple[socket.socket, list[socket.socket]]:
    """A listener whose queue is full, so that further connections get no answer at all."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    clients = []
    for _ in range(4):
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        client.connect_ex(server.getsockname())
        clients.append(client)
    return server, clients


def test_silence_is_filtered_after_time_out_and_retries() -> None:
    server, clients = _full_backlog()
    try:
        port = server.getsockname()[1]
        with listeners(1) as (other,):
            pace = Pace(timeout=0.2, retries=2)
            begun = time.monotonic()
            states = scan(addresses("127.0.0.1"), [other, port], pace)
            assert states == {("127.0.0.1", other): PortState.OPEN, ("127.0.0.1", port): PortState.FILTERED}
            assert time.monotonic() - begun >= 0.6  # three tries: the host answers elsewhere
    finally:
        for item in (server, *clients):
            item.close()


def test_it_stops_when_asked_to() -> None:
    server, clients = _full_backlog()
    try:
        port = server.getsockname()[1]
        engine = ConnectScan(addresses("127.0.0.1"), [port] * 10_000, Pace(timeout=30.0), lambda _: None)
        thread = threading.Thread(target=engine.run)
        thread.start()
        engine.stopped.set()
        thread.join(10)
        assert not thread.is_alive()
        assert engine.low_water == 0
    finally:
        for item in (server, *clients):
            item.close()


def test_the_rate_is_a_limit() -> None:
    begun = time.monotonic()
    with listeners(1) as (port,):
        scan(addresses("127.0.0.1"), [port] * 1 + list(range(1, 60)), Pace(rate=200.0))
    assert time.monotonic() - begun >= 59 / 200 * 0.9


def test_it_goes_on_where_it_was() -> None:
    found: list[Answer] = []
    with listeners(3) as opened:
        ports = sorted(opened)
        engine = ConnectScan(addresses("127.0.0.1"), ports, Pace(), found.append, start_at=2)
        assert engine.run()
    assert [answer.port for answer in found] == ports[2:]
