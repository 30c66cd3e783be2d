"""Real services as processes of their own, for tests that need the whole thing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from securenet_core.channels import ChannelSettings, open_channel

_START_SECONDS = 120.0


@dataclass
class ServiceProcess:
    """A service that runs.

    Attributes:
        name: detection, scanner or registry.
        process: its process.
        address: `host:port` that it listens on.
        data_dir: its data.
        log: file of its standard error.
    """

    name: str
    process: subprocess.Popen[bytes]
    address: str
    data_dir: Path
    log: Path

    def health(self, service: str = "") -> int:
        """Its status by grpc.health.v1."""
        with open_channel(ChannelSettings(self.address)) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status)

    def stop(self, timeout: float = 60) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(30)


def launch(name: str, folder: Path, **environment: str) -> ServiceProcess:
    """Starts a service on a free loopback port and waits until it is SERVING.

    Args:
        name: detection, scanner or registry.
        folder: its data go below it; start again with the same folder to restart it.
        environment: settings without their prefix, in lower case; `MLFLOW_…` and the like as they are.
    """
    address_file = folder / f"{name}.address"
    address_file.unlink(missing_ok=True)
    prefix = f"SECURENET_{name.upper()}_"
    settings = {"port": "0", "data_dir": str(folder / name), "address_file": str(address_file), "log_format": "json"}
    settings |= {key: value for key, value in environment.items() if key.islower()}
    env = {key: value for key, value in os.environ.items() if not key.startswith("SECURENET_")}
    env |= {prefix + key.upper(): value for key, value in settings.items()}
    env |= {key: value for key, value in environment.items() if not key.islower()}
    log = folder / f"{name}.log"
    folder.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stderr:
        process = subprocess.Popen([sys.executable, "-m", f"securenet_{name}"], env=env, stdout=stderr, stderr=stderr)
    deadline = time.monotonic() + _START_SECONDS
    service: ServiceProcess | None = None
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if service is None and address_file.exists():
            service = ServiceProcess(name, process, address_file.read_text(), folder / name, log)
        if service is not None and _serving(service):
            return service
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"{name} did not start (exit code {process.poll()}):\n{log.read_text()[-4000:]}")


@contextmanager
def running(name: str, folder: Path, **environment: str) -> Iterator[ServiceProcess]:
    """As :func:`launch`, and ends it after."""
    service = launch(name, folder, **environment)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.terminate()
            try:
                service.process.wait(30)
            except subprocess.TimeoutExpired:
                service.kill()


def _serving(service: ServiceProcess) -> bool:
    try:
        return bool(service.health() == health_pb2.HealthCheckResponse.SERVING)
    except grpc.RpcError:
        return False
