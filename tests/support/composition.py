"""The composition of docker-compose.yml as tests run it: a name of its own, free ports, removed whatever happens."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from securenet_core.channels import ChannelSettings

REPOSITORY = Path(__file__).resolve().parents[2]
PORTS = {"detection": 50051, "scanner": 50052, "registry": 50053}
#: Seconds. Images are built from nothing on a slow machine; then a cold start with an empty database.
BUILD_TIMEOUT = 1800
HEALTH_TIMEOUT = 420


@dataclass(frozen=True, slots=True)
class Composition:
    """A composition that runs under a name of its own, on ports that the engine chose.

    Attributes:
        compose: the command, `docker compose` or `docker-compose`.
        environment: of every command.
        folder: what the registry and the scanner see as /data.
        certificates: the operator's, and the CA's.
    """

    compose: tuple[str, ...]
    environment: dict[str, str]
    folder: Path
    certificates: Path

    def run(self, *arguments: str, timeout: float = 120) -> str:
        """Output of a compose command."""
        return _run([*self.compose, *arguments], self.environment, timeout)

    def container(self, service: str) -> str:
        """Id of the container of a service."""
        return self.run("ps", "-q", service).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        found: list[dict[str, Any]] = json.loads(_run(["docker", "inspect", self.container(service)], self.environment))
        return found[0]

    def execute(self, service: str, *command: str) -> str:
        """Output of a command inside a service's container."""
        return _run(["docker", "exec", self.container(service), *command], self.environment)

    def await_health(self, *services: str) -> None:
        """Returns when each service is healthy.

        Raises:
            AssertionError: one ended, or took too long; with the end of its log.
        """
        deadline = time.monotonic() + HEALTH_TIMEOUT
        for service in services:
            while (state := self.inspect(service)["State"])["Health"]["Status"] != "healthy":
                if time.monotonic() > deadline or state["Status"] == "exited":
                    logs = self.run("logs", "--tail=60", service)
                    raise AssertionError(f"{service} is {state['Status']}, {state['Health']['Status']}\n{logs}")
                time.sleep(1)

    def channel(self, service: str) -> ChannelSettings:
        """How the operator reaches a service from this machine."""
        port = self.run("port", service, str(PORTS[service])).strip().rpartition(":")[2]
        return ChannelSettings(
            address=f"localhost:{port}",
            ca=self.certificates / "ca.pem",
            certificate=self.certificates / "client.pem",
            key=self.certificates / "client-key.pem",
        )


def _run(command: Sequence[str], environment: dict[str, str], timeout: float = 120) -> str:
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, check=False, capture_output=True, text=True, timeout=timeout
    )
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{end}")
    return done.stdout


@contextmanager
def running_composition(compose: str, folder: Path, certificates: Path) -> Iterator[Composition]:
    """Builds and starts everything, waits until it is healthy, and removes it in the end.

    Args:
        compose: the command, `docker compose` or `docker-compose`.
        folder: what the registry and the scanner get to see as /data; other users must be able to read it.
        certificates: folder that gets the operator's certificate.

    Raises:
        AssertionError: it does not build or does not become healthy; the end of the log says why.
    """
    environment = {
        **os.environ,
        "COMPOSE_PROJECT_NAME": f"securenet-e2e-{secrets.token_hex(4)}",
        "SHARED_FOLDER": str(folder),
        "IMAGE_TAG": os.environ.get("IMAGE_TAG", "e2e"),
        # 0: the engine takes a free port of this machine.
        **{f"{name.upper()}_PORT": "0" for name in (*PORTS, "mlflow")},
    }
    composition = Composition(tuple(compose.split()), environment, folder, certificates)
    try:
        composition.run("build", timeout=BUILD_TIMEOUT)
        try:
            composition.run("up", "--detach", timeout=HEALTH_TIMEOUT)
        except AssertionError as error:
            # Compose names the container that is to blame, but not what it said.
            raise AssertionError(f"{error}\n{composition.run('logs', '--tail=40')}") from None
        composition.await_health("postgres", "mlflow", *PORTS)
        prepared = composition.run("ps", "-a", "-q", "certificates").strip()
        _run(["docker", "cp", f"{prepared}:/issued/operator/.", str(certificates)], environment)
        yield composition
    finally:
        composition.run("down", "--volumes", "--remove-orphans", "--timeout", "5", timeout=300)
