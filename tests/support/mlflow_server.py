"""A real ``mlflow server`` with a backend store and artifacts of its own, on a loopback port that is kept for it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_START_SECONDS = 120.0


class MlflowServer:
    """The server as a process group; started again it listens where it did before.

    Args:
        folder: its database and artifacts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Bound and never listening: it keeps the port from everybody else, also while the server is away, and lets the
        # server listen there, which reuses addresses too.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self._port = int(self._reserved.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None
        self.uri = f"http://127.0.0.1:{self._port}"
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Starts it and waits until it listens.

        Raises:
            AssertionError: it does not; with the end of its log.
        """
        log = self._folder / "log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port),
                    "--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder}/mlflow.sqlite",
                    "--artifacts-destination", str(self._folder / "artifacts"),
                ],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while f"running on {self.uri}" not in log.read_text():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"mlflow server did not start:\n{log.read_text()[-4000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends it at once, as where its machine fails."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def close(self) -> None:
        """Stops it for good; the port is anybody's."""
        self.stop()
        self._reserved.close()
