"""A ledger and a store in a folder of the test, and hand-written stand-ins for what lies outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

import securenet_registry
from securenet_core.principal import ALL_ROLES, Principal
from securenet_core.sqlalchemy_database import Database, sqlite_url
from securenet_registry.artifacts.disk_store import DiskStore
from securenet_registry.artifacts.manifest import Manifest
from securenet_registry.artifacts.signing import Signer
from securenet_registry.changes import Changes
from securenet_registry.model import ModelVersion, Retraction
from securenet_registry.registration import Registrar
from securenet_registry.sqlalchemy_ledger import SqlalchemyLedger
from securenet_registry.tracking import Mirrored


class FakeTracking:
    """A :class:`securenet_registry.tracking.ModelTracking` in memory, which may be away."""

    def __init__(self) -> None:
        self.versions: dict[str, list[str]] = {}
        self.pointed: dict[str, dict[str, int]] = {}
        self.away = False
        self.retracted: list[Retraction] = []
        self.remote = False

    def log_version(self, version: ModelVersion, manifest: Manifest, files: Mapping[str, Path]) -> Mirrored:
        self.ping()
        assert all(path.is_file() for path in files.values())
        known = self.versions.setdefault(f"{version.tenant}.{version.model}", [])
        if version.resource not in known:
            known.append(version.resource)
        return Mirrored(f"run-{version.version}", known.index(version.resource) + 1)

    def retract(self, retraction: Retraction) -> None:
        self.ping()
        self.retracted.append(retraction)

    def aliases(self, tenant: str, model: str) -> Mapping[str, int]:
        self.ping()
        return dict(self.pointed.setdefault(f"{tenant}.{model}", {}))

    def set_alias(self, tenant: str, model: str, alias: str, version: int) -> None:
        self.ping()
        self.pointed[f"{tenant}.{model}"][alias] = version

    def delete_alias(self, tenant: str, model: str, alias: str) -> None:
        del self.pointed[f"{tenant}.{model}"][alias]

    def ping(self) -> str:
        if self.away:
            raise ConnectionError("tracking is away")
        return "memory"


@pytest.fixture
def who() -> Principal:
    return Principal("tester", "north", ALL_ROLES)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqlalchemyLedger]:
    database = Database(
        sqlite_url(tmp_path / "registry.sqlite"), Path(securenet_registry.__file__).parent / "migrations"
    )
    await database.open()
    yield SqlalchemyLedger(database)
    await database.close()


@pytest.fixture
def artifacts(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "artifacts")


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "keys" / "signing.pem", tmp_path / "keys" / "signing.pub.pem")


@pytest.fixture
async def changes() -> Changes:
    return Changes()


@pytest.fixture
def registrar(ledger: SqlalchemyLedger, artifacts: DiskStore, signer: Signer, changes: Changes) -> Registrar:
    return Registrar(ledger, artifacts, signer, None, changes)


@pytest.fixture
def tracking() -> FakeTracking:
    return FakeTracking()
