"""Where policy wants a second person, an alias moves when somebody else says so, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from securenet_core.exceptions import (
    AbortedError,
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
)
from securenet_core.principal import ALL_ROLES, Principal
from securenet_registry.approvals import Approvals
from securenet_registry.artifacts.disk_store import DiskStore
from securenet_registry.artifacts.signing import Signer
from securenet_registry.auditing import Auditing
from securenet_registry.catalog import Catalog
from securenet_registry.changes import Changes
from securenet_registry.gatekeeper import Gatekeeper
from securenet_registry.model import ArtifactFormat, ModelVersion, Promotion, PromotionState, VersionReference
from securenet_registry.moves import Move
from securenet_registry.policies import PromotionPolicy, policy_for
from securenet_registry.promotion import Promotions
from securenet_registry.registration import Draft, Registrar
from securenet_registry.sqlalchemy_ledger import SqlalchemyLedger
from securenet_registry.training.reopening import ProcessReopener

pytestmark = pytest.mark.unit

SECOND = Principal("second", "north", ALL_ROLES)
POLICIES = (
    PromotionPolicy(tenant="south"),
    PromotionPolicy(model="flow?", aliases=("champion", "challenger"), second_person=True),
)


@pytest.fixture
def gatekeeper(artifacts: DiskStore, signer: Signer) -> Gatekeeper:
    return Gatekeeper(artifacts, signer, "5" * 64, ProcessReopener(60))


@pytest.fixture
def promotions(ledger: SqlalchemyLedger, gatekeeper: Gatekeeper, changes: Changes) -> Promotions:
    return Promotions(ledger, gatekeeper, changes, POLICIES)


@pytest.fixture
def approvals(ledger: SqlalchemyLedger, gatekeeper: Gatekeeper, changes: Changes) -> Approvals:
    return Approvals(ledger, gatekeeper, changes)


@pytest.fixture
async def versions(registrar: Registrar, who: Principal, tmp_path: Path) -> list[ModelVersion]:
    """Three versions of `flows`, each fit to serve."""
    made = []
    for content in (b"1", b"2", b"3"):
        source = tmp_path / "source"
        source.write_bytes(content)
        details = {
            "serving": {"file": "model.skops", "input": "features", "output": "score", "kind": "probability"},
            "calibration": {"kind": "piecewise-linear", "x": [0, 1], "y": [0, 1]},
            "golden": {},
            "feature_schema_hash": "5" * 64,
        }
        draft = Draft("flows", ArtifactFormat.SKOPS, "model.skops", {"model.skops": source}, details=details)
        made.append(await registrar.register(who, draft, lambda _tx, _version: None))
    return made


Ask = Callable[..., Awaitable[Promotion]]


@pytest.fixture
def ask(promotions: Promotions, who: Principal, versions: list[ModelVersion]) -> Ask:
    assert len(versions) == 3

    async def promote(number: int, alias: str = "champion", key: str = "") -> Promotion:
        return await promotions.promote(
            who, VersionReference("flows", number=number), Move(alias, None, key, "better"),
            validate_only=False, override=False,
        )  # fmt: skip

    return promote


async def test_an_alias_moves_when_somebody_else_approves(
    ask: Ask, approvals: Approvals, promotions: Promotions, ledger: SqlalchemyLedger, who: Principal
) -> None:
    asked = await ask(1, key="k")
    assert (asked.state, asked.generation, asked.decided_by) == (PromotionState.PENDING, 0, "")
    assert await ask(1, key="k") == asked
    assert await ledger.read("north", lambda tx: tx.model("flows").aliases) == ()  # type: ignore[union-attr]  # it is there
    assert await promotions.promotions(who, "flows", 0, "", 10, "pending") == [asked]
    with pytest.raises(PermissionDeniedError, match="somebody else must approve"):
        await approvals.approve(who, "flows", asked.id, "")
    done = await approvals.approve(SECOND, "flows", asked.id, "looked at it")
    assert (done.state, done.generation, done.decided_by) == (PromotionState.COMMITTED, 1, "second")
    assert await approvals.approve(SECOND, "flows", asked.id, "again") == done
    assert await ask(1, key="k") == done
    alias = await ledger.read("north", lambda tx: tx.model("flows").alias("champion"))  # type: ignore[union-attr]  # likewise
    assert alias is not None
    assert (alias.version, alias.generation, alias.updated_by) == (1, 1, "second")
    actions = [entry.action for entry in await Auditing(ledger).entries(who, 0, 2, "models/flows/versions/1")]
    assert actions == ["approve-promotion", "request-promotion"]
    assert (await Auditing(ledger).verify(who)).first_invalid == 0


async def test_what_was_decided_stays_so(ask: Ask, approvals: Approvals, who: Principal) -> None:
    asked = await ask(1)
    taken_back = await approvals.reject(who, "flows", asked.id, "too early")
    assert (taken_back.state, taken_back.decided_by) == (PromotionState.REJECTED, who.subject)
    assert await approvals.reject(who, "flows", asked.id, "") == taken_back
    for decide in (approvals.approve, approvals.reject):
        with pytest.raises(FailedPreconditionError, match="expected a pending promotion"):
            await decide(SECOND, "flows", asked.id, "")
    approved = await approvals.approve(SECOND, "flows", (await ask(1)).id, "")
    with pytest.raises(FailedPreconditionError, match="committed by second"):
        await approvals.reject(SECOND, "flows", approved.id, "")


async def test_one_that_was_overtaken_must_be_asked_for_again(ask: Ask, approvals: Approvals) -> None:
    first, second = await ask(1), await ask(2)
    results = await asyncio.gather(
        approvals.approve(SECOND, "flows", first.id, ""), approvals.approve(SECOND, "flows", second.id, ""),
        return_exceptions=True,
    )  # fmt: skip
    assert sorted(type(result).__name__ for result in results) == ["AbortedError", "Promotion"]
    loser = second if isinstance(results[1], AbortedError) else first
    with pytest.raises(AbortedError, match="generation 1; expected 0"):
        await approvals.approve(SECOND, "flows", loser.id, "")


async def test_bytes_that_changed_since_are_not_approved(
    ask: Ask, approvals: Approvals, artifacts: DiskStore, versions: list[ModelVersion]
) -> None:
    asked = await ask(1)
    artifacts.local_path(versions[0].digest).write_bytes(b"!")
    with pytest.raises(FailedPreconditionError, match="missing or changed"):
        await approvals.approve(SECOND, "flows", asked.id, "")


async def test_a_version_that_is_gone_is_not_approved(  # noqa: PLR0917 - fixtures
    ask: Ask, approvals: Approvals, ledger: SqlalchemyLedger, artifacts: DiskStore, changes: Changes, who: Principal
) -> None:
    asked = await ask(3)
    await Catalog(ledger, artifacts, changes).delete_version(who, VersionReference("flows", number=3), "", "")
    with pytest.raises(NotFoundError, match="no such version"):
        await approvals.approve(SECOND, "flows", asked.id, "")


async def test_another_tenant_decides_nothing(ask: Ask, approvals: Approvals) -> None:
    asked = await ask(1)
    stranger = Principal("second", "south", ALL_ROLES)
    for decide in (approvals.approve, approvals.reject):
        with pytest.raises(NotFoundError, match="no such promotion"):
            await decide(stranger, "flows", asked.id, "")


async def test_a_rollback_waits_for_nobody(
    ask: Ask, approvals: Approvals, promotions: Promotions, who: Principal
) -> None:
    for number in (1, 2):
        await approvals.approve(SECOND, "flows", (await ask(number)).id, "")
    back = await promotions.roll_back(who, "flows", 0, Move("champion", None, "", "it is worse"))
    assert (back.state, back.to_version, back.generation) == (PromotionState.COMMITTED, 1, 3)
    # Nor does it lead past the second person.
    await ask(3)
    with pytest.raises(FailedPreconditionError, match="never pointed at it"):
        await promotions.roll_back(who, "flows", 3, Move("champion", None, "", "quickly"))


@pytest.mark.parametrize(
    ("tenant", "model", "alias", "second_person"),
    [
        ("north", "flows", "champion", True),
        ("north", "flows", "challenger", True),
        ("north", "flow", "champion", False),
        ("south", "flows", "champion", False),
        ("south", "flows", "challenger", True),
    ],
)
def test_the_first_policy_about_an_alias_holds(tenant: str, model: str, alias: str, second_person: bool) -> None:
    assert policy_for(POLICIES, tenant, model, alias).second_person is second_person
