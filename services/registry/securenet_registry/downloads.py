"""Hands versions out: manifest and signature first, then bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import StrEnum

from securenet_core.exceptions import DataLossError, NotFoundError, OutOfRangeError
from securenet_core.principal import Principal
from securenet_registry.artifacts.manifest import ArtifactFile, Manifest
from securenet_registry.artifacts.signing import Signer
from securenet_registry.artifacts.store import ArtifactStore, SignedManifest
from securenet_registry.artifacts.trained import TrainedModels
from securenet_registry.catalog import find_version
from securenet_registry.ledger import Ledger
from securenet_registry.model import ModelVersion, VersionReference


class Flavor(StrEnum):
    """Which form is wanted."""

    SOURCE = "source"
    ONNX = "onnx"
    JOBLIB = "joblib"


@dataclass(frozen=True, slots=True)
class Download:
    """What is handed out: the version, which file of it, and the signed manifest that vouches for it."""

    version: ModelVersion
    file: ArtifactFile
    signed: SignedManifest


class Downloads:
    """Use-case of downloads."""

    def __init__(self, ledger: Ledger, artifacts: ArtifactStore, signer: Signer) -> None:
        self._ledger = ledger
        self._artifacts = artifacts
        self._signer = signer

    async def open(self, who: Principal, reference: VersionReference, flavor: Flavor, offset: int) -> Download:
        """Finds what is wanted.

        Raises:
            NotFoundError: there is no such version, or it has not that form.
            OutOfRangeError: the offset lies behind the end.
            DataLossError: the manifest is not the one that was signed.
        """
        version = await self._ledger.read(who.tenant, lambda tx: find_version(tx, reference))
        signed = await asyncio.to_thread(self._artifacts.manifest, version.tenant, version.model, version.version)
        if not self._signer.verify(signed.manifest, signed.signature):
            raise DataLossError(f"{version.resource}: its manifest was changed", reason="MANIFEST_CHANGED")
        manifest = Manifest.decode(signed.manifest)
        path = manifest.source
        if flavor is Flavor.ONNX:
            if manifest.serving is None:
                raise NotFoundError(f"{version.resource}: it has no form for serving", reason="NO_SERVING_FORM")
            path = manifest.serving["file"]
        elif flavor is Flavor.JOBLIB:
            # Whoever opens it must be told apart what was trained here and what came from outside: that is for `find`.
            trained = TrainedModels(self._artifacts, self._signer)
            found = await asyncio.to_thread(trained.find, version.tenant, version.model, version.version)
            path = found.file.path
        file = manifest.file(path)
        if file is None:
            raise DataLossError(f"{version.resource}: its manifest lacks {path}", reason="FILE_MISSING")
        if offset > file.size_bytes:
            raise OutOfRangeError(f"offset {offset}: {path} has {file.size_bytes} bytes", reason="OFFSET_BEHIND_END")
        return Download(version, file, signed)

    async def chunks(self, download: Download, offset: int) -> AsyncIterator[tuple[int, bytes]]:
        """The file's bytes with their offsets."""
        chunks: Iterator[bytes] = self._artifacts.read(download.file.digest, offset)
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield offset, chunk
            offset += len(chunk)
