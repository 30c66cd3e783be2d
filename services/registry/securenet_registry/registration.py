"""Makes a version of files that were checked: stores, signs, and commits it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from securenet_core.principal import Principal
from securenet_registry.artifacts.manifest import ArtifactFile, Manifest
from securenet_registry.artifacts.signing import Bundler, Signer
from securenet_registry.artifacts.store import ArtifactStore, SignedManifest
from securenet_registry.catalog import add_model
from securenet_registry.changes import Changes
from securenet_registry.ledger import Ledger, LedgerTransaction
from securenet_registry.model import ArtifactFormat, EventKind, ModelVersion, VersionState
from securenet_registry.quota import Quota
from securenet_registry.training.evaluation import Metric


@dataclass(frozen=True, slots=True)
class Draft:
    """A version before it has a number.

    Attributes:
        model: name of the model; made if it is not there.
        format: of the source form.
        source: path of the source form among the files.
        files: where each file lies now, by its path below the version.
        metrics: measured here, or stated by an uploader.
        stated: the metrics are an uploader's word, so the manifest leaves them out.
        details: fields of the manifest: serving, calibration, golden, thresholds, runtime, feature schema, lineage.
    """

    model: str
    format: ArtifactFormat
    source: str
    files: Mapping[str, Path]
    metrics: Sequence[Metric] = ()
    stated: bool = False
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    sample_count: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)


class Registrar:
    """Registers versions."""

    def __init__(
        self,
        ledger: Ledger,
        artifacts: ArtifactStore,
        signer: Signer,
        bundler: Bundler | None,
        changes: Changes,
        *,
        quota: Quota = Quota(),  # noqa: B008 - it cannot be changed
    ) -> None:
        self._ledger = ledger
        self._artifacts = artifacts
        self._signer = signer
        self._bundler = bundler
        self._changes = changes
        self._quota = quota

    async def register(
        self, who: Principal, draft: Draft, commit: Callable[[LedgerTransaction, ModelVersion], None]
    ) -> ModelVersion:
        """Registers a version: first its bytes, then, in one transaction, version, event, audit and what `commit` adds.

        A crash before that transaction leaves an unused number and bytes that a collection removes, and so does a
        refusal.

        Raises:
            ResourceExhaustedError: the tenant's quota has no room for it.
        """
        now = time.time_ns()

        def take_number(tx: LedgerTransaction) -> int:
            if tx.model(draft.model) is None:
                add_model(tx, who, draft.model, "", {}, now)
            return tx.take_version_number(draft.model, now)

        number = await self._ledger.run(who.tenant, take_number)
        with self._artifacts.hold():
            version = await asyncio.to_thread(self._store, who, draft, number, now)

            def add(tx: LedgerTransaction) -> None:
                tx.add_version(version)
                tx.add_event(draft.model, EventKind.VERSION_REGISTERED, now, number)
                detail = {"digest": version.digest, "format": draft.format.value, "signed_by": self._signer.key_id}
                tx.append_audit(who.subject, "register", version.resource, detail, now)
                commit(tx, version)
                self._quota.check(tx, now)

            await self._ledger.run(who.tenant, add)
        self._changes.notify((who.tenant, draft.model))
        return version

    def _store(self, who: Principal, draft: Draft, number: int, now_ns: int) -> ModelVersion:
        files: list[ArtifactFile] = []
        for path, place in sorted(draft.files.items()):
            blob = self._artifacts.put_file(place)
            files.append(ArtifactFile(path, blob.size_bytes, blob.digest))
        source = next(file for file in files if file.path == draft.source)
        manifest = Manifest(
            tenant=who.tenant,
            model=draft.model,
            version=number,
            source=draft.source,
            format=draft.format.value,
            files=files,
            metrics=() if draft.stated else tuple(draft.metrics),
            params=dict(draft.params),
            sample_count=draft.sample_count,
            created_by=who.subject,
            created_at=datetime.fromtimestamp(now_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
            **draft.details,
        )
        encoded = manifest.encode()
        bundle = self._bundler.bundle(draft.files, self._signer.private_key_file) if self._bundler else ""
        signed = SignedManifest(encoded, self._signer.sign(encoded), self._signer.key_id, bundle)
        self._artifacts.put_manifest(who.tenant, draft.model, number, signed)
        return ModelVersion(
            tenant=who.tenant,
            model=draft.model,
            version=number,
            state=VersionState.READY,
            format=draft.format,
            digest=source.digest,
            size_bytes=source.size_bytes,
            files=tuple(files),
            create_ns=now_ns,
            created_by=who.subject,
            feature_schema_hash=manifest.feature_schema_hash,
            metrics=tuple(draft.metrics),
            params=dict(draft.params),
            tags=dict(draft.tags),
            sample_count=draft.sample_count,
            runtime=dict(manifest.runtime),
            description=draft.description,
        )
