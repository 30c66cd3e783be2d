"""Keeps MLflow in step with the ledger. The ledger is the truth; MLflow may be away, and nothing that serves waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from securenet_core.exceptions import SecurenetError
from securenet_core.health import Readiness
from securenet_core.logs import get_logger
from securenet_registry.artifacts.manifest import Manifest
from securenet_registry.artifacts.signing import Signer
from securenet_registry.artifacts.store import ArtifactStore
from securenet_registry.changes import ANYTHING, Changes, woken
from securenet_registry.ledger import Ledger, LedgerTransaction
from securenet_registry.model import Model, ModelVersion, Retraction
from securenet_registry.tracking import Mirrored, ModelTracking

_log = get_logger(__name__)


class Mirror:
    """Logs versions that MLflow lacks, points its aliases where ours point, and removes there what is gone here.

    Args:
        seconds: between two looks without a reason.
    """

    def __init__(
        self,
        ledger: Ledger,
        artifacts: ArtifactStore,
        signer: Signer,
        tracking: ModelTracking,
        *,
        changes: Changes,
        seconds: float,
    ) -> None:
        self._ledger = ledger
        self._artifacts = artifacts
        self._signer = signer
        self._tracking = tracking
        self._changes = changes
        self._seconds = seconds
        # One thread: MLflow's SQLite has one writer, and a slow server must not use up the threads of others.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mlflow")
        self._busy = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._state = Readiness(ready=True, detail="nothing to mirror yet")

    def start(self) -> None:
        """Begins to look, now and then."""
        self._task = asyncio.create_task(self._run(), name="mirror")

    async def stop(self) -> None:
        """Ends after what it does now."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await asyncio.to_thread(self._thread.shutdown)

    async def probe(self) -> Readiness:
        """What came of the last look."""
        return self._state

    def prepare(self) -> None:
        """Loads and connects in the background what the next look will need, since there will be one soon."""
        self._thread.submit(self._ping)

    async def reconcile(self) -> None:
        """One look: versions first, then aliases, then what is gone here."""
        async with self._busy:
            await self._reconcile()

    async def _reconcile(self) -> None:
        # One that cannot be mirrored must not keep the others from it.
        failures: list[Exception] = []
        versions, models = await self._ledger.unmirrored(), await self._ledger.mirrored_models()
        if self._tracking.remote:
            # A server that is away is told of also while there is nothing to bring to it, and is not asked for each.
            await asyncio.get_running_loop().run_in_executor(self._thread, self._tracking.ping)
        for version in versions:
            try:
                await self._mirror_version(version)
            except Exception as error:  # noqa: BLE001 - of whatever kind the tool has; raised below
                failures.append(error)
        # One that came in just now is looked at as well.
        for model in await self._ledger.mirrored_models() if versions else models:
            try:
                await self._mirror_aliases(model)
            except Exception as error:  # noqa: BLE001 - likewise
                failures.append(error)
        for retraction in await self._ledger.retractions():
            try:
                await self._take_back(retraction)
            except Exception as error:  # noqa: BLE001 - likewise
                failures.append(error)
        if failures:
            raise failures[0]

    async def _mirror_version(self, version: ModelVersion) -> None:
        mirrored = await self._in_thread_log(version)
        await self._ledger.run(
            version.tenant,
            lambda tx: tx.set_mirror(version.model, version.version, mirrored.run_id, mirrored.version),
        )

    async def _take_back(self, retraction: Retraction) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._tracking.retract, retraction)
        await self._ledger.run(retraction.tenant, lambda tx: tx.forget_retraction(retraction))

    async def _mirror_aliases(self, model: Model) -> None:
        def pointed_at(tx: LedgerTransaction) -> dict[str, int]:
            versions = {alias.alias: tx.version(model.name, alias.version) for alias in model.aliases}
            return {alias: at.mirror_version for alias, at in versions.items() if at and at.mirror_version is not None}

        wanted = await self._ledger.read(model.tenant, pointed_at)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._repair, model.tenant, model.name, wanted)

    async def _in_thread_log(self, version: ModelVersion) -> Mirrored:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._log_version, version)

    def _ping(self) -> None:
        # The next look says what is wrong, if anything is.
        with contextlib.suppress(Exception):
            self._tracking.ping()

    def _log_version(self, version: ModelVersion) -> Mirrored:
        signed = self._artifacts.manifest(version.tenant, version.model, version.version)
        if not self._signer.verify(signed.manifest, signed.signature):
            raise ValueError(f"{version.resource}: the manifest's signature does not verify")
        manifest = Manifest.decode(signed.manifest)
        files: dict[str, Path] = {file.path: self._artifacts.local_path(file.digest) for file in manifest.files}
        return self._tracking.log_version(version, manifest, files)

    def _repair(self, tenant: str, model: str, wanted: Mapping[str, int]) -> None:
        found = self._tracking.aliases(tenant, model)
        for alias, number in wanted.items():
            if found.get(alias) != number:
                self._tracking.set_alias(tenant, model, alias, number)
        for alias in found.keys() - wanted.keys():
            _log.warning("alias in MLflow that the registry did not set", tenant=tenant, model=model, alias=alias)
            self._tracking.delete_alias(tenant, model, alias)

    async def _run(self) -> None:
        with self._changes.subscribe(ANYTHING) as changed:
            while True:
                try:
                    await self.reconcile()
                    self._turn(Readiness(ready=True, detail="in step"))
                except Exception as error:  # noqa: BLE001 - whatever is wrong with MLflow, serving goes on; we try again
                    said = error.message if isinstance(error, SecurenetError) else f"{type(error).__name__}: {error}"
                    self._turn(Readiness(ready=False, detail=said[:500]))
                await woken(changed, self._seconds)

    def _turn(self, state: Readiness) -> None:
        # A server that is away for a day is told of once, not at every look.
        if state == self._state:
            return
        if not state.ready:
            _log.warning("mirror is behind", error=state.detail)
        elif not self._state.ready:
            _log.info("mirror is in step again")
        self._state = state
