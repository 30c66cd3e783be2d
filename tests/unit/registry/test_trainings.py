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
from securenet_registry.training import records
from securenet_registry.training.bases import Bases
from securenet_registry.training.dataset import Limits
from securenet_registry.training.execution import TrainingExecution
from securenet_registry.training.queue import ATTEMPTS, TrainingQueue
from securenet_registry.training.recipe import TrainingSpec
from securenet_registry.training.training import Training, TrainingState
from securenet_registry.training.trainings import Step, Trainings

pytestmark = pytest.mark.unit

SPEC = TrainingSpec("flows", ("/nowhere",))
RESULT: Mapping[str, Any] = {
    "kind": "result", "serving": None, "calibration": None, "golden": None, "thresholds": [], "distribution": None,
    "sample_count": 3, "metrics": [["mcc", 0.5, ""]], "runtime": {}, "feature_schema_hash": "", "feature_names": [],
    "lineage": {},
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
            (folder / "worker.log").touch()
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
        execution = TrainingExecution(
            ledger=ledger, registrar=registrar, worker=worker, mirror=mirror, changes=changes,
            folder=tmp_path / "trainings", limits=Limits(), bases=Bases(artifacts, signer),
        )  # fmt: skip
        return Trainings(ledger, TrainingQueue(ledger, execution, changes), changes, draining)

    yield build
    await mirror.stop()


async def submit(trainings: Trainings, who: Principal, request_id: str = "") -> Training:
    training, new = await trainings.submit(who, SPEC, request_id)
    assert new
    return training


async def all_steps(trainings: Trainings, who: Principal, training: Training, start: int = 1) -> list[Step]:
    async with asyncio.timeout(30):
        return [step async for step in trainings.watch(who, training.id, start)]


async def test_a_training_from_queue_to_version(make: Callable[[], Trainings], who: Principal) -> None:
    trainings = make()
    await trainings._queue.start()
    training = await submit(trainings, who, "k")
    steps = await all_steps(trainings, who, training)
    assert [step.progress.phase for step in steps] == ["queued", "reading", "reading", "registering", "done"]
    assert [step.progress.fraction for step in steps] == [0.0, 0.0, 0.1, 0.97, 1.0]
    assert [step.progress.rows_read for step in steps] == [0, 0, 5, 5, 5]
    told = [step.training.state for step in steps if step.training]
    assert told == [TrainingState.QUEUED, TrainingState.RUNNING, TrainingState.SUCCEEDED]
    last = steps[-1]
    assert last.version is not None
    assert (last.version.version, last.version.run_id) == (1, "run-1")
    assert await trainings.submit(who, SPEC, "k") == (await trainings.training(who, training.id), False)
    with pytest.raises(InvalidArgumentError):
        await trainings.submit(who, replace(SPEC, seed=9), "k")
    assert [step.progress.seq for step in await all_steps(trainings, who, training, 4)] == [4, 5]
    with pytest.raises(NotFoundError):
        await trainings.training(replace(who, tenant="south"), training.id)
    await trainings._queue.stop()


async def test_a_version_is_made_although_tracking_is_away(
    make: Callable[[], Trainings], who: Principal, tracking: Any
) -> None:
    tracking.away = True
    trainings = make()
    await trainings._queue.start()
    steps = await all_steps(trainings, who, await submit(trainings, who))
    assert steps[-1].training is not None
    assert steps[-1].training.state is TrainingState.SUCCEEDED
    await trainings._queue.stop()


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ([PROGRESS, {"kind": "error", "message": "bad.log: no labels", "expected": True}], "bad.log: no labels"),
        (
            [PROGRESS, {"kind": "error", "message": "ValueError: no such bin", "expected": False}],
            "reading broke: ValueError: no such bin",
        ),
        ([PROGRESS, {"kind": "result"}], "reading broke: KeyError: 'metrics'"),
    ],
)
async def test_a_failure_is_told_and_the_queue_goes_on(
    make: Callable[[], Trainings], worker: FakeWorker, who: Principal, says: list[Any], error: str
) -> None:
    worker.says = says
    trainings = make()
    await trainings._queue.start()
    last = (await all_steps(trainings, who, await submit(trainings, who)))[-1]
    assert last.training is not None
    assert (last.training.state, last.training.error) == (TrainingState.FAILED, error)
    # It stays where it stopped.
    stopped = last.progress
    assert (stopped.phase, stopped.fraction, stopped.rows_read, stopped.message) == ("reading", 0.1, 5, error)
    worker.says = [RESULT]
    last = (await all_steps(trainings, who, await submit(trainings, who)))[-1]
    assert last.version is not None
    await trainings._queue.stop()


async def until_running(trainings: Trainings, who: Principal, training: Training) -> None:
    async for step in trainings.watch(who, training.id, 1):
        if step.progress.rows_read:
            return


async def test_cancelling_what_runs_and_what_waits(
    make: Callable[[], Trainings], worker: FakeWorker, who: Principal
) -> None:
    worker.says, worker.hangs = [PROGRESS], True
    trainings = make()
    await trainings._queue.start()
    first, second = [await submit(trainings, who) for _ in range(2)]
    await until_running(trainings, who, first)
    assert (await trainings.cancel(who, second.id)).state is TrainingState.CANCELLED
    assert (await trainings.cancel(who, first.id)).state is TrainingState.CANCELLED
    assert (worker.runs, worker.ended) == (1, 1)
    last = (await all_steps(trainings, who, first))[-1]
    assert last.training is not None
    assert last.training.state is TrainingState.CANCELLED
    assert (last.progress.phase, last.progress.fraction) == ("reading", 0.1)
    assert last.progress.message == "cancelled by tester"
    await trainings._queue.stop()


async def test_what_a_stop_interrupts_goes_on_after_the_next_start(
    make: Callable[[], Trainings], worker: FakeWorker, who: Principal
) -> None:
    worker.says, worker.hangs = [PROGRESS], True
    trainings = make()
    await trainings._queue.start()
    training = await submit(trainings, who)
    await until_running(trainings, who, training)
    await trainings._queue.stop()
    assert worker.ended == 1
    again = await trainings.training(who, training.id)
    assert (again.state, again.attempts) == (TrainingState.QUEUED, 0)
    worker.says, worker.hangs = [RESULT], False
    trainings = make()
    await trainings._queue.start()
    assert (await all_steps(trainings, who, training))[-1].version is not None
    await trainings._queue.stop()


async def test_what_crashed_after_its_version_is_not_trained_again(
    make: Callable[[], Trainings], worker: FakeWorker, who: Principal, ledger: SqlalchemyLedger
) -> None:
    trainings = make()
    training = await submit(trainings, who)
    crashed = replace(training, state=TrainingState.RUNNING, version=4, attempts=1)
    await ledger.run("north", lambda tx: tx.put_training(crashed))
    await trainings._queue.start()
    assert (await trainings.training(who, training.id)).state is TrainingState.SUCCEEDED
    assert worker.runs == 0
    await trainings._queue.stop()


async def test_what_always_crashes_is_given_up(
    make: Callable[[], Trainings], who: Principal, ledger: SqlalchemyLedger
) -> None:
    trainings = make()
    training = await submit(trainings, who)
    crashed = replace(training, state=TrainingState.RUNNING, attempts=ATTEMPTS)
    await ledger.run("north", lambda tx: tx.put_training(crashed))
    await trainings._queue.start()
    failed = await trainings.training(who, training.id)
    assert failed.state is TrainingState.FAILED
    assert failed.error == f"begun {ATTEMPTS} times without an end, the last time up to queued"
    await trainings._queue.stop()


async def test_watchers_are_let_go_when_the_process_ends(
    make: Callable[[], Trainings], worker: FakeWorker, who: Principal
) -> None:
    trainings = make()
    training = await submit(trainings, who)
    trainings._draining.set()
    with pytest.raises(UnavailableError, match="draining"):
        await all_steps(trainings, who, training)


async def test_who_comes_later_begins_with_the_present_state(
    make: Callable[[], Trainings], worker: FakeWorker, who: Principal
) -> None:
    worker.says, worker.hangs = [PROGRESS], True
    trainings = make()
    await trainings._queue.start()
    training = await submit(trainings, who, "k")
    await until_running(trainings, who, training)
    for watched in (trainings.train(who, SPEC, "k"), trainings.watch(who, training.id, 0)):
        step = await anext(watched)
        assert (step.progress.phase, step.progress.rows_read) == ("reading", 5)
        assert step.training is not None
        assert (step.training.id, step.training.state) == (training.id, TrainingState.RUNNING)
    # Who asks for what came before still gets it.
    step = await anext(trainings.watch(who, training.id, 1))
    assert (step.progress.seq, step.progress.phase) == (1, "queued")
    await trainings.cancel(who, training.id)
    (step,) = await all_steps(trainings, who, training, 0)
    assert step.training is not None
    assert step.training.state is TrainingState.CANCELLED
    await trainings._queue.stop()


async def test_what_is_cancelled_while_its_version_is_stored_leaves_no_version(
    make: Callable[[], Trainings], who: Principal, ledger: SqlalchemyLedger, registrar: Registrar,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    trainings = make()
    training = await submit(trainings, who)
    register = registrar.register

    async def late(*arguments: Any) -> Any:
        ended = replace(training, state=TrainingState.CANCELLED)
        await ledger.run("north", lambda tx: records.end(tx, ended, "cancelled elsewhere"))
        return await register(*arguments)

    monkeypatch.setattr(registrar, "register", late)
    await trainings._queue.start()
    last = (await all_steps(trainings, who, training))[-1]
    assert last.progress.message == "cancelled elsewhere"
    await trainings._queue.stop()
    assert (await trainings.training(who, training.id)).state is TrainingState.CANCELLED
    assert await ledger.read("north", lambda tx: tx.versions("flows", 0, 10)) == []


async def test_a_stop_after_the_commit_of_a_version_does_not_train_again(
    make: Callable[[], Trainings], worker: FakeWorker, who: Principal, registrar: Registrar,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    trainings = make()
    training = await submit(trainings, who)
    register, stored = registrar.register, asyncio.Event()

    async def stuck(*arguments: Any) -> Any:
        await register(*arguments)
        stored.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(registrar, "register", stuck)
    await trainings._queue.start()
    await stored.wait()
    await trainings._queue.stop()
    ended = await trainings.training(who, training.id)
    assert (ended.state, ended.version, worker.runs) == (TrainingState.SUCCEEDED, 1, 1)
