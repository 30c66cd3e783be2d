"""The order in which a container closes its resources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from dependency_injector import containers, providers

from securenet_core.containers import ServiceContainer

pytestmark = pytest.mark.unit


class Store:
    def __init__(self, database: Any) -> None:
        self.database = database


class Log:
    def __init__(self) -> None:
        self.closed: list[str] = []


async def _open_database(log: Log) -> AsyncIterator[list[str]]:
    written = ["open"]
    yield written
    written.append("closed")
    log.closed.append("database")


async def _open_worker(log: Log, store: Store) -> AsyncIterator[Store]:
    yield store
    # What it does last takes several turns of the loop and needs the database to the end.
    for _ in range(5):
        await asyncio.sleep(0)
        assert store.database == ["open"]
    log.closed.append("worker")


async def _open_watcher(log: Log, through: Any) -> AsyncIterator[Any]:
    yield through
    log.closed.append("watcher")


class Chain(ServiceContainer):
    """A database, a worker that reaches it through a singleton, and a watcher that reaches the worker through more."""

    log = providers.Singleton(Log)
    database = providers.Resource(_open_database, log)
    store = providers.Singleton(Store, database)
    worker = providers.Resource(_open_worker, log, store)
    watcher = providers.Resource(_open_watcher, log, providers.Callable(partial, print, worker))


async def _opened(kind: type[containers.DeclarativeContainer]) -> Any:
    container: Any = kind()
    await container.init_resources()
    return container


async def test_a_resource_is_closed_after_everything_that_reaches_it() -> None:
    container = await _opened(Chain)
    await container.shutdown_resources()
    assert container.log().closed == ["watcher", "worker", "database"]
    assert not container.database.initialized


async def test_what_was_never_opened_is_not_closed() -> None:
    container: Any = Chain()
    await container.database.init()
    await container.shutdown_resources()
    assert container.log().closed == ["database"]


async def _break(_store: Store) -> AsyncIterator[None]:
    yield
    raise OSError("the disk is full")


async def test_one_that_fails_does_not_keep_the_others_open() -> None:
    class Broken(Chain):
        broken = providers.Resource(_break, Chain.store)

    container = await _opened(Broken)
    with pytest.raises(ExceptionGroup) as caught:
        await container.shutdown_resources()
    assert [str(error) for error in caught.value.exceptions] == ["the disk is full"]
    assert container.log().closed == ["watcher", "worker", "database"]
