"""Several processes of one service on one port, and the small parent that keeps them up.

The kernel hands each connection to one of them (SO_REUSEPORT), for as long as it lasts. What a process keeps in memory
is its own; what must be common stands in the service's database, or has one owner to whom the others hand calls on
(:mod:`.peers`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Final

from securenet_core.exceptions import SettingsError
from securenet_core.logs import configure_logging, get_logger
from securenet_core.peers import LONGEST_PATH, Place
from securenet_core.serving import ExitCode, ServiceDefinition, run, write_atomically
from securenet_core.settings import ServerSettings

#: Tells a process that it is one of several, and which.
_WORKER: Final = "SECURENET_WORKER"

#: Seconds before a process that ended is started again, at first and at most, and after which it counts as up.
_SHORTEST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_UP: Final = 60.0

#: Seconds beyond the grace that a process gets to close what it has open.
_CLOSING: Final = 20.0
_POLL: Final = 0.05
_log = get_logger(__name__)


def run_processes(settings: ServerSettings, package: str, count: int) -> int:
    """Runs a service in so many processes until SIGTERM or SIGINT; in this one where that is 1.

    Args:
        settings: of the service.
        package: of the service; `container.DEFINITION` in it says what it is. A parent never loads that: it would take
            the memory of one more process for nothing.
        count: processes.

    Returns:
        An :class:`~securenet_core.serving.ExitCode`; CLEAN where every process drained.
    """
    if os.environ.get(_WORKER):
        threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()
        return run(settings, _definition(package), shared_port=True)
    if count == 1:
        return run(settings, _definition(package))
    configure_logging(settings, package.removeprefix("securenet_"))
    return int(asyncio.run(Supervisor(settings, package, count).run()))


def _definition(package: str) -> ServiceDefinition:
    found: ServiceDefinition = import_module(f"{package}.container").DEFINITION
    return found


class Supervisor:
    """Starts the processes, starts again what ended, and stops them.

    Args:
        settings: of the service; a process differs in its address file and its HTTP port, which is `http_port` + its
            number.
        package: what the processes run.
        count: processes.
    """

    def __init__(self, settings: ServerSettings, package: str, count: int) -> None:
        self._settings = settings
        self._module = package
        self._count = count
        self._stopping = asyncio.Event()
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._codes: list[int] = []

    async def run(self) -> ExitCode:
        """Until asked to stop, or until the settings prove wrong."""
        loop = asyncio.get_running_loop()
        for asked in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(asked, self._stopping.set)
        try:
            with _reserved(self._settings) as port, tempfile.TemporaryDirectory(prefix="securenet-") as folder:
                keeping = []
                _check_length(folder)
                for number in range(self._count):
                    place = Place(number, self._count, Path(folder))
                    keeping.append(asyncio.create_task(self._keep(place, port, Path(folder) / str(number))))
                    if number == 0:
                        # One makes the database, the others find it made.
                        await self._listening([Path(folder) / "0"])
                await self._listening([Path(folder) / str(number) for number in range(self._count)])
                if not self._stopping.is_set():
                    address = (Path(folder) / "0").read_text(encoding="utf-8")
                    _log.info("listening", address=address, processes=self._count)
                    if self._settings.address_file is not None:
                        write_atomically(self._settings.address_file, address)
                await self._stopping.wait()
                await asyncio.gather(*keeping)
        except SettingsError as error:
            _log.error("wrong settings", detail=str(error))
            return ExitCode.WRONG_SETTINGS
        return next((ExitCode(code) for code in self._codes if code in set(ExitCode) and code), ExitCode.CLEAN)

    async def _listening(self, files: list[Path]) -> None:
        while not self._stopping.is_set() and not all(file.exists() for file in files):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _POLL)

    async def _keep(self, place: Place, port: int, address_file: Path) -> None:
        pause, number = _SHORTEST_PAUSE, place.number
        while not self._stopping.is_set():
            begun = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, env=self._environment(place, port, address_file),
                stdin=asyncio.subprocess.PIPE,
            )  # fmt: skip
            self._running[number] = process
            code = await self._ended(process)
            if self._stopping.is_set():
                self._codes.append(code)
                return
            if code == ExitCode.WRONG_SETTINGS:
                self._codes.append(code)
                self._stopping.set()
                return
            pause = _SHORTEST_PAUSE if time.monotonic() - begun > _UP else min(pause * 2, _LONGEST_PAUSE)
            _log.error("a process ended; it is started again", process=number, exit_code=code, seconds=pause)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _ended(self, process: asyncio.subprocess.Process) -> int:
        """Its exit code, once it ended by itself or because it was asked to."""
        waiting, stopping = asyncio.ensure_future(process.wait()), asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not waiting.done():
            process.send_signal(signal.SIGTERM)
            await asyncio.wait((waiting,), timeout=self._settings.grace + _CLOSING)
        if not waiting.done():
            process.kill()
        return await waiting

    def _environment(self, place: Place, port: int, address_file: Path) -> dict[str, str]:
        prefix = str(self._settings.model_config.get("env_prefix", ""))
        own = {f"{prefix}PORT": str(port), f"{prefix}ADDRESS_FILE": str(address_file), _WORKER: str(place.number + 1)}
        if self._settings.http_port:
            own[f"{prefix}HTTP_PORT"] = str(self._settings.http_port + place.number)
        return {**os.environ, **own, **place.environment()}


def _check_length(folder: str) -> None:
    if len(os.fsencode(folder)) > LONGEST_PATH:
        raise SettingsError(f"{folder}: too long a path for sockets; set TMPDIR to a shorter one")


@contextmanager
def _reserved(settings: ServerSettings) -> Iterator[int]:
    """The port, which nobody else gets while the context is open, also while no process listens."""
    host = settings.host.strip("[]")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as first:
            # Without SO_REUSEPORT: another service on the port must be noticed, not joined.
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            first.bind(address)
            port = int(first.getsockname()[1])
        held = socket.socket(family, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((address[0], port))
    except OSError as error:
        raise SettingsError(f"cannot listen on {settings.host}:{settings.port}: {error}") from error
    with held:
        yield port


def _follow_parent() -> None:
    """A process whose parent is gone, however it went, drains and ends."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
