"""The container that every service's container extends."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass, field
from typing import Any

from dependency_injector import providers
from prometheus_client.registry import CollectorRegistry

from securenet_core.optional_packages import hidden
from securenet_core.settings import ServerSettings

# For its @inject, which is not used here, the library loads every web framework that is installed.
with hidden("fastapi", "starlette", "flask", "werkzeug"):
    from dependency_injector import containers


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the process hands to its service.

    Attributes:
        draining: set once the server takes no more work; long work should end soon after.
        registry: where the service registers its own Prometheus collectors.
    """

    draining: asyncio.Event = field(default_factory=asyncio.Event)
    registry: CollectorRegistry = field(default_factory=lambda: CollectorRegistry(auto_describe=False))


class OrderedContainer(containers.DynamicContainer):
    """A container that closes a resource only after everything that reaches it, through whatever stands between.

    dependency-injector looks at direct dependencies alone: with a singleton between a worker and its database both
    would be closed at once, and what the worker still has to write would find no database.
    """

    async def shutdown_resources(
        self, resource_type: type[providers.BaseResource[Any]] = providers.BaseResource
    ) -> None:
        """Closes one resource after another, those that nothing else needs first.

        Raises:
            ExceptionGroup: what failed to close; the others are closed all the same.
        """
        left = [resource for resource in self.traverse(types=[resource_type]) if resource.initialized]
        needs = {id(resource): {id(other) for other in resource.traverse(types=[resource_type])} for resource in left}
        failures: list[Exception] = []
        while left:
            free = next(
                (one for one in left if not any(id(one) in needs[id(other)] for other in left if other is not one)),
                # Resources that need each other: any order is as good.
                left[0],
            )
            left.remove(free)
            try:
                closing = free.shutdown()
                if inspect.isawaitable(closing):
                    await closing
            except Exception as error:  # noqa: BLE001 - the others must be closed whatever this one did
                failures.append(error)
        if failures:
            raise ExceptionGroup("resources that did not close", failures)


class ServiceContainer(containers.DeclarativeContainer):
    """Settings and runtime come in; servicer and probes come out.

    A subclass overrides `servicer` and `probes`. Anything that must be closed is a `providers.Resource` over an async
    context manager or generator; after the server has drained, each is closed after everything that reaches it.
    """

    instance_type = OrderedContainer

    settings = providers.Dependency(instance_of=ServerSettings)
    runtime = providers.Dependency(instance_of=Runtime)
    servicer: providers.Provider[object] = providers.AbstractFactory(object)
    probes: providers.Provider[list[object]] = providers.List()
