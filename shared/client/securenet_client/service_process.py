"""One service in a process of its own: started, watched, stopped."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from securenet_client.connection import ConnectionSettings
from securenet_core.channels import call_metadata, open_channel
from securenet_core.exceptions import FailedPreconditionError, UnavailableError

#: Services by name, in the order in which they start: detection asks the registry for its model.
MODULES: Final[Mapping[str, str]] = {
    "registry": "securenet_registry",
    "scanner": "securenet_scanner",
    "detection": "securenet_detection",
}

#: Seconds between two looks.
POLL: Final = 0.05
_TAIL_LINES: Final = 15
_TAIL_BYTES: Final = 16 << 10


@dataclass(slots=True)
class ServiceProcess:
    """One service in a process of its own.

    Attributes:
        name: detection, scanner or registry.
        log: file that takes its output.
        address: `host:port`, once it listens.
    """

    name: str
    log: Path
    address: str = ""
    _process: subprocess.Popen[bytes] | None = None
    _address_file: Path = field(default_factory=Path)

    def start(self, environment: Mapping[str, str], run_dir: Path) -> None:
        """Starts it; :meth:`wait_listening` says where it listens."""
        module = MODULES[self.name]
        if importlib.util.find_spec(module) is None:
            raise FailedPreconditionError(
                f"{self.name}: the package {module} is not installed here; install it, or name a running service"
            )
        self._address_file = run_dir / f"{self.name}.address"
        self._address_file.unlink(missing_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module under our own interpreter
                [sys.executable, "-m", "securenet_client._supervised", module],
                env={**environment, f"SECURENET_{self.name.upper()}_ADDRESS_FILE": str(self._address_file)},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Ctrl-C goes to the command alone, which then stops the services in order.
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid if self._process else None

    def wait_listening(self, deadline: float) -> None:
        """Waits until it has said where it listens.

        Raises:
            UnavailableError: it ended, or the time is over.
        """
        while not self._address_file.exists():
            self._check(deadline, "it does not listen")
            time.sleep(POLL)
        self.address = self._address_file.read_text(encoding="utf-8").strip()

    def wait_serving(self, connection: ConnectionSettings, deadline: float) -> None:
        """Waits until its health says SERVING.

        Raises:
            UnavailableError: it ended, or the time is over.
        """
        self.wait_listening(deadline)
        described = connection.channel(self.name)
        with open_channel(described) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while True:
                try:
                    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=5, metadata=call_metadata(described))
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                except grpc.RpcError:
                    pass
                self._check(deadline, "its health does not say SERVING")
                time.sleep(POLL)

    def _check(self, deadline: float, what: str) -> None:
        if self.exit_code is not None:
            raise UnavailableError(f"{self.name} ended with exit code {self.exit_code}:\n{self.tail()}")
        if time.monotonic() > deadline:
            raise UnavailableError(f"{self.name}: {what} in time; its log is {self.log}\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of its log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(self.log.stat().st_size - _TAIL_BYTES, 0))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])

    def ask_to_stop(self) -> None:
        """SIGTERM: it drains."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self, grace: float = 15.0) -> int | None:
        """Asks it to stop, waits, and ends it for good where it does not. Answers its exit code."""
        if self._process is None:
            return None
        self.ask_to_stop()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return self._process.returncode
