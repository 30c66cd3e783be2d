"""What nothing refers to goes; what is referred to, or is being stored, stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from securenet_core.principal import ALL_ROLES, Principal
from securenet_registry.artifacts.disk_store import DiskStore
from securenet_registry.artifacts.store import Blob, SignedManifest
from securenet_registry.catalog import Catalog
from securenet_registry.changes import Changes
from securenet_registry.collection import Collection
from securenet_registry.model import ArtifactFormat, ModelVersion, VersionReference
from securenet_registry.registration import Draft, Registrar
from securenet_registry.sqlalchemy_ledger import SqlalchemyLedger
from securenet_registry.uploads.inspection import Finding
from securenet_registry.uploads.uploads import Uploads

pytestmark = pytest.mark.unit

HOUR_NS = 3600 * 10**9


class NobodyUploads:
    """An inspector that is never asked."""

    async def inspect(self, _folder: Path, _name: str, _schema: str) -> Finding:
        raise AssertionError


@pytest.fixture
def uploads(ledger: SqlalchemyLedger, registrar: Registrar, tmp_path: Path) -> Uploads:
    return Uploads(ledger, registrar, NobodyUploads(), tmp_path / "uploads", limit=1 << 20, expiry=60.0)


@pytest.fixture
def collection(ledger: SqlalchemyLedger, artifacts: DiskStore, uploads: Uploads) -> Collection:
    return Collection(ledger, artifacts, uploads, grace=3600.0)


async def register(registrar: Registrar, who: Principal, folder: Path, *contents: bytes) -> ModelVersion:
    files = {f"part-{at}": folder / f"{time.time_ns()}-{at}" for at in range(len(contents))}
    for path, content in zip(files.values(), contents, strict=True):
        path.write_bytes(content)
    draft = Draft("flows", ArtifactFormat.SKOPS, "part-0", files)
    return await registrar.register(who, draft, lambda _tx, _version: None)


def age(tmp_path: Path, seconds: float = 60.0) -> None:
    """Makes everything in the store as old as that."""
    then = time.time() - seconds
    for place in (tmp_path / "artifacts").rglob("*"):
        os.utime(place, (then, then))


async def test_bytes_go_with_the_last_version_that_needs_them(  # noqa: PLR0917 - fixtures
    collection: Collection, ledger: SqlalchemyLedger, registrar: Registrar, artifacts: DiskStore, changes: Changes,
    who: Principal, tmp_path: Path,
) -> None:  # fmt: skip
    other = Principal("somebody", "south", ALL_ROLES)
    await register(registrar, who, tmp_path, b"own", b"shared")
    await register(registrar, other, tmp_path, b"theirs", b"shared")
    age(tmp_path)
    assert (await collection.collect(who, 0, validate_only=False)).blobs == ()
    await Catalog(ledger, artifacts, changes).delete_version(who, VersionReference("flows", number=1), "", "")
    own = Blob("5b3975651c3cab92d044c096dc30a1c2d9525497457472de48c51ecb363d1f4a", 3)
    # Too young for what is usual here.
    assert (await collection.collect(who, None, validate_only=False)).blobs == ()
    assert (await collection.collect(who, 0, validate_only=True)).blobs == (own,)
    assert artifacts.verify(own.digest)
    assert (await collection.collect(who, 0, validate_only=False)).blobs == (own,)
    assert not artifacts.verify(own.digest)
    assert all(artifacts.verify(file.digest) for file in (await theirs(ledger, other)).files)
    entry = next(iter(await ledger.read(who.tenant, lambda tx: tx.audit(0, 1, ""))))
    assert (entry.action, entry.detail) == ("collect-garbage", '{"blobs": 1, "bytes": 3}')


async def theirs(ledger: SqlalchemyLedger, other: Principal) -> ModelVersion:
    version = await ledger.read(other.tenant, lambda tx: tx.version("flows", 1))
    assert version is not None
    return version


async def test_what_a_crash_left_goes(
    collection: Collection, artifacts: DiskStore, uploads: Uploads, who: Principal, tmp_path: Path
) -> None:
    """Bytes and a manifest whose version was never committed, and an upload that nobody goes on with."""
    blob = artifacts.put([b"orphan"])
    artifacts.put_manifest("north", "flows", 7, SignedManifest(b"{}", b"", "key"))
    part = tmp_path / "uploads" / "abandoned.part"
    part.write_bytes(b"half")
    os.utime(part, (0, 0))
    age(tmp_path)
    assert (await collection.collect(who, 0, validate_only=True)).blobs == (blob,)
    assert list(artifacts.versions("north")) == [("flows", 7)]
    assert (await collection.collect(who, 0, validate_only=False)).blobs == (blob,)
    assert list(artifacts.versions("north")) == []
    assert not part.exists()


async def test_what_is_being_registered_stays_whatever_the_grace(  # noqa: PLR0917 - fixtures
    collection: Collection, ledger: SqlalchemyLedger, registrar: Registrar, artifacts: DiskStore, who: Principal,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Its bytes were stored long ago for a version that is gone, and are stored again for one that is not yet there."""
    orphan = artifacts.put([b"again"])
    age(tmp_path)
    place = tmp_path / "model"
    place.write_bytes(b"again")
    with artifacts.hold():
        artifacts.put_file(place)
        assert (await collection.collect(who, 0, validate_only=False)).blobs == ()
    version = await register(registrar, who, tmp_path, b"again")
    age(tmp_path)
    assert version.digest == orphan.digest
    assert (await collection.collect(who, 0, validate_only=False)).blobs == ()
    assert artifacts.verify(orphan.digest)


def test_a_blob_that_was_stored_again_since_is_not_deleted(artifacts: DiskStore, tmp_path: Path) -> None:
    blob = artifacts.put([b"twice"])
    age(tmp_path)
    before_ns = artifacts.collectable_before_ns(0)
    time.sleep(0.2)
    artifacts.put([b"twice"])
    assert not artifacts.delete_blob(blob.digest, before_ns)
    age(tmp_path)
    assert artifacts.delete_blob(blob.digest, before_ns)
    assert not artifacts.delete_blob(blob.digest, before_ns)


def test_the_hold_of_a_process_that_was_killed_holds_nothing(artifacts: DiskStore, tmp_path: Path) -> None:
    (tmp_path / "artifacts" / "holds" / "left-behind").touch()
    age(tmp_path, 7200)
    assert artifacts.collectable_before_ns(0) > time.time_ns() - HOUR_NS
    assert list((tmp_path / "artifacts" / "holds").iterdir()) == []
    with artifacts.hold():
        age(tmp_path, 7200)
        assert artifacts.collectable_before_ns(0) < time.time_ns() - HOUR_NS


def test_a_store_that_opens_leaves_alone_what_another_process_writes_now(artifacts: DiskStore, tmp_path: Path) -> None:
    incoming = tmp_path / "artifacts" / "incoming"
    (incoming / "half").write_bytes(b"half")
    with artifacts.hold():
        time.sleep(0.2)
        (incoming / "now").write_bytes(b"more")
        DiskStore(tmp_path / "artifacts")
        assert {place.name for place in incoming.iterdir()} >= {"now"}
