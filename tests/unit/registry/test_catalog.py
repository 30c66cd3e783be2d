"""Models: made, listed, deleted; the tenant's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from securenet_core.exceptions import AlreadyExistsError, InvalidArgumentError, NotFoundError
from securenet_core.principal import Principal
from securenet_registry.artifacts.disk_store import DiskStore
from securenet_registry.catalog import Catalog
from securenet_registry.changes import Changes
from securenet_registry.sqlalchemy_ledger import SqlalchemyLedger

pytestmark = pytest.mark.unit


@pytest.fixture
def catalog(ledger: SqlalchemyLedger, artifacts: DiskStore, changes: Changes) -> Catalog:
    return Catalog(ledger, artifacts, changes)


async def test_a_model_is_made_once_by_its_key(catalog: Catalog, who: Principal) -> None:
    first = await catalog.create_model(who, "flows", "what", {"team": "x"}, "k")
    assert await catalog.create_model(who, "flows", "what", {"team": "x"}, "k") == first
    with pytest.raises(AlreadyExistsError):
        await catalog.create_model(who, "flows", "what", {}, "")
    with pytest.raises(InvalidArgumentError, match="used for another"):
        await catalog.create_model(who, "other", "what", {}, "k")


async def test_pages_of_models(catalog: Catalog, who: Principal) -> None:
    for name in ("c", "a", "b"):
        await catalog.create_model(who, name, "", {}, "")
    assert [model.name for model in await catalog.models(who, "", 2)] == ["a", "b"]
    assert [model.name for model in await catalog.models(who, "b", 2)] == ["c"]


async def test_other_tenants_see_nothing(catalog: Catalog, who: Principal) -> None:
    await catalog.create_model(who, "flows", "", {}, "k")
    south = replace(who, tenant="south")
    with pytest.raises(NotFoundError):
        await catalog.model(south, "flows")
    assert not await catalog.models(south, "", 10)
    await catalog.create_model(south, "flows", "theirs", {}, "k")
    assert await catalog.delete_model(south, "flows", "", "d") == 0
    assert await catalog.delete_model(south, "flows", "", "d") == 0
    assert (await catalog.model(who, "flows")).description == ""
