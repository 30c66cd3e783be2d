"""The queue of trainings, with a worker that says what the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from securenet_core.exceptions import InvalidArgumentError, NotFoundError, UnavailableError
from securenet_core.principal import Principal
from securenet_registry.artifacts.disk_store import DiskStore
from securenet_registry.artifacts.signing import Signer
from securenet_registry.changes import Changes
from securenet_registry.mirror import Mirror
from securenet_registry.registration import Registrar
from securenet_registry.sqlalchemy_ledger import SqlalchemyLedger
from securenet_registry.training.dataset import Limits
from securenet_registry.training.recipe import TrainingSpec
from securenet_registry.training.training import Training, TrainingState
from securenet_registry.training.trainings import ATTEMPTS, Step, Trainings

pytestmark = pytest.mark.unit

SPEC = TrainingSpec("flows", ("/nowhere",))
RESULT: Mapping[str, Any] = {
    "kind": "result", "serving": None, "calibration": None, "golden": None, "thresholds": [], "sample_count": 3,
    "metrics": [["mcc", 0.5, ""]], "runtime": {}, "feature_schema_hash": "", "feature_names": [], "lineage": {},
}  # fmt: skip
PROGRESS: Mapping[str, Any] = {
    "kind": "progress", "phase": "reading", "fraction": 0.1, "rows_read": 5, "message": "reading",
    "elapsed_seconds": 0.1, "metrics": [],
}  # fmt: skip


class FakeWorker:
    """Says its lines; then waits for ever if it is to hang."""

    def __init__(self) -> None:
        self.says: list[Mapping[str, Any]] = [PROGRESS, RESULT]
        self.hangs = False
        self.runs = 0
        self.ended = 0

    async def run(self, folder: Path) -> AsyncGenerator[Mapping[str, Any], None]:
        self.runs += 1
        try:
            (folder / "model.skops").write_bytes(b"model")
            for line in self.says:
                yield line
            if self.hangs:
                await asyncio.Event().wait()
        finally:
            self.ended += 1


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
async def make(  # noqa: PLR0917 - fixtures
    ledger: SqlalchemyLedger, artifacts: DiskStore, signer: Signer, registrar: Registrar, tracking: Any,
    changes: Changes, worker: FakeWorker, tmp_path: Path,
) -> AsyncIterator[Callable[[], Trainings]]:  # fmt: skip
    mirror = Mirror(ledger, artifacts, signer, tracking, changes=changes, seconds=60)
    draining = asyncio.Event()

    def build() -> Trainings:
        return Trainings(
            ledger=ledger, registrar=registrar, worker=worker, mirror=mirror, changes=changes,
            folder=tmp_path / "trainings", limits=Limits(), draining=draining,
        )  # fmt: skip

    yield build
    await mirror.stop()


async def all_steps(trainings: Trainings, who: Principal, training: Training, start: int = 1) -> list[Step]:
    async with asyncio.timeout(30):
        return [step async for step in trainings.watch(who, training.id, start)]


async def test_a_training_from_queue_to_version(make: Callable[[], Trainings], who: Principal) -> None:
    trainings = make()
    await trainings.start()
    training = await trainings.submit(who, SPEC, "k")
    steps = await all_steps(trainings, who, training)
    assert [step.progress.phase for step in steps] == ["queued", "reading", "reading", "registering", "done"]
    told = [step.training.state for step in steps if step.training]
    assert told == [TrainingState.QUEUED, TrainingState.RUNNING, TrainingState.SUCCEEDED]
    last = steps[-1]
    assert last.version is not None
    assert (last.version.version, last.version.run_id) == (1, "run-1")
    assert (await trainings.submit(who, SPEC, "k")).id == training.id
    with pytest.raises(InvalidArgumentError):
        await trainings.submit(who, replace(SPEC, seed=9), "k")
    assert [step.progress.seq for step in await all_steps(trainings, who, training, 4)] == [4, 5]
    with pytest.raises(NotFoundError):
        await trainings.training(replace(who, tenant="south"), training.id)
    await trainings.stop()


async def test_a_version_is_made_although_tracking_is_away(
    make: Callable[[], Trainings], who: Principal, tracking: Any
) -> None:
    tracking.away = True
    trainings = make()
    await trainings.start()
    steps = await all_steps(trainings, who, await trainings.submit(who, SPEC, ""))
    assert steps[-1].training is not None
    assert steps[-1].training.state is TrainingState.SUCCEEDED
    await trainings.stop()


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ([{"kind": "error", "message": "bad.log: no labels", "expected": True}], "bad.log: no labels"),
        ([{"kind": "result"}], "KeyError while training"),
    ],
)
async def test_a_failure_is_told_and_the_queue_goes_on(
    make: Callable[[], Trainings], worker: FakeWorker, who: Principal, says: list[Any], error: str
) -> None:
    worker.says = says
    trainings = make()
    await trainings.start()
    last = (await all_steps(trainings, who, await trainings.submit(who, SPEC, "")))[-1]
    assert last.training is not None
    assert (last.training.state, last.training.error) == (TrainingState.FAILED, error)
    worker.says = [RESULT]
    last = (await all_steps(trainings, who, await trainings.submit(who, SPEC, "")))[-1]
    assert last.version is not None
    await trainings.stop()


async def until_running(trainings: Trainings, who: Principal, training: Training) -> None:
    async for step in trainings.watch(who, training.id, 1):
        if step.progress.rows_read:
            return


async def test_cancelling_what_runs_and_what_waits(
    make: Callable[[], Trainings], worker: FakeWorker, who: Principal
) -> None:
    worker.says, worker.hangs = [PROGRESS], True
    trainings = make()
    await trainings.start()
    first, second = [await trainings.submit(who, SPEC, "") for _ in range(2)]
    await until_running(trainings, who, first)
    assert (await trainings.cancel(who, second.id)).state is TrainingState.CANCELLED
    assert (await trainings.cancel(who, first.id)).state is TrainingState.CANCELLED
    assert (worker.runs, worker.ended) == (1, 1)
    last = (await all_steps(trainings, who, first))[-1]
    assert last.progress.phase == "cancelled"
    await trainings.stop()


async def test_what_a_stop_interrupts_goes_on_after_the_next_start(
    make: Callable[[], Trainings], worker: FakeWorker, who: Principal
) -> None:
    worker.says, worker.hangs = [PROGRESS], True
    trainings = make()
    await trainings.start()
    training = await trainings.submit(who, SPEC, "")
    await until_running(trainings, who, training)
    await trainings.stop()
    assert worker.ended == 1
    again = await trainings.training(who, training.id)
    assert (again.state, again.attempts) == (TrainingState.QUEUED, 0)
    worker.says, worker.hangs = [RESULT], False
    trainings = make()
    await trainings.start()
    assert (await all_steps(trainings, who, training))[-1].version is not None
    await trainings.stop()


async def test_what_crashed_after_its_version_is_not_trained_again(
    make: Callable[[], Trainings], worker: FakeWorker, who: Principal, ledger: SqlalchemyLedger
) -> None:
    trainings = make()
    training = await trainings.submit(who, SPEC, "")
    crashed = replace(training, state=TrainingState.RUNNING, version=4, attempts=1)
    await ledger.run("north", lambda tx: tx.put_training(crashed))
    await trainings.start()
    assert (await trainings.training(who, training.id)).state is TrainingState.SUCCEEDED
    assert worker.runs == 0
    await trainings.stop()


async def test_what_always_crashes_is_given_up(
    make: Callable[[], Trainings], who: Principal, ledger: SqlalchemyLedger
) -> None:
    trainings = make()
    training = await trainings.submit(who, SPEC, "")
    crashed = replace(training, state=TrainingState.RUNNING, attempts=ATTEMPTS)
    await ledger.run("north", lambda tx: tx.put_training(crashed))
    await trainings.start()
    failed = await trainings.training(who, training.id)
    assert failed.state is TrainingState.FAILED
    assert "without an end" in failed.error
    await trainings.stop()


async def test_watchers_are_let_go_when_the_process_ends(
    make: Callable[[], Trainings], worker: FakeWorker, who: Principal
) -> None:
    trainings = make()
    training = await trainings.submit(who, SPEC, "")
    trainings._draining.set()
    with pytest.raises(UnavailableError, match="draining"):
        await all_steps(trainings, who, training)
