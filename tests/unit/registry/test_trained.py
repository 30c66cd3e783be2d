"""joblib forms: saved with a version, listed by tenant, opened only where signature and digest hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from securenet_core.exceptions import DataLossError, FailedPreconditionError, NotFoundError
from securenet_core.principal import Principal
from securenet_registry.artifacts.disk_store import DiskStore
from securenet_registry.artifacts.manifest import Golden
from securenet_registry.artifacts.signing import Signer
from securenet_registry.artifacts.store import SignedManifest
from securenet_registry.artifacts.trained import TrainedModels
from securenet_registry.model import ArtifactFormat
from securenet_registry.registration import Draft, Registrar
from securenet_registry.training import joblib_estimator
from securenet_registry.training.checks import check
from securenet_registry.training.fitting import raw_score
from securenet_registry.training.reopening import ProcessReopener
from securenet_registry.training.runtime import runtime

pytestmark = pytest.mark.unit

ROWS = np.random.default_rng(3).normal(size=(60, 4)).astype(np.float32)
FOREST = RandomForestClassifier(3, random_state=0).fit(ROWS, ROWS[:, 0] > 0)
GOLDEN = Golden(ROWS[:8], raw_score(FOREST, ROWS[:8]))


class Shelf:
    """Registers versions and finds them again."""

    def __init__(self, registrar: Registrar, artifacts: DiskStore, signer: Signer, folder: Path) -> None:
        self.registrar = registrar
        self.artifacts = artifacts
        self.folder = folder
        self.trained = TrainedModels(artifacts, signer)

    async def add(self, who: Principal, model: str, *, trained: bool = True, form: bool = True, **details: Any) -> None:
        (self.folder / "model.skops").write_bytes(b"source")
        files = {"model.skops": self.folder / "model.skops"}
        if form:
            joblib_estimator.dump(FOREST, self.folder / "model.joblib")
            files["model.joblib"] = self.folder / "model.joblib"
        lineage: Mapping[str, Any] = {"training": "trainings/a"} if trained else {}
        fields = {"runtime": runtime(), "golden": GOLDEN.document(), "lineage": lineage, **details}
        draft = Draft(model, ArtifactFormat.SKOPS, "model.skops", files, details=fields)
        await self.registrar.register(who, draft, lambda _tx, _version: None)


@pytest.fixture
def shelf(registrar: Registrar, artifacts: DiskStore, signer: Signer, tmp_path: Path) -> Shelf:
    return Shelf(registrar, artifacts, signer, tmp_path)


async def test_what_was_trained_is_listed_by_tenant_and_loads(shelf: Shelf, who: Principal) -> None:
    for model in ("b", "a", "b"):
        await shelf.add(who, model)
    await shelf.add(replace(who, tenant="south"), "c")
    listed = [model.resource for model in shelf.trained.models("north")]
    assert listed == ["models/a/versions/1", "models/b/versions/1", "models/b/versions/2"]
    assert shelf.trained.models("nobody") == []
    found = shelf.trained.find("north", "b", 2)
    assert found.place.is_relative_to(shelf.folder / "artifacts")
    assert np.array_equal(raw_score(joblib_estimator.load(found), ROWS), raw_score(FOREST, ROWS))


@pytest.mark.parametrize("fields", [{"form": False}, {"trained": False}])
async def test_what_was_not_trained_here_is_never_opened(shelf: Shelf, who: Principal, fields: Any) -> None:
    await shelf.add(who, "a", **fields)
    assert shelf.trained.models("north") == []
    with pytest.raises(NotFoundError, match="models/a/versions/1: it has no joblib form"):
        shelf.trained.find("north", "a", 1)


async def test_a_manifest_that_is_not_the_signed_one(shelf: Shelf, who: Principal) -> None:
    await shelf.add(who, "a")
    await shelf.add(who, "b")
    signed = shelf.artifacts.manifest("north", "a", 1)
    shelf.artifacts.put_manifest("north", "b", 1, signed)
    with pytest.raises(DataLossError, match="another version's"):
        shelf.trained.find("north", "b", 1)
    changed = signed.manifest.replace(b'"sample_count": 0', b'"sample_count": 9')
    shelf.artifacts.put_manifest("north", "a", 1, SignedManifest(changed, signed.signature, signed.key_id))
    with pytest.raises(DataLossError, match="its manifest was changed"):
        shelf.trained.models("north")
    with pytest.raises(DataLossError, match="cannot be read"):
        shelf.trained.find("north", "absent", 1)


async def test_bytes_that_are_not_the_signed_ones_are_not_opened(shelf: Shelf, who: Principal, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    await shelf.add(who, "a")
    found = shelf.trained.find("north", "a", 1)

    class Evil:
        def __reduce__(self) -> Any:
            return (open, (str(canary), "w"))

    joblib_estimator.dump(Evil(), found.place)
    with pytest.raises(DataLossError, match="its signed manifest says"):
        joblib_estimator.load(found)
    assert not canary.exists()
    found.place.unlink()
    with pytest.raises(DataLossError, match="No such file"):
        joblib_estimator.load(found)
    with pytest.raises(DataLossError, match="not in the store"):
        shelf.trained.find("north", "a", 1)


async def test_another_scikit_learn_is_named(shelf: Shelf, who: Principal) -> None:
    await shelf.add(who, "a", runtime={"scikit-learn": "1.6.0"})
    with pytest.raises(FailedPreconditionError, match=r"written by scikit-learn 1\.6\.0; installed is"):
        joblib_estimator.load(shelf.trained.find("north", "a", 1))


async def test_a_process_opens_it_and_compares_scores(shelf: Shelf, who: Principal) -> None:
    await shelf.add(who, "a")
    bent = Golden(GOLDEN.features, GOLDEN.raw + 0.5)
    await shelf.add(who, "b", golden=bent.document())
    reopener = ProcessReopener(120)
    good = shelf.trained.find("north", "a", 1)
    assert reopener.problem(good) == ""
    assert "differ from the golden ones by 0.5" in reopener.problem(shelf.trained.find("north", "b", 1))
    assert "took longer" in ProcessReopener(0.001).problem(good)
    assert check({**asdict(good), "place": str(good.place)}) == ""
    good.place.write_bytes(b"")
    assert "its signed manifest says" in check({**asdict(good), "place": str(good.place)})
