"""The ledger keeps its promises on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

import securenet_registry
from securenet_core.exceptions import AbortedError
from securenet_core.sqlalchemy_database import Database
from securenet_registry import audit
from securenet_registry.artifacts.manifest import ArtifactFile
from securenet_registry.ledger import LedgerTransaction
from securenet_registry.model import (
    Alias,
    ArtifactFormat,
    EventKind,
    Gate,
    ModelVersion,
    Promotion,
    PromotionState,
    ServingReport,
    UploadRecord,
    VersionState,
)
from securenet_registry.sqlalchemy_ledger import SqlalchemyLedger
from securenet_registry.training.evaluation import Metric
from securenet_registry.training.recipe import TrainingSpec
from securenet_registry.training.training import Training, TrainingProgress, TrainingState

pytestmark = pytest.mark.integration

#: Later than any 32-bit number of nanoseconds.
NOW = 1_800_000_000_123_456_789

T = TypeVar("T")


class Desk:
    """A ledger, and units of work of one tenant."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.ledger = SqlalchemyLedger(database)

    async def do(self, work: Callable[[LedgerTransaction], T], tenant: str = "north") -> T:
        return await self.ledger.run(tenant, work)

    async def add_version(self, number: int = 1, tenant: str = "north", **fields: Any) -> ModelVersion:
        version = ModelVersion(
            tenant=tenant, model="flows", version=number, state=VersionState.READY, format=ArtifactFormat.SKOPS,
            digest=f"{number:064d}", size_bytes=5 << 32, files=(ArtifactFile("model.skops", 5 << 32, "0" * 64),),
            create_ns=NOW + number, created_by="anna", metrics=(Metric("mcc", 0.5, "ü"),), params={"a": "b"},
            tags={"π": "\U0001f4a5"}, runtime={"python": "3.11"}, **fields,
        )  # fmt: skip
        await self.do(lambda tx: tx.add_version(version), tenant)
        return version


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    database = Database(database_url, Path(securenet_registry.__file__).parent / "migrations")
    await database.open()
    desk = Desk(database)
    for tenant in ("north", "south"):
        await desk.do(lambda tx: tx.create_model("flows", "what for", {"k": "v"}, NOW), tenant)
    yield desk
    await database.close()


async def test_models_and_versions(desk: Desk) -> None:
    assert [await desk.do(lambda tx: tx.take_version_number("flows", NOW)) for _ in range(2)] == [1, 2]
    first, second = await desk.add_version(1), await desk.add_version(2)
    await desk.add_version(1, "south")
    assert await desk.do(lambda tx: tx.version("flows", 1)) == first
    assert await desk.do(lambda tx: tx.version_by_digest("flows", second.digest)) == second
    assert [v.version for v in await desk.do(lambda tx: tx.versions("flows", 0, 10))] == [2, 1]
    assert [v.version for v in await desk.do(lambda tx: tx.versions("flows", 2, 10))] == [1]
    assert [v.version for v in await desk.ledger.unmirrored()] == [1, 1, 2]
    await desk.do(lambda tx: tx.set_mirror("flows", 1, "run", 7))
    assert (await desk.do(lambda tx: tx.version("flows", 1))) == replace(first, run_id="run", mirror_version=7)
    assert [m.tenant for m in await desk.ledger.mirrored_models()] == ["north"]
    model = await desk.do(lambda tx: tx.model("flows"))
    assert model is not None
    assert (model.latest_version, model.version_count, model.tags, model.create_ns) == (2, 2, {"k": "v"}, NOW)
    await desk.do(lambda tx: tx.create_model("a", "", {}, NOW))
    assert [m.name for m in await desk.do(lambda tx: tx.models("", 10))] == ["a", "flows"]
    assert [m.name for m in await desk.do(lambda tx: tx.models("a", 10))] == ["flows"]
    await desk.do(lambda tx: tx.delete_version("flows", 1))
    assert await desk.do(lambda tx: tx.delete_model("flows")) == 1
    assert await desk.do(lambda tx: tx.model("flows")) is None
    assert await desk.do(lambda tx: tx.version("flows", 1), "south") is not None


async def test_a_model_is_made_once(desk: Desk) -> None:
    with pytest.raises(AbortedError, match="somebody else"):
        await desk.do(lambda tx: tx.create_model("flows", "", {}, NOW))


async def test_what_fails_leaves_nothing(desk: Desk) -> None:
    def work(tx: LedgerTransaction) -> None:
        tx.add_event("flows", EventKind.MODEL_CREATED, NOW)
        raise LookupError("no")

    with pytest.raises(LookupError):
        await desk.do(work)
    assert await desk.do(lambda tx: list(tx.events("flows", 0, 10))) == []


async def test_aliases_promotions_and_events(desk: Desk) -> None:
    await desk.add_version(1)
    alias = Alias("champion", 1, 3, NOW, "anna", 0)
    await desk.do(lambda tx: tx.set_alias("flows", alias))
    await desk.do(lambda tx: tx.set_alias("flows", replace(alias, generation=4)))
    model = await desk.do(lambda tx: tx.model("flows"))
    assert model is not None
    assert model.aliases == (replace(alias, generation=4),)
    done = Promotion(
        id="p1", model="flows", alias="champion", from_version=0, to_version=1, state=PromotionState.COMMITTED,
        generation=1, gates=(Gate("signature", True, "x", "y"),), requested_by="anna", reason="", rollback=False,
        create_ns=NOW,
    )  # fmt: skip
    asked = [replace(done, id=f"p{i}", state=PromotionState.PENDING, generation=0) for i in (2, 3)]
    for promotion in (done, *asked):
        await desk.do(lambda tx, promotion=promotion: tx.add_promotion(promotion))  # type: ignore[misc]  # bound now
    with pytest.raises(AbortedError):
        await desk.do(lambda tx: tx.add_promotion(replace(done, id="p4")))
    assert await desk.do(lambda tx: tx.promotion("flows", "p1")) == done
    assert await desk.do(lambda tx: tx.promotion("flows", "p1"), "south") is None
    assert [p.id for p in await desk.do(lambda tx: tx.promotions("flows", 0, "", 10, ""))] == ["p3", "p2", "p1"]
    assert [p.id for p in await desk.do(lambda tx: tx.promotions("flows", NOW, "p3", 1, "pending"))] == ["p2"]
    moved = await desk.do(lambda tx: tx.add_event("flows", EventKind.ALIAS_MOVED, NOW, 1, alias))
    (event,) = await desk.do(lambda tx: tx.events("flows", moved - 1, 10))
    assert (event.revision, event.kind, event.alias) == (moved, EventKind.ALIAS_MOVED, alias)
    assert await desk.do(lambda tx: tx.revision()) == moved
    assert await desk.do(lambda tx: tx.events("flows", 0, 10), "south") == []


async def test_requests_uploads_and_reports(desk: Desk) -> None:
    await desk.do(lambda tx: tx.add_request("M", "k", {"a": [1, None]}, NOW))
    assert await desk.do(lambda tx: tx.request("M", "k")) == {"a": [1, None]}
    assert await desk.do(lambda tx: tx.request("M", "k"), "south") is None
    upload = UploadRecord("u", {"size": 1 << 40}, 0, NOW)
    await desk.do(lambda tx: tx.put_upload(upload))
    await desk.do(lambda tx: tx.put_upload(replace(upload, version=2)))
    assert await desk.do(lambda tx: tx.upload("u")) == replace(upload, version=2)
    report = ServingReport("detection-1", "flows", "champion", (1 << 63) - 1, 1, False, "why", NOW)
    await desk.do(lambda tx: tx.put_report(report))
    await desk.do(lambda tx: tx.put_report(replace(report, loaded=True)))
    assert await desk.do(lambda tx: tx.reports("flows", "champion")) == [replace(report, loaded=True)]


async def test_trainings(desk: Desk) -> None:
    training = Training("t", "north", TrainingSpec("flows", ("/x",)), TrainingState.QUEUED, "anna", NOW)
    await desk.do(lambda tx: tx.put_training(training))
    running = replace(training, state=TrainingState.RUNNING, start_ns=NOW, attempts=1)
    await desk.do(lambda tx: tx.put_training(running))
    assert await desk.do(lambda tx: tx.training("t")) == running
    assert await desk.do(lambda tx: tx.training("t"), "south") is None
    assert await desk.ledger.trainings_in([TrainingState.RUNNING]) == [running]
    assert await desk.ledger.trainings_in([TrainingState.QUEUED]) == []
    assert await desk.do(lambda tx: tx.last_progress("t")) is None
    steps = [TrainingProgress("reading", i / 10, i, "x", 0.1, (Metric("mcc", 0.5, ""),)) for i in range(3)]
    for step in steps:
        await desk.do(lambda tx, step=step: tx.add_progress("t", step))  # type: ignore[misc]  # bound now
    assert await desk.do(lambda tx: tx.progress("t", 2, 1)) == [replace(steps[1], seq=2)]
    assert await desk.do(lambda tx: tx.last_progress("t")) == replace(steps[2], seq=3)


async def test_writers_at_once_neither_skip_nor_share_a_number(desk: Desk) -> None:
    def work(tx: LedgerTransaction) -> int:
        number = tx.take_version_number("flows", NOW)
        tx.append_audit("anna", "register", f"models/flows/versions/{number}", {"number": number}, NOW)
        return number

    numbers = await asyncio.gather(*(desk.do(work, tenant) for tenant in ("north", "south") for _ in range(20)))
    assert sorted(numbers) == sorted([*range(1, 21)] * 2)
    for tenant in ("north", "south"):
        verdict = await desk.ledger.read(tenant, lambda tx: audit.verify(tx.tenant, tx.audit_chain()))
        assert (verdict.entries, verdict.first_invalid) == (20, 0)
    below = await desk.do(lambda tx: tx.audit(0, 100, "models/flows"))
    assert [entry.sequence for entry in below] == list(range(20, 0, -1))
    assert await desk.do(lambda tx: tx.audit(5, 2, "models/flow")) == []
