"""Receives a model in pieces, and makes a version of it once it is whole and was checked."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from securenet_core.exceptions import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    ResourceExhaustedError,
)
from securenet_core.principal import Principal
from securenet_registry.ledger import Ledger, LedgerTransaction
from securenet_registry.model import ArtifactFormat, ModelVersion, UploadRecord
from securenet_registry.quota import Quota
from securenet_registry.registration import Draft, Registrar
from securenet_registry.training.evaluation import Metric
from securenet_registry.uploads.inspection import Finding, Inspector

#: Free bytes that the disk must keep after a whole upload.
_RESERVE: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class UploadHeader:
    """What was announced of an upload. Digest is SHA-256 in hex."""

    model: str
    format: ArtifactFormat
    size_bytes: int
    digest: str
    feature_schema_hash: str
    metrics: tuple[Metric, ...]
    tags: dict[str, str]
    request_id: str
    description: str

    def document(self) -> dict[str, Any]:
        """What must be the same where an upload goes on."""
        return {
            "model": self.model,
            "format": self.format.value,
            "size_bytes": self.size_bytes,
            "digest": self.digest,
            "feature_schema_hash": self.feature_schema_hash,
        }


@dataclass(frozen=True, slots=True)
class UploadStatus:
    """How far an upload is: bytes stored and in all, the version that it became, and when it is forgotten."""

    request_id: str
    committed_bytes: int
    size_bytes: int
    version: ModelVersion | None
    expire_ns: int


class Uploads:
    """Use-cases around uploads.

    Args:
        folder: where parts lie.
        limit: largest model, bytes.
        expiry: seconds after which an upload that nobody goes on with is forgotten.
    """

    def __init__(
        self,
        ledger: Ledger,
        registrar: Registrar,
        inspector: Inspector,
        folder: Path,
        *,
        limit: int,
        expiry: float,
        quota: Quota = Quota(),  # noqa: B008 - it cannot be changed
    ) -> None:
        self._ledger = ledger
        self._registrar = registrar
        self._inspector = inspector
        self._folder = folder
        self._limit = limit
        self._expiry = expiry
        self._quota = quota
        self._busy: set[Path] = set()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def forget_checks(self) -> None:
        """Removes the folders of checks that a service was killed at; for its start."""
        for folder in self._folder.glob("*.check"):
            shutil.rmtree(folder, ignore_errors=True)

    def forget_expired(self) -> None:
        """Removes parts that nobody went on with."""
        for part in self._folder.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > self._expiry:
                    shutil.rmtree(part) if part.is_dir() else part.unlink()

    async def receive(
        self, who: Principal, header: UploadHeader, chunks: AsyncIterator[tuple[int, bytes]]
    ) -> ModelVersion:
        """Receives the chunks of an upload, from where an earlier try broke off, and registers the version.

        Raises:
            InvalidArgumentError: the format is refused, the key was used for another upload, or the bytes are not those
                that were announced.
            ResourceExhaustedError: too large, over the tenant's quota, or the disk is full.
            OutOfRangeError: a chunk leaves a gap, or passes the announced size.
            FailedPreconditionError: the stream ended early, or the check found something.
            AbortedError: another stream sends the same upload now.
        """
        self._accept(header)
        part = self._part(who, header.request_id)
        known = await self._ledger.read(who.tenant, lambda tx: tx.upload(header.request_id))
        if known is not None and known.header != header.document():
            raise InvalidArgumentError.of(
                "header.request_id", f"{header.request_id!r} was used for another upload; expected a new key"
            )
        if known is not None and known.version:
            done = await self._version(who, header.model, known.version)
            if done is not None:
                return done
        if part in self._busy:
            raise AbortedError("another stream sends this upload now", reason="UPLOAD_BUSY")
        self._busy.add(part)
        try:
            await self._begin(who, header)
            await self._store(part, header, chunks)
            return await self._finish(who, part, header)
        finally:
            self._busy.discard(part)

    async def status(self, who: Principal, request_id: str) -> UploadStatus:
        """How far an upload is.

        Raises:
            NotFoundError: no upload bears that key.
        """
        record = await self._ledger.read(who.tenant, lambda tx: tx.upload(request_id))
        stored = await asyncio.to_thread(_stored, self._part(who, request_id))
        if record is None or (not record.version and not stored and record.expire_ns < time.time_ns()):
            raise NotFoundError(f"uploads/{request_id}: there is no such upload", reason="UPLOAD_NOT_FOUND")
        size = int(record.header["size_bytes"])
        version = await self._version(who, str(record.header["model"]), record.version) if record.version else None
        return UploadStatus(request_id, size if version else stored, size, version, record.expire_ns)

    def _accept(self, header: UploadHeader) -> None:
        if header.format is ArtifactFormat.JOBLIB:
            raise InvalidArgumentError(
                "header.format: joblib runs whatever code the file names when it is opened; expected skops or ONNX",
                reason="FORMAT_REFUSED",
            )
        if header.size_bytes > self._limit:
            raise ResourceExhaustedError(
                f"header.size_bytes: {header.size_bytes:,}; at most {self._limit:,} are accepted", reason="TOO_LARGE"
            )
        if shutil.disk_usage(self._folder).free < 2 * header.size_bytes + _RESERVE:
            raise ResourceExhaustedError("the disk has no room for it", reason="DISK_FULL", retry_after=300.0)

    async def _store(self, part: Path, header: UploadHeader, chunks: AsyncIterator[tuple[int, bytes]]) -> None:
        stored = await asyncio.to_thread(_stored, part)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as stream:
            try:
                async for offset, data in chunks:
                    if offset > stored:
                        raise OutOfRangeError(f"chunk.offset: {offset}; go on from {stored}", reason="UPLOAD_GAP")
                    if offset + len(data) > header.size_bytes:
                        raise OutOfRangeError(
                            f"chunk.offset: {offset} + {len(data)} bytes; {header.size_bytes} were announced",
                            reason="UPLOAD_OVERRUN",
                        )
                    fresh = data[stored - offset :]
                    await asyncio.to_thread(stream.write, fresh)
                    stored += len(fresh)
            finally:
                # What was received counts from here on, also where the caller went away.
                stream.flush()
                os.fsync(stream.fileno())
        if stored < header.size_bytes:
            raise FailedPreconditionError(
                f"the stream ended after {stored} of {header.size_bytes} bytes; go on from there",
                reason="UPLOAD_INCOMPLETE",
                metadata={"committed_bytes": str(stored)},
            )

    async def _finish(self, who: Principal, part: Path, header: UploadHeader) -> ModelVersion:
        # Its own for each try: of a service that was killed, a check may still run.
        folder = part.with_suffix(f".{uuid.uuid4().hex}.check")
        name = f"model.{header.format.value}"
        try:
            await asyncio.to_thread(_lay_out, part, folder / name, header.digest)
            finding = await self._inspector.inspect(folder, name, header.feature_schema_hash)
            _let_pass(finding)
            draft = Draft(
                model=header.model,
                format=header.format,
                source=name,
                # The bytes whose digest was checked, not the copy that the inspection could write to.
                files={name: part, **{path: folder / path for path in finding.files}},
                metrics=header.metrics,
                stated=True,
                tags=header.tags,
                description=header.description,
                details={**finding.details, "lineage": {"upload": header.request_id}},
            )

            def note(tx: LedgerTransaction, version: ModelVersion) -> None:
                tx.put_upload(UploadRecord(header.request_id, header.document(), version.version, self._expires()))

            version = await self._registrar.register(who, draft, note)
        except (InvalidArgumentError, FailedPreconditionError):
            # These bytes will never do; the next try under the same key begins anew.
            await asyncio.to_thread(part.unlink, missing_ok=True)
            await self._ledger.run(
                who.tenant,
                lambda tx: tx.put_upload(UploadRecord(header.request_id, header.document(), 0, time.time_ns())),
            )
            raise
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await asyncio.to_thread(part.unlink, missing_ok=True)
        return version

    async def _begin(self, who: Principal, header: UploadHeader) -> None:
        record = UploadRecord(header.request_id, header.document(), 0, self._expires())

        def work(tx: LedgerTransaction) -> None:
            self._quota.check(tx, time.time_ns(), upload=header.request_id, more=header.size_bytes)
            tx.put_upload(record)

        await self._ledger.run(who.tenant, work)

    async def _version(self, who: Principal, model: str, number: int) -> ModelVersion | None:
        return await self._ledger.read(who.tenant, lambda tx: tx.version(model, number))

    def _expires(self) -> int:
        return time.time_ns() + int(self._expiry * 1e9)

    def _part(self, who: Principal, request_id: str) -> Path:
        """A name that no caller chooses."""
        return self._folder / f"{hashlib.sha256(f'{who.tenant}/{request_id}'.encode()).hexdigest()}.part"


def _stored(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _let_pass(finding: Finding) -> None:
    if finding.refusal:
        raise FailedPreconditionError(f"refused: {finding.refusal}", reason="MODEL_REFUSED")


def _lay_out(part: Path, copy: Path, digest: str) -> None:
    """Checks the bytes and lays a copy out for the inspection.

    Raises:
        InvalidArgumentError: they are not those that were announced.
    """
    with part.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != digest:
        raise InvalidArgumentError.of("header.digest", f"got {digest}; the bytes have {found}")
    copy.parent.mkdir(mode=0o700)
    shutil.copyfile(part, copy)
