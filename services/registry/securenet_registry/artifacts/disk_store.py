"""Artifacts in a folder of this machine."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from securenet_core.exceptions import DataLossError
from securenet_core.health import Readiness
from securenet_registry.artifacts.manifest import LIMIT
from securenet_registry.artifacts.store import Blob, SignedManifest, StoredManifest

CHUNK: Final = 1 << 20

#: By how much a file's time may lie before the clock's.
_COARSE_NS: Final = 10**8

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")


class DiskStore:
    """Blobs below ``blobs/sha256``, manifests below ``tenants``.

    Everything is written aside, flushed to the disk and renamed, with mode 0600, so that a name either holds all bytes
    or does not exist. Names are built from digests and checked names alone, never from what a caller sent.

    Args:
        root: the folder; made if it is not there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._holds = root / "holds"
        for folder in (root, self._incoming, self._holds, root / "blobs" / "sha256", root / "tenants"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.delete_unfinished(self.collectable_before_ns(0))

    def put(self, chunks: Iterable[bytes]) -> Blob:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`."""
        digest, size = hashlib.sha256(), 0
        aside = self._incoming / uuid.uuid4().hex
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                for chunk in chunks:
                    stream.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                stream.flush()
                os.fsync(stream.fileno())
            place = self._blob(digest.hexdigest())
            place.parent.mkdir(exist_ok=True, mode=0o700)
            # A collection must not take a blob for unused between this look and what it is stored for.
            with _locked(self._root / "blobs" / "lock"):
                if place.exists():
                    os.utime(place)
                else:
                    aside.replace(place)
                    _sync_folder(place.parent)
        finally:
            aside.unlink(missing_ok=True)
        return Blob(digest.hexdigest(), size)

    def put_file(self, path: Path) -> Blob:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`."""
        return self.put(_chunks(path))

    def read(self, digest: str, offset: int = 0) -> Iterator[bytes]:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`."""
        yield from _chunks(self.local_path(digest), offset)

    def verify(self, digest: str) -> bool:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`."""
        found = hashlib.sha256()
        try:
            for chunk in _chunks(self._blob(digest)):
                found.update(chunk)
        except FileNotFoundError:
            return False
        return found.hexdigest() == digest

    def local_path(self, digest: str) -> Path:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`."""
        place = self._blob(digest)
        if not place.is_file():
            raise DataLossError(f"blob sha256:{digest}: not in the store", reason="BLOB_MISSING")
        return place

    def put_manifest(self, tenant: str, model: str, version: int, signed: SignedManifest) -> None:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`."""
        place = self._version(tenant, model, version)
        aside = self._incoming / uuid.uuid4().hex
        aside.mkdir(mode=0o700)
        _write(aside / "manifest.json", signed.manifest)
        _write(aside / "manifest.sig", signed.signature)
        _write(aside / "signer.json", json.dumps({"key_id": signed.key_id}).encode())
        if signed.bundle:
            _write(aside / "model.sig", signed.bundle.encode())
        _sync_folder(aside)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A folder of that name can only be what a crash left before its version was committed.
        if place.exists():
            shutil.rmtree(place)
        aside.rename(place)
        _sync_folder(place.parent)

    def manifest(self, tenant: str, model: str, version: int) -> SignedManifest:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`."""
        place = self._version(tenant, model, version)
        try:
            if (place / "manifest.json").stat().st_size > LIMIT:
                raise DataLossError(f"{place.name}: its manifest has more than {LIMIT:,} bytes")
            bundle = place / "model.sig"
            return SignedManifest(
                manifest=(place / "manifest.json").read_bytes(),
                signature=(place / "manifest.sig").read_bytes(),
                key_id=str(json.loads((place / "signer.json").read_bytes())["key_id"]),
                bundle=bundle.read_text() if bundle.exists() else "",
            )
        except (OSError, ValueError, KeyError) as error:
            message = f"models/{model}/versions/{version}: its manifest cannot be read: {error}"
            raise DataLossError(message, reason="MANIFEST_MISSING") from error

    def versions(self, tenant: str) -> Iterator[tuple[str, int]]:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`."""
        if not _NAME.fullmatch(tenant):
            raise DataLossError(f"name {tenant!r}: expected lower-case letters, digits and hyphens")
        found = (self._root / "tenants" / tenant / "models").glob("*/*/manifest.json")
        yield from sorted((path.parent.parent.name, int(path.parent.name)) for path in found)

    def delete_manifest(self, tenant: str, model: str, version: int) -> None:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`."""
        place = self._version(tenant, model, version)
        with suppress(FileNotFoundError):
            shutil.rmtree(place)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`.

        A file that is locked: the lock of a process that was killed is gone with it.
        """
        aside = self._incoming / uuid.uuid4().hex
        place = self._holds / aside.name
        with aside.open("xb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            # It is locked from when it has its name.
            aside.rename(place)
            try:
                yield
            finally:
                place.unlink()

    def collectable_before_ns(self, grace_ns: int) -> int:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`."""
        before_ns = time.time_ns() - grace_ns
        for place in self._holds.iterdir():
            with suppress(FileNotFoundError), place.open("rb") as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    before_ns = min(before_ns, os.fstat(stream.fileno()).st_mtime_ns)
                else:
                    # Whoever held it was killed.
                    place.unlink()
        return before_ns - _COARSE_NS

    def blobs(self, before_ns: int) -> Iterator[Blob]:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`."""
        for place in (self._root / "blobs" / "sha256").glob("[0-9a-f][0-9a-f]/*"):
            with suppress(FileNotFoundError):
                found = place.stat()
                if _DIGEST.fullmatch(place.name) and found.st_mtime_ns < before_ns:
                    yield Blob(place.name, found.st_size)

    def manifests(self, before_ns: int) -> Iterator[StoredManifest]:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`."""
        for place in (self._root / "tenants").glob("*/models/*/*"):
            with suppress(FileNotFoundError):
                if place.name.isdigit() and place.stat().st_mtime_ns < before_ns:
                    yield StoredManifest(place.parents[2].name, place.parent.name, int(place.name))

    def delete_unfinished(self, before_ns: int) -> None:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`."""
        for leftover in self._incoming.iterdir():
            with suppress(FileNotFoundError):
                if leftover.stat().st_mtime_ns < before_ns:
                    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def delete_blob(self, digest: str, before_ns: int) -> bool:
        """See :class:`~securenet_registry.artifacts.store.ArtifactStore`."""
        place = self._blob(digest)
        with _locked(self._root / "blobs" / "lock"), suppress(FileNotFoundError):
            if place.stat().st_mtime_ns < before_ns:
                place.unlink()
                return True
        return False

    async def readiness(self) -> Readiness:
        """Whether it can be written to."""
        await asyncio.to_thread(self._touch)
        return Readiness(ready=True, detail="writable")

    def _touch(self) -> None:
        aside = self._incoming / f"probe-{uuid.uuid4().hex}"
        aside.touch(mode=0o600)
        aside.unlink()

    def _blob(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise DataLossError(f"blob {digest!r}: expected a SHA-256 in hexadecimal")
        return self._root / "blobs" / "sha256" / digest[:2] / digest

    def _version(self, tenant: str, model: str, version: int) -> Path:
        for name in (tenant, model):
            if not _NAME.fullmatch(name):
                raise DataLossError(f"name {name!r}: expected lower-case letters, digits and hyphens")
        return self._root / "tenants" / tenant / "models" / model / str(int(version))


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Keeps the processes that share the folder apart; for moments."""
    with place.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _chunks(path: Path, offset: int = 0) -> Iterator[bytes]:
    with path.open("rb") as stream:
        stream.seek(offset)
        while chunk := stream.read(CHUNK):
            yield chunk


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
