"""Any sequence of registering, promoting, rolling back, deleting and collecting by two tenants, with crashes and
restarts between, keeps what must hold: aliases point at versions that are there with all their bytes, history is
linear, nothing crosses tenants, the audit verifies, and a collection leaves no byte that no version refers to."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import securenet_registry
from securenet_core.exceptions import SecurenetError
from securenet_core.principal import ALL_ROLES, Principal
from securenet_core.sqlalchemy_database import Database, sqlite_url
from securenet_registry.artifacts.disk_store import DiskStore
from securenet_registry.artifacts.signing import Signer
from securenet_registry.artifacts.store import SignedManifest
from securenet_registry.auditing import Auditing
from securenet_registry.catalog import Catalog
from securenet_registry.changes import Changes
from securenet_registry.collection import Collection
from securenet_registry.gatekeeper import Gatekeeper
from securenet_registry.model import ArtifactFormat, VersionReference
from securenet_registry.moves import Move
from securenet_registry.promotion import Promotions
from securenet_registry.registration import Draft, Registrar
from securenet_registry.sqlalchemy_ledger import SqlalchemyLedger
from securenet_registry.training.reopening import ProcessReopener
from securenet_registry.uploads.inspection import ProcessInspector
from securenet_registry.uploads.uploads import Uploads

pytestmark = [pytest.mark.unit, pytest.mark.slow]

Result = TypeVar("Result")

TENANTS = st.sampled_from(["north", "south"])
MODELS = st.sampled_from(["flows", "names"])
NUMBERS = st.integers(1, 5)
ALIASES = st.sampled_from(["champion", "challenger"])
MIGRATIONS = Path(securenet_registry.__file__).parent / "migrations"
DETAILS: dict[str, Any] = {
    "serving": {"file": "model.skops", "input": "features", "output": "score", "kind": "probability"},
    "calibration": {"kind": "piecewise-linear", "x": [0, 1], "y": [0, 1]},
    "golden": {},
    "feature_schema_hash": "5" * 64,
}


class AliasHistory(RuleBasedStateMachine):
    """The registry's use-cases beside a plain model: for each tenant and model its versions and each alias's moves."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.root = Path(self.folder.name)
        self.versions: dict[tuple[str, str], dict[int, bytes]] = {}
        self.taken: dict[tuple[str, str], int] = {}
        self.moves: dict[tuple[str, str, str], list[int]] = {}
        self.open()

    def open(self) -> None:
        self.database = Database(sqlite_url(self.root / "registry.sqlite"), MIGRATIONS)
        self.runner.run(self.database.open())
        self.ledger = SqlalchemyLedger(self.database)
        self.artifacts = DiskStore(self.root / "artifacts")
        signer = Signer(self.root / "signing.pem", self.root / "signing.pub.pem")
        changes = Changes()
        self.registrar = Registrar(self.ledger, self.artifacts, signer, None, changes)
        self.promotions = Promotions(
            self.ledger, Gatekeeper(self.artifacts, signer, "5" * 64, ProcessReopener(60)), changes
        )
        self.catalog = Catalog(self.ledger, self.artifacts, changes)
        inspector = ProcessInspector(60, 1 << 32)
        uploads = Uploads(self.ledger, self.registrar, inspector, self.root / "uploads", limit=1 << 20, expiry=60)
        self.collection = Collection(self.ledger, self.artifacts, uploads, grace=3600)

    def teardown(self) -> None:
        self.runner.run(self.database.close())
        self.runner.close()
        self.folder.cleanup()

    def attempt(self, work: Callable[[], Awaitable[Result]]) -> Result | None:
        """What the call answered, None where it was refused."""

        async def call() -> Result | None:
            try:
                return await work()
            except SecurenetError:
                return None

        return self.runner.run(call())

    def history(self, tenant: str, model: str, alias: str) -> list[int]:
        return self.moves.setdefault((tenant, model, alias), [])

    @rule(tenant=TENANTS, model=MODELS, content=st.binary(min_size=1, max_size=4), serves=st.booleans())
    def register(self, tenant: str, model: str, content: bytes, serves: bool) -> None:
        source = self.root / "source"
        source.write_bytes(content)
        details = DETAILS if serves else {**DETAILS, "calibration": None}
        draft = Draft(model, ArtifactFormat.SKOPS, "model.skops", {"model.skops": source}, details=details)
        version = self.runner.run(self.registrar.register(who(tenant), draft, lambda _tx, _version: None))
        self.taken[tenant, model] = self.taken.get((tenant, model), 0) + 1
        assert version.version == self.taken[tenant, model]
        self.versions.setdefault((tenant, model), {})[version.version] = content if serves else b""

    @rule(
        tenant=TENANTS,
        model=MODELS,
        number=NUMBERS,
        alias=ALIASES,
        expected=st.none() | st.integers(0, 4),
        key=st.booleans(),
    )
    def promote(self, tenant: str, model: str, number: int, alias: str, expected: int | None, key: bool) -> None:  # noqa: PLR0917 - the parts of a call
        history = self.history(tenant, model, alias)
        request_id = f"{model}-{number}-{alias}-{expected}-{len(history)}" if key else ""
        move = Move(alias, expected, request_id, "")
        done = self.attempt(
            lambda: self.promotions.promote(
                who(tenant), VersionReference(model, number=number), move, validate_only=False, override=False
            )
        )
        may = bool(self.versions.get((tenant, model), {}).get(number)) and expected in {None, len(history)}
        assert (done is not None) == may
        if done is not None:
            history.append(number)
            assert (done.generation, done.to_version) == (len(history), number)
            if key:
                again = self.attempt(
                    lambda: self.promotions.promote(
                        who(tenant), VersionReference(model, number=number), move, validate_only=False, override=False
                    )
                )
                assert again == done

    @rule(tenant=TENANTS, model=MODELS, alias=ALIASES)
    def roll_back(self, tenant: str, model: str, alias: str) -> None:
        history = self.history(tenant, model, alias)
        done = self.attempt(lambda: self.promotions.roll_back(who(tenant), model, 0, Move(alias, None, "", "")))
        assert (done is not None) == (len(history) > 1)
        if done is not None:
            history.append(history[-2])
            assert (done.generation, done.to_version) == (len(history), history[-1])

    @rule(tenant=TENANTS, model=MODELS, number=NUMBERS)
    def delete(self, tenant: str, model: str, number: int) -> None:
        held = {n for alias in ("champion", "challenger") for n in self.history(tenant, model, alias)[-2:]}

        async def remove() -> bool:
            await self.catalog.delete_version(who(tenant), VersionReference(model, number=number), "", "")
            return True

        done = self.attempt(remove)
        versions = self.versions.get((tenant, model), {})
        assert bool(done) == (number in versions and number not in held)
        if done:
            del versions[number]

    @rule()
    def restart(self) -> None:
        self.runner.run(self.database.close())
        self.open()

    @rule(content=st.binary(min_size=1, max_size=4), tenant=TENANTS, model=MODELS, number=st.integers(6, 9))
    def crash_while_registering(self, content: bytes, tenant: str, model: str, number: int) -> None:
        self.artifacts.put([content])
        self.artifacts.put_manifest(tenant, model, 100 + number, SignedManifest(b"{}", b"", "key"))
        (self.root / "artifacts" / "incoming" / "half").write_bytes(content)
        self.restart()

    @rule(tenant=TENANTS)
    def collect(self, tenant: str) -> None:
        for place in (self.root / "artifacts").rglob("*"):
            os.utime(place, (0, 0))
        self.runner.run(self.collection.collect(who(tenant), 0, validate_only=False))
        references = self.runner.run(self.ledger.references())
        assert {blob.digest for blob in self.artifacts.blobs(1 << 62)} == references.digests
        stored = self.artifacts.manifests(1 << 62)
        assert {(one.tenant, one.model, one.version) for one in stored} == references.versions
        assert not list((self.root / "artifacts" / "incoming").iterdir())

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        for tenant in ("north", "south"):
            models = self.runner.run(self.catalog.models(who(tenant), "", 10))
            assert {model.name for model in models} == {name for owner, name in self.taken if owner == tenant}
            for model in models:
                listed = self.runner.run(self.catalog.versions(who(tenant), model.name, 0, 100))
                assert [v.version for v in listed] == sorted(self.versions[tenant, model.name], reverse=True)
                assert all(self.artifacts.verify(file.digest) for version in listed for file in version.files)
                for alias in model.aliases:
                    history = self.history(tenant, model.name, alias.alias)
                    assert (alias.version, alias.generation) == (history[-1], len(history))
                    assert alias.version in self.versions[tenant, model.name]
                moves = self.runner.run(self.promotions.promotions(who(tenant), model.name, 0, "", 100, ""))
                for name in ("champion", "challenger"):
                    mine = [(m.generation, m.to_version) for m in reversed(moves) if m.alias == name]
                    assert mine == list(enumerate(self.history(tenant, model.name, name), start=1))
            assert self.runner.run(Auditing(self.ledger).verify(who(tenant))).first_invalid == 0


def who(tenant: str) -> Principal:
    return Principal(f"{tenant}-ci", tenant, ALL_ROLES)


AliasHistory.TestCase.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
TestAliasHistory = AliasHistory.TestCase
