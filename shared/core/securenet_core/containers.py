"""The container that every service's container extends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from dependency_injector import containers, providers
from prometheus_client.registry import CollectorRegistry

from securenet_core.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the process hands to its service.

    Attributes:
        draining: set once the server takes no more work; long work should end soon after.
        registry: where the service registers its own Prometheus collectors.
    """

    draining: asyncio.Event = field(default_factory=asyncio.Event)
    registry: CollectorRegistry = field(default_factory=lambda: CollectorRegistry(auto_describe=False))


class ServiceContainer(containers.DeclarativeContainer):
    """Settings and runtime come in; servicer and probes come out.

    A subclass overrides `servicer` and `probes`. Anything that must be closed is a `providers.Resource` over an async
    context manager or generator; resources are closed in reverse after the server has drained.
    """

    settings = providers.Dependency(instance_of=ServerSettings)
    runtime = providers.Dependency(instance_of=Runtime)
    servicer: providers.Provider[object] = providers.AbstractFactory(object)
    probes: providers.Provider[list[object]] = providers.List()
