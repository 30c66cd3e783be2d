"""Watchers: a snapshot, events in order, signs of life, and going on from a revision."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from securenet_core.principal import Principal
from securenet_registry.changes import Changes
from securenet_registry.ledger import LedgerTransaction
from securenet_registry.model import EventKind, ModelEvent
from securenet_registry.sqlalchemy_ledger import SqlalchemyLedger
from securenet_registry.watching import BACKLOG, Heartbeat, Snapshot, Update, Watching

pytestmark = pytest.mark.unit


async def add(ledger: SqlalchemyLedger, count: int = 1, model: str = "flows") -> None:
    def work(tx: LedgerTransaction) -> None:
        for _ in range(count):
            tx.add_event(model, EventKind.VERSION_REGISTERED, 1, 1)

    await ledger.run("north", work)


def revisions(updates: list[Update]) -> list[int]:
    return [update.revision for update in updates]


async def take(updates: AsyncIterator[Update], count: int) -> list[Update]:
    return [await anext(updates) for _ in range(count)]


async def test_a_snapshot_then_what_happens(ledger: SqlalchemyLedger, changes: Changes, who: Principal) -> None:
    watching = Watching(ledger, changes, 30.0)
    await add(ledger)
    updates = watching.watch(who, "flows", 0)
    assert await anext(updates) == Snapshot(1, None)
    await add(ledger, model="other")
    await add(ledger, 2)
    changes.notify(("north", "flows"))
    assert revisions(await take(updates, 2)) == [3, 4]


async def test_from_a_revision_nothing_is_sent_twice_or_missed(
    ledger: SqlalchemyLedger, changes: Changes, who: Principal
) -> None:
    watching = Watching(ledger, changes, 30.0)
    await add(ledger, 5)
    assert revisions(await take(watching.watch(who, "flows", 2), 3)) == [3, 4, 5]


async def test_a_revision_that_never_was_begins_anew(
    ledger: SqlalchemyLedger, changes: Changes, who: Principal
) -> None:
    await add(ledger, 2)
    first = await anext(Watching(ledger, changes, 30.0).watch(who, "flows", 1 << 63))
    assert isinstance(first, Snapshot)


async def test_far_behind_a_snapshot_is_shorter(ledger: SqlalchemyLedger, changes: Changes, who: Principal) -> None:
    await add(ledger, BACKLOG + 5)
    first = await anext(Watching(ledger, changes, 30.0).watch(who, "flows", 1))
    assert isinstance(first, Snapshot)
    assert first.revision == BACKLOG + 5


async def test_signs_of_life(ledger: SqlalchemyLedger, changes: Changes, who: Principal) -> None:
    updates = Watching(ledger, changes, 0.01).watch(who, "flows", 0)
    _, beat = await take(updates, 2)
    assert isinstance(beat, Heartbeat)


async def test_watchers_of_one_tenant_do_not_hear_of_another(
    ledger: SqlalchemyLedger, changes: Changes, who: Principal
) -> None:
    await add(ledger)
    await ledger.run("south", lambda tx: tx.add_event("flows", EventKind.MODEL_CREATED, 1))
    await add(ledger)
    updates = await take(Watching(ledger, changes, 30.0).watch(who, "flows", 1), 1)
    assert [u.kind for u in updates if isinstance(u, ModelEvent)] == [EventKind.VERSION_REGISTERED]
    assert revisions(updates) == [3]
