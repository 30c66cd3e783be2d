"""``grpc.health.v1`` fed by real readiness probes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from securenet_core.logs import get_logger

_INTERVAL_SECONDS: Final = 1.0
_TIMEOUT_SECONDS: Final = 5.0
_log = get_logger(__name__)

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a probe found.

    Attributes:
        ready: the part can do its work.
        detail: what it is doing, or what is missing.
    """

    ready: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """A part of the service that may or may not be ready.

    Attributes:
        name: of the part; a caller may ask grpc.health.v1 for it.
        check: looks; an exception counts as not ready.
        required: the service cannot serve without it. Otherwise it is only shown.
    """

    name: str
    check: Callable[[], Awaitable[Readiness]]
    required: bool = True


class HealthMonitor:
    """Runs the probes and keeps the health service up to date.

    A service is SERVING when it was started, every required probe is ready and no drain has begun.

    Args:
        services: full names of the gRPC services; the empty name is always there too.
    """

    def __init__(self, services: Sequence[str]) -> None:
        self.servicer = HealthServicer()
        self.state = "starting"
        self.readiness: dict[str, Readiness] = {}
        self._names = ("", *services)
        self._probes: Sequence[Probe] = ()
        self._statuses: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def serving(self) -> bool:
        """Whether the service as a whole is SERVING."""
        return bool(self._statuses.get("") == SERVING)

    async def begin(self) -> None:
        """Says NOT_SERVING for every service, so that a caller that comes early learns so."""
        for name in self._names:
            await self._set(name, NOT_SERVING)

    async def watch(self, probes: Sequence[Probe]) -> None:
        """Runs the probes now, and every second from now on."""
        self._probes = probes
        self.state = "serving"
        await self.refresh()
        self._task = asyncio.create_task(self._run(), name="health")

    async def refresh(self) -> None:
        """Runs every probe once and publishes what came of it."""
        results = await asyncio.gather(*(self._check(probe) for probe in self._probes))
        if self.state != "serving":
            return
        for probe, readiness in zip(self._probes, results, strict=True):
            before = self.readiness.get(probe.name)
            self.readiness[probe.name] = readiness
            if before is None or before != readiness:
                _log.info("readiness", probe=probe.name, ready=readiness.ready, detail=readiness.detail)
            await self._set(probe.name, SERVING if readiness.ready else NOT_SERVING)
        ready = all(r.ready for p, r in zip(self._probes, results, strict=True) if p.required)
        for name in self._names:
            await self._set(name, SERVING if ready else NOT_SERVING)

    async def drain(self) -> None:
        """Says NOT_SERVING for everything, for good."""
        self.state = "draining"
        if self._task is not None:
            self._task.cancel()
        self._statuses = dict.fromkeys(self._statuses, NOT_SERVING)
        await self.servicer.enter_graceful_shutdown()

    def report(self) -> dict[str, object]:
        """State, probes and their details, for `/health`."""
        return {
            "state": self.state,
            "serving": self.serving,
            "probes": {name: {"ready": r.ready, "detail": r.detail} for name, r in list(self.readiness.items())},
        }

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            await self.refresh()

    async def _check(self, probe: Probe) -> Readiness:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await probe.check()
        except TimeoutError:
            return Readiness(ready=False, detail=f"no answer within {_TIMEOUT_SECONDS:.0f} s")
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the part, the probe's answer is: not ready
            return Readiness(ready=False, detail=f"{type(error).__name__}: {error}")

    async def _set(self, name: str, status: int) -> None:
        if self._statuses.get(name) != status:
            self._statuses[name] = status
            await self.servicer.set(name, status)
