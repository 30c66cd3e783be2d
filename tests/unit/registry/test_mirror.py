"""The mirror: versions once, aliases as ours, and patience with a tracking server that is away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from securenet_core.principal import Principal
from securenet_registry.artifacts.disk_store import DiskStore
from securenet_registry.artifacts.signing import Signer
from securenet_registry.changes import Changes
from securenet_registry.mirror import Mirror
from securenet_registry.model import Alias, ArtifactFormat, Retraction
from securenet_registry.registration import Draft, Registrar
from securenet_registry.sqlalchemy_ledger import SqlalchemyLedger

pytestmark = pytest.mark.unit


@pytest.fixture
def mirror(ledger: SqlalchemyLedger, artifacts: DiskStore, signer: Signer, tracking: Any, changes: Changes) -> Mirror:
    return Mirror(ledger, artifacts, signer, tracking, changes=changes, seconds=0.01)


async def register(registrar: Registrar, who: Principal, tmp_path: Path, text: str = "x") -> None:
    source = tmp_path / "source"
    source.write_text(text)
    draft = Draft("flows", ArtifactFormat.SKOPS, "model.skops", {"model.skops": source})
    await registrar.register(who, draft, lambda _tx, _version: None)


async def point(ledger: SqlalchemyLedger, version: int, generation: int) -> None:
    await ledger.run("north", lambda tx: tx.set_alias("flows", Alias("champion", version, generation, 1, "t", 0)))


async def test_versions_and_aliases_follow(  # noqa: PLR0917 - fixtures
    mirror: Mirror, registrar: Registrar, ledger: SqlalchemyLedger, who: Principal, tracking: Any, tmp_path: Path
) -> None:
    await register(registrar, who, tmp_path)
    await register(registrar, who, tmp_path, "y")
    await point(ledger, 2, 1)
    await mirror.reconcile()
    await mirror.reconcile()
    assert tracking.versions == {"north.flows": ["models/flows/versions/1", "models/flows/versions/2"]}
    assert tracking.pointed == {"north.flows": {"champion": 2}}
    version = await ledger.read("north", lambda tx: tx.version("flows", 2))
    assert version is not None
    assert (version.run_id, version.mirror_version) == ("run-2", 2)


async def test_what_somebody_else_pointed_is_put_right(  # noqa: PLR0917 - fixtures
    mirror: Mirror, registrar: Registrar, ledger: SqlalchemyLedger, who: Principal, tracking: Any, tmp_path: Path
) -> None:
    await register(registrar, who, tmp_path)
    await point(ledger, 1, 1)
    await mirror.reconcile()
    tracking.pointed["north.flows"] = {"champion": 7, "mine": 1}
    await mirror.reconcile()
    assert tracking.pointed == {"north.flows": {"champion": 1}}


async def test_a_changed_manifest_is_not_mirrored_and_holds_nothing_up(
    mirror: Mirror, registrar: Registrar, who: Principal, tracking: Any, tmp_path: Path
) -> None:
    await register(registrar, who, tmp_path)
    await register(registrar, who, tmp_path, "y")
    (tmp_path / "artifacts/tenants/north/models/flows/1/manifest.json").write_bytes(b"{}")
    with pytest.raises(ValueError, match="does not verify"):
        await mirror.reconcile()
    assert tracking.versions == {"north.flows": ["models/flows/versions/2"]}


async def test_tracking_may_be_away_and_come_back(
    mirror: Mirror, registrar: Registrar, who: Principal, tracking: Any, tmp_path: Path
) -> None:
    await register(registrar, who, tmp_path)
    tracking.away = True
    mirror.prepare()
    mirror.start()
    async with asyncio.timeout(20):
        while (await mirror.probe()).ready:  # noqa: ASYNC110 - the probe is asked, as health asks it
            await asyncio.sleep(0.01)
        tracking.away = False
        while not (await mirror.probe()).ready:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)
    await mirror.stop()
    assert tracking.versions == {"north.flows": ["models/flows/versions/1"]}


async def test_what_is_gone_here_is_removed_there(  # noqa: PLR0917 - fixtures
    mirror: Mirror, registrar: Registrar, ledger: SqlalchemyLedger, who: Principal, tracking: Any, tmp_path: Path
) -> None:
    for text in ("x", "y", "z"):
        await register(registrar, who, tmp_path, text)
    await mirror.reconcile()
    await ledger.run("north", lambda tx: tx.delete_version("flows", 2))
    tracking.away = True
    with pytest.raises(ConnectionError):
        await mirror.reconcile()
    tracking.away = False
    await mirror.reconcile()
    await mirror.reconcile()
    assert tracking.retracted == [Retraction("north", "flows", 2, "run-2")]
    assert await ledger.run("north", lambda tx: tx.delete_model("flows")) == 2
    await mirror.reconcile()
    assert {one.mirror_version for one in tracking.retracted} == {1, 2, 3}
    assert await ledger.retractions() == []


async def test_a_version_that_went_while_it_was_logged_is_removed_there(
    registrar: Registrar, ledger: SqlalchemyLedger, who: Principal, tmp_path: Path
) -> None:
    await register(registrar, who, tmp_path)
    await ledger.run("north", lambda tx: tx.delete_version("flows", 1))
    await ledger.run("north", lambda tx: tx.set_mirror("flows", 1, "run", 1))
    assert await ledger.retractions() == [Retraction("north", "flows", 1, "run")]
