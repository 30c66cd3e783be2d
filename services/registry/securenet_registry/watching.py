"""Watches a model: a snapshot, then events in their order, with signs of life between."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from securenet_core.principal import Principal
from securenet_registry.changes import Changes, woken
from securenet_registry.ledger import Ledger, LedgerTransaction
from securenet_registry.model import Model, ModelEvent

#: Events that a watcher is caught up with one by one; further behind, it gets a snapshot.
BACKLOG: Final = 1000

#: Seconds between two looks for changes that another process of the registry made.
_POLL: Final = 1.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model as it is at a revision; None where there is none of that name."""

    revision: int
    model: Model | None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life: nothing is missing up to that revision."""

    revision: int
    time_ns: int


Update = Snapshot | ModelEvent | Heartbeat


class Watching:
    """Use-case of watchers.

    A watcher reads the ledger when it is woken and only then, so a slow one holds nothing back and costs no memory: it
    reads on where it was, or gets a snapshot where that is shorter.

    Args:
        heartbeat: seconds of silence after which there is a sign of life.
    """

    def __init__(self, ledger: Ledger, changes: Changes, heartbeat: float) -> None:
        self._ledger = ledger
        self._changes = changes
        self._heartbeat = heartbeat

    async def watch(self, who: Principal, name: str, since_revision: int) -> AsyncIterator[Update]:
        """Updates of a model from a revision on; from 0, or from one that never was, a snapshot comes first."""
        at = 0
        silent_since = time.monotonic()
        with self._changes.subscribe((who.tenant, name)) as changed:
            first = await self._ledger.read(who.tenant, partial(_snapshot, name=name))
            if 0 < since_revision <= first.revision:
                at = since_revision
            else:
                at = first.revision
                yield first
            while True:
                events = await self._ledger.read(who.tenant, partial(_events, name=name, after=at))
                if len(events) > BACKLOG:
                    snapshot = await self._ledger.read(who.tenant, partial(_snapshot, name=name))
                    at = snapshot.revision
                    yield snapshot
                    continue
                for event in events:
                    at = event.revision
                    yield event
                if events:
                    silent_since = time.monotonic()
                    continue
                if time.monotonic() - silent_since >= self._heartbeat:
                    silent_since = time.monotonic()
                    yield Heartbeat(at, time.time_ns())
                await woken(changed, min(_POLL, self._heartbeat))


def _snapshot(tx: LedgerTransaction, name: str) -> Snapshot:
    return Snapshot(tx.revision(), tx.model(name))


def _events(tx: LedgerTransaction, name: str, after: int) -> list[ModelEvent]:
    return list(tx.events(name, after, BACKLOG + 1))
