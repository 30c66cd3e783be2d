"""A TCP connect scan on non-blocking sockets: many in flight, as many as the network bears.

Runs in a thread of its own on epoll: asyncio's cost for each connection would be three to five times as much. It stops
within a tenth of a second when asked to.

The window is the number of connections in flight. It grows by one with each answer, a refusal being as good as an
acceptance, and shrinks by three tenths, at most once a time-out, where hosts that answer elsewhere stay silent (lost
packets), and by half where the operating system has no more sockets.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from securenet_scanner.network.targets import AddressList


class PortState(Enum):
    """What a probe learned of a port."""

    OPEN = "open"
    CLOSED = "closed"
    FILTERED = "filtered"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one probe learned. `round_trip` in seconds, 0 where nothing came back."""

    address: str
    port: int
    state: PortState
    round_trip: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, and how patiently."""

    timeout: float = 1.0
    """Seconds to wait for one answer."""
    retries: int = 1
    """Further tries for a silent port of a host that answers elsewhere."""
    rate: float = 0.0
    """New connections a second at most; 0 is no limit."""
    first_window: int = 256
    least_window: int = 64
    greatest_window: int = 512


_POLL = 0.1
_MARK_EVERY = 0.25
_NO_SOCKETS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAGAIN})
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_STARVED = 50
"""Times in a row that the system may have no socket for us while none is in flight; then it will never have one."""


class _Probe:
    __slots__ = ("address", "attempt", "crossed", "index", "port", "sock", "started")

    def __init__(self, number: tuple[int, int], peer: tuple[str, int], sock: socket.SocketType, started: float) -> None:
        self.index, self.attempt = number
        self.address, self.port = peer
        self.sock = sock
        self.started = started
        self.crossed = False


class ConnectScan:
    """Probes every port of every address, ports in the outer loop so that no host gets all at once.

    Probe `i` is port `i // len(addresses)` of address `i % len(addresses)`: the order is fixed, so that a scan can go
    on at `low_water` after a restart.
    """

    def __init__(
        self,
        addresses: AddressList,
        ports: Sequence[int],
        pace: Pace,
        on_answer: Callable[[Answer], None],
        *,
        open_only: bool = True,
        start_at: int = 0,
    ) -> None:
        self._addresses = addresses
        self._ports = ports
        self._pace = pace
        self._on_answer = on_answer
        self._open_only = open_only
        self.total = len(addresses) * len(ports)
        self._next = min(start_at, self.total)
        self.done = self._low_water = self._next
        self._marked = 0.0
        self.stopped = threading.Event()
        self._texts: dict[int, str] = {}
        self._answering: set[str] = set()
        self._flight: dict[int, _Probe] = {}
        self._oldest: deque[tuple[float, int, _Probe]] = deque()
        self._again: deque[tuple[int, int]] = deque()
        self._window = float(min(pace.first_window, pace.greatest_window))
        self._shrunk = 0.0
        self._starved = 0
        self._tokens = 1.0
        self._refilled = 0.0
        self._poll = select.epoll()

    @property
    def hosts_up(self) -> int:
        """Hosts that answered at all."""
        return len(self._answering)

    @property
    def window(self) -> int:
        """Connections that may be in flight now."""
        return int(self._window)

    @property
    def low_water(self) -> int:
        """Every probe below this index is done and told; a scan may go on from here. At most a quarter second old."""
        return self._low_water

    def _mark(self, now: float) -> None:
        if now - self._marked >= _MARK_EVERY:
            waiting = [probe.index for probe in self._flight.values()] + [index for index, _ in self._again]
            self._low_water = min(waiting, default=self._next)
            self._marked = now

    def run(self) -> bool:
        """Probe until all is done or `stopped` is set; True where all is done. Blocks: call it in a thread."""
        self._refilled = time.monotonic()
        try:
            while not self.stopped.is_set():
                pause = self._launch()
                if not self._flight and not self._again and self._next >= self.total:
                    self._low_water = self.total
                    return True
                self._collect(pause)
                now = time.monotonic()
                self._expire(now)
                self._mark(now)
            return False
        finally:
            for probe in self._flight.values():
                probe.sock.close()
            self._flight.clear()
            self._poll.close()

    def _launch(self) -> float:
        """Fill the window; answers how long to wait for events, in seconds."""
        for _ in range(1024):  # then look at what came, and whether to stop
            if len(self._flight) >= self._window or not (self._again or self._next < self.total):
                return _POLL
            if self._pace.rate > 0 and (pause := self._wait_for_token()) > 0:
                return min(pause, _POLL)
            if self._again:
                index, attempt = self._again.popleft()
            else:
                index, attempt = self._next, 0
                self._next += 1
            if not self._connect(index, attempt):
                return 0.01
        return 0.0

    def _wait_for_token(self) -> float:
        now = time.monotonic()
        rate = self._pace.rate
        self._tokens = min(max(1.0, rate * 0.02), self._tokens + (now - self._refilled) * rate)
        self._refilled = now
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / rate
        self._tokens -= 1.0
        return 0.0

    def _connect(self, index: int, attempt: int) -> bool:
        """Begin one connection; False where the system has no socket now and it must be tried again."""
        place, position = divmod(index, len(self._addresses))
        port = self._ports[place]
        text = self._texts.get(position)
        if text is None:
            text = str(self._addresses[position])
            if len(self._texts) < 65_536:
                self._texts[position] = text
        started = time.monotonic()
        try:
            family = socket.AF_INET6 if ":" in text else socket.AF_INET
            # The C type itself: the Python class around it costs as much as a system call.
            sock = socket.SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            return self._refused_by_system(index, attempt, text, port, error.errno or 0)
        code = sock.connect_ex((text, port))
        if code == errno.EINPROGRESS and text.startswith("127."):
            # On loopback the refusal is there before the call returns; asking at once spares the detour over epoll.
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or code
        if code == errno.EINPROGRESS:
            probe = _Probe((index, attempt), (text, port), sock, started)
            number = sock.fileno()
            self._flight[number] = probe
            self._oldest.append((started + self._pace.timeout, number, probe))
            self._poll.register(number, select.EPOLLOUT)
            return True
        if code == 0:
            self._open(_Probe((index, attempt), (text, port), sock, started))
            return True
        sock.close()
        if code == errno.ECONNREFUSED:
            self._answered(text, port, PortState.CLOSED, time.monotonic() - started)
            return True
        return self._refused_by_system(index, attempt, text, port, code)

    def _refused_by_system(self, index: int, attempt: int, address: str, port: int, code: int) -> bool:
        if code in _NO_SOCKETS:
            self._starved = 0 if self._flight else self._starved + 1
            if self._starved < _STARVED:
                self._again.appendleft((index, attempt))
                self._window = max(1.0, self._window / 2)
                return False
        self._silent(address, port)
        return True

    def _collect(self, pause: float) -> None:
        for number, _ in self._poll.poll(pause, 512):
            probe = self._flight.pop(number, None)
            if probe is None:
                continue
            code = probe.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code == 0:
                self._open(probe)
                continue
            probe.sock.close()  # which takes it off epoll as well
            if code in {errno.ECONNREFUSED, errno.ECONNRESET}:
                self._answered(probe.address, probe.port, PortState.CLOSED, time.monotonic() - probe.started)
            else:
                self._silent(probe.address, probe.port)

    def _open(self, probe: _Probe) -> None:
        round_trip = time.monotonic() - probe.started
        own = self._reached_itself(probe)
        # A reset leaves no TIME_WAIT behind: a full port range would otherwise use up this machine's own ports.
        probe.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        probe.sock.close()
        self._answered(probe.address, probe.port, PortState.CLOSED if own else PortState.OPEN, round_trip)

    def _reached_itself(self, probe: _Probe) -> bool:
        """Whether this connection ends in our own sockets: in itself, or crosswise in another that is in flight.

        On this machine's own addresses a socket may get as source the very port that it connects to, or two may get
        each other's; TCP's simultaneous open then joins them although nobody listens.
        """
        try:
            here, there = probe.sock.getsockname()[:2], probe.sock.getpeername()[:2]
        except OSError:  # gone again already; it did accept
            return probe.crossed
        if here == there or probe.crossed:
            return True
        if here[0] == there[0]:
            for other in self._flight.values():
                if other.port == here[1] and other.sock.getsockname()[1] == there[1]:
                    other.crossed = True
                    return True
        return False

    def _answered(self, address: str, port: int, state: PortState, round_trip: float) -> None:
        self.done += 1
        self._starved = 0
        self._answering.add(address)
        self._window = min(float(self._pace.greatest_window), self._window + 1.0)
        if state is PortState.OPEN or not self._open_only:
            self._on_answer(Answer(address, port, state, round_trip))

    def _silent(self, address: str, port: int) -> None:
        self.done += 1
        if not self._open_only:
            self._on_answer(Answer(address, port, PortState.FILTERED, 0.0))

    def _expire(self, now: float) -> None:
        while self._oldest and (
            self._oldest[0][0] <= now or self._flight.get(self._oldest[0][1]) is not self._oldest[0][2]
        ):
            _, number, probe = self._oldest.popleft()
            if self._flight.get(number) is not probe:
                continue
            del self._flight[number]
            probe.sock.close()
            if probe.address in self._answering:
                if now - self._shrunk > self._pace.timeout:
                    self._window = max(float(self._pace.least_window), self._window * 0.7)
                    self._shrunk = now
                if probe.attempt < self._pace.retries:
                    self._again.append((probe.index, probe.attempt + 1))
                    continue
            self._silent(probe.address, probe.port)
