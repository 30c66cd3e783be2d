"""Promotion and rollback over a real ledger and store: gates, races, repeated calls, and what may not be overridden."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from securenet_core.exceptions import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from securenet_core.principal import Principal, Role
from securenet_registry.artifacts.disk_store import DiskStore
from securenet_registry.artifacts.signing import Signer
from securenet_registry.artifacts.trained import TrainedModel
from securenet_registry.auditing import Auditing
from securenet_registry.catalog import Catalog
from securenet_registry.changes import Changes
from securenet_registry.gatekeeper import Gatekeeper
from securenet_registry.model import ArtifactFormat, ModelVersion, PromotionState, VersionReference
from securenet_registry.moves import Move
from securenet_registry.promotion import Promotions
from securenet_registry.registration import Draft, Registrar
from securenet_registry.sqlalchemy_ledger import SqlalchemyLedger

pytestmark = pytest.mark.unit

SCHEMA = "5" * 64
COMPLETE: dict[str, Any] = {
    "serving": {"file": "derived/model.onnx", "input": "features", "output": "score", "kind": "probability"},
    "calibration": {"kind": "piecewise-linear", "x": [0, 1], "y": [0, 1]},
    "golden": {"shape": [0, 1]},
    "feature_schema_hash": SCHEMA,
}

Register = Callable[..., Awaitable[ModelVersion]]


class FakeReopener:
    """Finds wrong what the test says."""

    def __init__(self) -> None:
        self.says = ""
        self.asked: list[str] = []

    def problem(self, model: TrainedModel) -> str:
        self.asked.append(model.resource)
        return self.says


@pytest.fixture
def reopener() -> FakeReopener:
    return FakeReopener()


@pytest.fixture
def promotions(
    ledger: SqlalchemyLedger, artifacts: DiskStore, signer: Signer, changes: Changes, reopener: FakeReopener
) -> Promotions:
    return Promotions(ledger, Gatekeeper(artifacts, signer, SCHEMA, reopener), changes)


@pytest.fixture
def register(registrar: Registrar, who: Principal, tmp_path: Path) -> Register:
    count = 0

    async def make(*more: str, **details: Any) -> ModelVersion:
        nonlocal count
        count += 1
        files = {}
        for path in ("model.skops", "derived/model.onnx", *more):
            files[path] = tmp_path / f"{count}-{Path(path).name}"
            files[path].write_text(f"{count} {path}")
        draft = Draft("flows", ArtifactFormat.SKOPS, "model.skops", files, details={**COMPLETE, **details})
        return await registrar.register(who, draft, lambda _tx, _version: None)

    return make


def move(expected: int | None = None, key: str = "", reason: str = "", alias: str = "champion") -> Move:
    return Move(alias, expected, key, reason)


def number(value: int) -> VersionReference:
    return VersionReference("flows", number=value)


async def promote(promotions: Promotions, who: Principal, value: int, asked: Move | None = None) -> int:
    done = await promotions.promote(who, number(value), asked or move(), validate_only=False, override=False)
    return done.generation


@pytest.mark.parametrize(
    ("lacking", "gate"),
    [
        ({"serving": None}, "serving-form"),
        ({"serving": {**COMPLETE["serving"], "file": "absent.onnx"}}, "serving-form"),
        ({"calibration": None}, "calibration"),
        ({"calibration": {"kind": "piecewise-linear", "x": [0], "y": [0]}}, "calibration"),
        ({"golden": None}, "golden-batch"),
        ({"feature_schema_hash": "6" * 64}, "feature-schema"),
    ],
)
async def test_each_gate(
    promotions: Promotions, register: Register, who: Principal, lacking: dict[str, Any], gate: str
) -> None:
    await register(**lacking)
    with pytest.raises(FailedPreconditionError, match=gate) as caught:
        await promote(promotions, who, 1)
    assert [violation.subject for violation in caught.value.preconditions] == [gate]
    planned = await promotions.promote(who, number(1), move(), validate_only=True, override=False)
    assert [g.name for g in planned.gates if not g.passed] == [gate]
    assert planned.state is PromotionState.PENDING
    done = await promotions.promote(who, number(1), move(reason="site asks"), validate_only=False, override=True)
    assert done.generation == 1


async def test_a_version_of_another_kind_of_score_does_not_take_the_place_of_what_serves(
    promotions: Promotions, register: Register, who: Principal
) -> None:
    await register()
    await register(serving={**COMPLETE["serving"], "kind": "anomaly"})
    assert await promote(promotions, who, 1) == 1
    for alias in ("champion", "challenger"):
        with pytest.raises(FailedPreconditionError, match="score-kind: anomaly; required probability"):
            await promote(promotions, who, 2, move(alias=alias))


async def test_the_joblib_form_of_what_was_trained_here_must_open(
    promotions: Promotions, register: Register, who: Principal, reopener: FakeReopener
) -> None:
    await register()
    await register("model.joblib", lineage={"training": "trainings/a"})
    assert await promote(promotions, who, 1) == 1
    assert reopener.asked == []
    reopener.says = "its scores differ"
    with pytest.raises(FailedPreconditionError, match="its scores differ") as caught:
        await promote(promotions, who, 2)
    assert [violation.subject for violation in caught.value.preconditions] == ["joblib-form"]
    reopener.says = ""
    assert await promote(promotions, who, 2) == 2
    assert reopener.asked == ["models/flows/versions/2"] * 2


async def test_generations_guard_against_races(promotions: Promotions, register: Register, who: Principal) -> None:
    await register()
    await register()
    assert await promote(promotions, who, 1, move(expected=0)) == 1
    with pytest.raises(AbortedError, match="generation 1; expected 0"):
        await promote(promotions, who, 2, move(expected=0))
    assert await promote(promotions, who, 2, move(expected=1)) == 2
    results = await asyncio.gather(
        *(promote(promotions, who, 1 + i % 2, move(expected=2)) for i in range(8)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["AbortedError"] * 7 + ["int"]


async def test_a_repeated_call_answers_as_the_first(
    promotions: Promotions, register: Register, who: Principal, ledger: SqlalchemyLedger
) -> None:
    await register()
    both = await asyncio.gather(*(promote(promotions, who, 1, move(key="k")) for _ in range(4)))
    assert both == [1, 1, 1, 1]
    with pytest.raises(InvalidArgumentError, match="used for another"):
        await promote(promotions, who, 1, move(key="k", expected=1))
    history = await promotions.promotions(who, "flows", 0, "", 10, "")
    assert len(history) == 1
    assert (await Auditing(ledger).verify(who)).first_invalid == 0


async def test_rollback_goes_back_and_back_again(promotions: Promotions, register: Register, who: Principal) -> None:
    for _ in range(3):
        await register()
    with pytest.raises(NotFoundError, match="points nowhere"):
        await promotions.roll_back(who, "flows", 0, move())
    await promote(promotions, who, 1)
    with pytest.raises(FailedPreconditionError, match="alone"):
        await promotions.roll_back(who, "flows", 0, move())
    await promote(promotions, who, 2)
    back = await promotions.roll_back(who, "flows", 0, move(key="b"))
    assert (back.from_version, back.to_version, back.generation, back.rollback) == (2, 1, 3, True)
    assert await promotions.roll_back(who, "flows", 0, move(key="b")) == back
    with pytest.raises(FailedPreconditionError, match="never pointed at it"):
        await promotions.roll_back(who, "flows", 3, move())
    assert (await promotions.roll_back(who, "flows", 2, move())).to_version == 2
    with pytest.raises(NotFoundError, match="no such version"):
        await promotions.roll_back(who, "flows", 9, move())


async def test_nobody_overrides_a_signature(  # noqa: PLR0917 - fixtures
    promotions: Promotions, register: Register, who: Principal, artifacts: DiskStore, signer: Signer, tmp_path: Path
) -> None:
    version = await register()
    signed = artifacts.manifest("north", "flows", 1)
    other = Signer(tmp_path / "evil.pem", tmp_path / "evil.pub")

    async def refused(said: str) -> None:
        with pytest.raises(FailedPreconditionError, match=said):
            await promotions.promote(who, number(1), move(reason="now"), validate_only=False, override=True)

    artifacts.put_manifest("north", "flows", 1, replace(signed, signature=other.sign(signed.manifest)))
    await refused("does not verify")
    await register()
    artifacts.put_manifest("north", "flows", 1, artifacts.manifest("north", "flows", 2))
    await refused("another version's")
    artifacts.put_manifest("north", "flows", 1, signed)
    artifacts.local_path(version.digest).write_bytes(b"changed")
    await refused("missing or changed")
    artifacts.delete_manifest("north", "flows", 1)
    await refused("cannot be read")


async def test_overrides_are_for_admins_with_a_reason(
    promotions: Promotions, register: Register, who: Principal
) -> None:
    await register(calibration=None)
    publisher = Principal("ci", "north", frozenset({Role.MODEL_PUBLISHER}))
    with pytest.raises(PermissionDeniedError, match="admin"):
        await promotions.promote(publisher, number(1), move(reason="x"), validate_only=False, override=True)
    with pytest.raises(InvalidArgumentError, match="reason"):
        await promotions.promote(who, number(1), move(reason=" "), validate_only=False, override=True)


async def test_what_aliases_hold_is_not_deleted(  # noqa: PLR0917 - fixtures
    promotions: Promotions,
    register: Register,
    who: Principal,
    ledger: SqlalchemyLedger,
    artifacts: DiskStore,
    changes: Changes,
) -> None:
    catalog = Catalog(ledger, artifacts, changes)
    for value in (1, 2, 3):
        await register()
        await promote(promotions, who, value)
    for value, said in ((3, "points at it"), (2, "rolls back to it")):
        with pytest.raises(FailedPreconditionError, match=said):
            await catalog.delete_version(who, number(value), "", "")
    await catalog.delete_version(who, number(1), "old", "d-1")
    await catalog.delete_version(who, number(1), "old", "d-1")
    with pytest.raises(NotFoundError):
        await catalog.version(who, number(1))
    # A number is not given twice.
    assert (await register()).version == 4
