"""The follower: swaps what is good, keeps what serves when the next one is not, comes back when the registry does."""

from __future__ import annotations

import asyncio
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from securenet_core.exceptions import UnavailableError
from securenet_detection.models.calibration import Calibration, OperatingPoints
from securenet_detection.models.follower import ModelFollower
from securenet_detection.models.interface import Artifact, ModelReference, ModelRejectedError, Promotion
from securenet_detection.models.serving import ModelSlot, ServingModel

pytestmark = pytest.mark.unit


class FakeSource:
    """Gives promotions from a queue; an exception in it ends the watch."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Promotion | Exception | None] = asyncio.Queue()
        self.reports: list[tuple[int, str, str]] = []
        self.reported = asyncio.Event()
        self.watches = 0

    async def promotions(self) -> Any:
        self.watches += 1
        while True:
            item = await self.queue.get()
            if isinstance(item, Exception):
                raise item
            yield item

    async def fetch(self, promotion: Any) -> Any:
        if promotion.name.endswith("/13"):
            raise ModelRejectedError("not signed")
        return Artifact(promotion.name, "m.onnx", "d", Path("m"), {})

    async def report(self, promotion: Any, *, serves: Any, detail: Any) -> Any:
        self.reports.append((promotion.generation, serves, detail))
        self.reported.set()


class NoClassifier:
    def scores(self, features: Any) -> Any:
        return features[:, 0]


def load(artifact: Artifact, promotion: Promotion, begun: float) -> ServingModel:
    if artifact.name.endswith("/14"):
        raise ModelRejectedError("golden batch")
    table = np.array([0.0, 1.0])
    return ServingModel(
        ModelReference(artifact.name, promotion.alias, artifact.digest), NoClassifier(), Calibration(table, table),
        OperatingPoints(0.5, None), "", promotion.generation, 0, 0.0,
    )  # fmt: skip


@pytest.fixture
async def following() -> Any:
    source, slot = FakeSource(), ModelSlot()
    task = asyncio.create_task(ModelFollower(source, slot, load).run())

    async def tell(version: int, generation: int) -> None:
        source.reported.clear()
        source.queue.put_nowait(Promotion(f"models/m/versions/{version}", "champion", generation))
        await source.reported.wait()

    yield source, slot, tell
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_promotion_is_served_and_reported(following: Any) -> None:
    source, slot, tell = following
    await tell(1, 1)
    assert slot.current.reference.name == "models/m/versions/1"
    assert slot.detail == ""
    await tell(2, 2)
    assert slot.current.generation == 2
    assert slot.previous.generation == 1
    assert source.reports == [(1, "models/m/versions/1", ""), (2, "models/m/versions/2", "")]


@pytest.mark.parametrize(("version", "why"), [(13, "not signed"), (14, "golden batch")])
async def test_a_bad_version_is_refused_and_the_old_one_goes_on(following: Any, version: Any, why: Any) -> None:
    source, slot, tell = following
    await tell(1, 1)
    await tell(version, 2)
    assert slot.current.generation == 1
    assert why in slot.detail
    assert source.reports[-1] == (2, "models/m/versions/1", why)
    await tell(15, 3)
    assert (slot.current.generation, slot.detail) == (3, "")


async def test_an_alias_that_points_at_nothing_is_said_so(following: Any) -> None:
    source, slot, tell = following
    source.queue.put_nowait(None)
    await tell(1, 1)
    assert slot.current is not None


async def test_it_comes_back_after_the_registry_went_away(following: Any) -> None:
    source, slot, tell = following
    source.queue.put_nowait(UnavailableError("connection refused"))
    await tell(1, 1)
    assert source.watches == 2
    assert slot.current.generation == 1
    # The same promotion in a new snapshot is not loaded again.
    source.queue.put_nowait(UnavailableError("connection refused"))
    source.queue.put_nowait(Promotion("models/m/versions/1", "champion", 1))
    await tell(2, 2)
    assert len(source.reports) == 2


async def test_the_event_loop_neither_loads_a_model_nor_lets_one_go() -> None:
    threads: list[tuple[str, bool]] = []

    def note(what: str) -> None:
        threads.append((what, threading.current_thread() is threading.main_thread()))

    def noted(artifact: Artifact, promotion: Promotion, begun: float) -> ServingModel:
        note("loaded")
        model = load(artifact, promotion, begun)
        weakref.finalize(model.classifier, note, "let go")
        return model

    source = FakeSource()
    task = asyncio.create_task(ModelFollower(source, ModelSlot(), noted).run())
    for version in (1, 2, 3):
        source.reported.clear()
        source.queue.put_nowait(Promotion(f"models/m/versions/{version}", "champion", version))
        await source.reported.wait()
    assert threads == [("loaded", False)] * 3 + [("let go", False)]
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
