"""Removes what nothing refers to any more: blobs, manifests without a version, uploads that nobody went on with."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from securenet_core.principal import Principal
from securenet_registry.artifacts.store import ArtifactStore, Blob
from securenet_registry.ledger import Ledger, References
from securenet_registry.uploads.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Garbage:
    """What was found, or went.

    Attributes:
        blobs: that nothing refers to.
        grace_ns: least age that they had.
    """

    blobs: tuple[Blob, ...]
    grace_ns: int


class Collection:
    """Marks from what versions of all tenants refer to, since tenants with the same bytes share them.

    What serves, what a rollback would go back to and what is downloaded all belong to versions, which cannot be deleted
    while an alias or a rollback needs them.

    Args:
        grace: seconds for which a blob is kept where the caller does not say otherwise.
    """

    def __init__(self, ledger: Ledger, artifacts: ArtifactStore, uploads: Uploads, *, grace: float) -> None:
        self._ledger = ledger
        self._artifacts = artifacts
        self._uploads = uploads
        self._grace_ns = int(grace * 1e9)
        self._turn = asyncio.Lock()

    async def collect(self, who: Principal, grace_ns: int | None, *, validate_only: bool) -> Garbage:
        """Removes what is garbage, or says what would go. What is registered meanwhile is safe, whatever the grace.

        Args:
            grace_ns: least age of a blob; None for the default.
            validate_only: remove nothing.
        """
        grace_ns = self._grace_ns if grace_ns is None else grace_ns
        async with self._turn:
            # In this order: what is stored from here on is not looked at, and what was before has its version by then.
            before_ns = await asyncio.to_thread(self._artifacts.collectable_before_ns, grace_ns)
            references = await self._ledger.references()
            if validate_only:
                return await asyncio.to_thread(self._found, references, before_ns, grace_ns)
            garbage = await asyncio.to_thread(self._remove, references, before_ns, grace_ns)
            freed = {"blobs": len(garbage.blobs), "bytes": sum(blob.size_bytes for blob in garbage.blobs)}
            await self._ledger.run(
                who.tenant,
                lambda tx: tx.append_audit(who.subject, "collect-garbage", "blobs", freed, time.time_ns()),
            )
            return garbage

    def _found(self, references: References, before_ns: int, grace_ns: int) -> Garbage:
        unused = (blob for blob in self._artifacts.blobs(before_ns) if blob.digest not in references.digests)
        return Garbage(tuple(unused), grace_ns)

    def _remove(self, references: References, before_ns: int, grace_ns: int) -> Garbage:
        for stored in list(self._artifacts.manifests(before_ns)):
            if (stored.tenant, stored.model, stored.version) not in references.versions:
                self._artifacts.delete_manifest(stored.tenant, stored.model, stored.version)
        self._artifacts.delete_unfinished(before_ns)
        self._uploads.forget_expired()
        unused = self._found(references, before_ns, grace_ns).blobs
        return Garbage(tuple(blob for blob in unused if self._artifacts.delete_blob(blob.digest, before_ns)), grace_ns)
