"""Uploads with an inspector that says what the test wants."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from securenet_core.exceptions import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    ResourceExhaustedError,
)
from securenet_core.principal import Principal
from securenet_registry.artifacts.disk_store import DiskStore
from securenet_registry.artifacts.signing import Signer
from securenet_registry.changes import Changes
from securenet_registry.model import ArtifactFormat
from securenet_registry.quota import Quota
from securenet_registry.registration import Draft, Registrar
from securenet_registry.sqlalchemy_ledger import SqlalchemyLedger
from securenet_registry.uploads.inspection import Finding
from securenet_registry.uploads.uploads import UploadHeader, Uploads

pytestmark = pytest.mark.unit

DATA = bytes(range(100))
HEADER = UploadHeader(
    "flows", ArtifactFormat.ONNX, len(DATA), hashlib.sha256(DATA).hexdigest(), "", (), {"a": "b"}, "key", "why"
)


class FakeInspector:
    def __init__(self) -> None:
        self.finding = Finding()

    async def inspect(self, folder: Path, name: str, schema_hash: str) -> Finding:
        assert (folder / name).read_bytes() == DATA
        (folder / name).write_bytes(b"harmed")
        return self.finding


@pytest.fixture
def inspector() -> FakeInspector:
    return FakeInspector()


@pytest.fixture
def uploads(ledger: SqlalchemyLedger, registrar: Registrar, inspector: FakeInspector, tmp_path: Path) -> Uploads:
    return Uploads(ledger, registrar, inspector, tmp_path / "uploads", limit=1000, expiry=60)


async def chunks(start: int = 0, stop: int = 100, step: int = 30) -> AsyncIterator[tuple[int, bytes]]:
    for offset in range(start, stop, step):
        yield offset, DATA[offset : min(offset + step, stop)]


async def test_whole_in_one_go(uploads: Uploads, who: Principal, tmp_path: Path) -> None:
    version = await uploads.receive(who, HEADER, chunks())
    # What the inspector did to its copy does not matter.
    assert version.digest == HEADER.digest
    assert version.tags == {"a": "b"}
    assert (await uploads.receive(who, HEADER, chunks(0, 0))).version == version.version
    status = await uploads.status(who, "key")
    assert status.version is not None
    assert status.committed_bytes == 100
    assert not list((tmp_path / "uploads").iterdir())


async def test_broken_off_and_taken_up(uploads: Uploads, who: Principal) -> None:
    with pytest.raises(FailedPreconditionError, match="after 60 of 100"):
        await uploads.receive(who, HEADER, chunks(0, 60))
    assert (await uploads.status(who, "key")).committed_bytes == 60
    with pytest.raises(OutOfRangeError, match="go on from 60"):
        await uploads.receive(who, HEADER, chunks(70))
    with pytest.raises(OutOfRangeError, match="100 were announced"):
        await uploads.receive(who, HEADER, _overrun())
    with pytest.raises(InvalidArgumentError, match="used for another upload"):
        await uploads.receive(who, replace(HEADER, model="other"), chunks())
    # Overlap is skipped, not written twice.
    assert (await uploads.receive(who, HEADER, chunks(30))).digest == HEADER.digest


async def _overrun() -> AsyncIterator[tuple[int, bytes]]:
    yield 60, b"x" * 41


async def test_wrong_bytes_and_refused_models_leave_nothing(
    uploads: Uploads, inspector: FakeInspector, who: Principal, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgumentError, match="the bytes have"):
        await uploads.receive(who, replace(HEADER, digest="0" * 64), chunks())
    inspector.finding = Finding("it is bent")
    with pytest.raises(FailedPreconditionError, match="it is bent"):
        await uploads.receive(who, replace(HEADER, request_id="other"), chunks())
    assert not list((tmp_path / "uploads").iterdir())


async def test_two_streams_of_one_upload(uploads: Uploads, who: Principal) -> None:
    async def outer() -> AsyncIterator[tuple[int, bytes]]:
        with pytest.raises(AbortedError, match="another stream"):
            await uploads.receive(who, HEADER, chunks())
        yield 0, DATA

    assert (await uploads.receive(who, HEADER, outer())).version == 1


async def test_what_is_not_even_received(uploads: Uploads, who: Principal) -> None:
    with pytest.raises(InvalidArgumentError, match="joblib"):
        await uploads.receive(who, replace(HEADER, format=ArtifactFormat.JOBLIB), chunks())
    with pytest.raises(ResourceExhaustedError, match="at most 1,000"):
        await uploads.receive(who, replace(HEADER, size_bytes=1 << 40), chunks())
    with pytest.raises(NotFoundError):
        await uploads.status(who, "key")


async def test_uploads_are_the_tenants_own_and_are_forgotten(uploads: Uploads, who: Principal, tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError):
        await uploads.receive(who, HEADER, chunks(0, 60))
    with pytest.raises(NotFoundError):
        await uploads.status(replace(who, tenant="south"), "key")
    uploads.forget_expired()
    assert len(list((tmp_path / "uploads").iterdir())) == 1
    uploads._expiry = -1
    uploads.forget_expired()
    assert not list((tmp_path / "uploads").iterdir())


async def test_a_tenant_keeps_no_more_than_its_quota(
    ledger: SqlalchemyLedger, registrar: Registrar, inspector: FakeInspector, who: Principal, tmp_path: Path
) -> None:
    uploads = Uploads(
        ledger, registrar, inspector, tmp_path / "uploads", limit=1000, expiry=60, quota=Quota(len(DATA) * 3 // 2)
    )
    other, south = replace(HEADER, request_id="other"), replace(who, tenant="south")
    with pytest.raises(FailedPreconditionError, match="ended after"):
        await uploads.receive(who, HEADER, chunks(0, 60))
    # What was announced counts from then on, but not against itself.
    with pytest.raises(ResourceExhaustedError, match="200 bytes with what is kept already; at most 150"):
        await uploads.receive(who, other, chunks())
    assert (await uploads.receive(who, HEADER, chunks(60))).version == 1
    with pytest.raises(ResourceExhaustedError, match="delete versions"):
        await uploads.receive(who, other, chunks())
    assert (await uploads.receive(south, other, chunks())).version == 1


async def test_a_refused_upload_does_not_count(
    ledger: SqlalchemyLedger, registrar: Registrar, inspector: FakeInspector, who: Principal, tmp_path: Path
) -> None:
    uploads = Uploads(ledger, registrar, inspector, tmp_path / "uploads", limit=1000, expiry=60, quota=Quota(len(DATA)))
    inspector.finding = Finding(refusal="it is none")
    with pytest.raises(FailedPreconditionError, match="it is none"):
        await uploads.receive(who, HEADER, chunks())
    inspector.finding = Finding()
    assert (await uploads.receive(who, replace(HEADER, request_id="other"), chunks())).version == 1


async def test_what_is_trained_keeps_within_the_quota_and_shared_bytes_count_once(  # noqa: PLR0917 - fixtures
    ledger: SqlalchemyLedger, artifacts: DiskStore, signer: Signer, changes: Changes, who: Principal, tmp_path: Path
) -> None:
    registrar = Registrar(ledger, artifacts, signer, None, changes, quota=Quota(len(DATA) + 5))
    files = {"model.skops": tmp_path / "model.skops", "more": tmp_path / "more"}
    files["model.skops"].write_bytes(DATA)
    for number in (1, 2):
        files["more"].write_bytes(b"12345")
        draft = Draft("flows", ArtifactFormat.SKOPS, "model.skops", files)
        assert (await registrar.register(who, draft, lambda _tx, _version: None)).version == number
    files["more"].write_bytes(b"another")
    with pytest.raises(ResourceExhaustedError, match="112 bytes"):
        await registrar.register(who, draft, lambda _tx, _version: None)
    assert await ledger.read(who.tenant, lambda tx: tx.version("flows", 3)) is None
