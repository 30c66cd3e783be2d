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
from securenet_registry.model import ArtifactFormat
from securenet_registry.registration import Registrar
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
