"""Models and versions: make, look up, list, delete."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from securenet_core.exceptions import AlreadyExistsError, FailedPreconditionError, NotFoundError, PreconditionViolation
from securenet_core.principal import Principal
from securenet_registry import requests
from securenet_registry.artifacts.store import ArtifactStore
from securenet_registry.changes import Changes
from securenet_registry.ledger import Ledger, LedgerTransaction
from securenet_registry.model import EventKind, Model, ModelVersion, VersionReference


def find_model(tx: LedgerTransaction, name: str) -> Model:
    """The model.

    Raises:
        NotFoundError: there is none of that name in the tenant.
    """
    model = tx.model(name)
    if model is None:
        raise NotFoundError(f"models/{name}: there is no such model", reason="MODEL_NOT_FOUND")
    return model


def find_version(tx: LedgerTransaction, reference: VersionReference) -> ModelVersion:
    """The version that a reference means.

    Raises:
        NotFoundError: there is none, or the alias points nowhere.
    """
    model = find_model(tx, reference.model)
    if reference.digest:
        version, said = tx.version_by_digest(model.name, reference.digest), f"sha256:{reference.digest}"
    elif reference.alias:
        alias = model.alias(reference.alias)
        version, said = (tx.version(model.name, alias.version) if alias else None), reference.alias
    else:
        version, said = tx.version(model.name, reference.number), str(reference.number)
    if version is None:
        raise NotFoundError(
            f"models/{model.name}/versions/{said}: there is no such version", reason="VERSION_NOT_FOUND"
        )
    return version


class Catalog:
    """Use-cases around models and versions of the caller's tenant."""

    def __init__(self, ledger: Ledger, artifacts: ArtifactStore, changes: Changes) -> None:
        self._ledger = ledger
        self._artifacts = artifacts
        self._changes = changes

    async def create_model(
        self, who: Principal, name: str, description: str, tags: Mapping[str, str], request_id: str
    ) -> Model:
        """Makes an empty model.

        Raises:
            AlreadyExistsError: there is one of that name.
        """
        request = {"name": name, "description": description, "tags": dict(tags)}
        now = time.time_ns()

        def work(tx: LedgerTransaction) -> Model:
            if requests.remembered(tx, "CreateModel", request_id, request) is None:
                if tx.model(name) is not None:
                    raise AlreadyExistsError(f"models/{name}: there is such a model already", reason="MODEL_EXISTS")
                add_model(tx, who, name, description, tags, now)
                requests.remember(tx, "CreateModel", request_id, request, now)
            return find_model(tx, name)

        model = await self._ledger.run(who.tenant, work)
        self._changes.notify((who.tenant, name))
        return model

    async def model(self, who: Principal, name: str) -> Model:
        """A model."""
        return await self._ledger.read(who.tenant, lambda tx: find_model(tx, name))

    async def models(self, who: Principal, after: str, limit: int) -> Sequence[Model]:
        """Models by name, those after a name."""
        return await self._ledger.read(who.tenant, lambda tx: tx.models(after, limit))

    async def version(self, who: Principal, reference: VersionReference) -> ModelVersion:
        """A version."""
        return await self._ledger.read(who.tenant, lambda tx: find_version(tx, reference))

    async def versions(self, who: Principal, model: str, before: int, limit: int) -> Sequence[ModelVersion]:
        """Versions, the latest first, those below a number (0: all)."""
        return await self._ledger.read(who.tenant, lambda tx: tx.versions(find_model(tx, model).name, before, limit))

    async def delete_model(self, who: Principal, name: str, reason: str, request_id: str) -> int:
        """Removes a model with its versions; answers how many they were.

        Raises:
            FailedPreconditionError: an alias points at a version of it.
        """
        request = {"name": name}
        now = time.time_ns()

        def work(tx: LedgerTransaction) -> tuple[int, list[int]]:
            answer = requests.remembered(tx, "DeleteModel", request_id, request)
            if answer is not None:
                return int(answer["versions"]), []
            model = find_model(tx, name)
            if model.aliases:
                held = [
                    PreconditionViolation("alias", a.alias, f"points at version {a.version}") for a in model.aliases
                ]
                raise FailedPreconditionError(
                    f"models/{name}: {', '.join(a.alias for a in model.aliases)} points at a version of it",
                    reason="MODEL_HELD",
                    preconditions=held,
                )
            numbers = [version.version for version in tx.versions(name, 0, 1_000_000)]
            count = tx.delete_model(name)
            tx.add_event(name, EventKind.MODEL_DELETED, now)
            tx.append_audit(who.subject, "delete-model", model.resource, {"reason": reason, "versions": count}, now)
            requests.remember(tx, "DeleteModel", request_id, request, now, versions=count)
            return count, numbers

        count, numbers = await self._ledger.run(who.tenant, work)
        for number in numbers:
            self._artifacts.delete_manifest(who.tenant, name, number)
        self._changes.notify((who.tenant, name))
        return count

    async def delete_version(self, who: Principal, reference: VersionReference, reason: str, request_id: str) -> None:
        """Removes a version.

        Raises:
            FailedPreconditionError: an alias points at it, or would after a rollback.
        """
        request = {"model": reference.model, "version": reference.number}
        now = time.time_ns()

        def work(tx: LedgerTransaction) -> int:
            if requests.remembered(tx, "DeleteModelVersion", request_id, request) is not None:
                return 0
            version = find_version(tx, reference)
            held = [
                PreconditionViolation(
                    "alias", a.alias, "points at it" if a.version == version.version else "rolls back to it"
                )
                for a in find_model(tx, version.model).aliases
                if version.version in (a.version, a.previous_version)
            ]
            if held:
                said = "; ".join(f"{violation.subject} {violation.description}" for violation in held)
                raise FailedPreconditionError(f"{version.resource}: {said}", reason="VERSION_HELD", preconditions=held)
            tx.delete_version(version.model, version.version)
            tx.add_event(version.model, EventKind.VERSION_DELETED, now, version.version)
            tx.append_audit(
                who.subject, "delete-version", version.resource, {"reason": reason, "digest": version.digest}, now
            )
            requests.remember(tx, "DeleteModelVersion", request_id, request, now)
            return version.version

        deleted = await self._ledger.run(who.tenant, work)
        if deleted:
            self._artifacts.delete_manifest(who.tenant, reference.model, deleted)
        self._changes.notify((who.tenant, reference.model))


def add_model(  # noqa: PLR0917 - what a model consists of
    tx: LedgerTransaction, who: Principal, name: str, description: str, tags: Mapping[str, str], now_ns: int
) -> None:
    """Adds a model that is not there, with event and audit."""
    tx.create_model(name, description, tags, now_ns)
    tx.add_event(name, EventKind.MODEL_CREATED, now_ns)
    tx.append_audit(who.subject, "create-model", f"models/{name}", {"description": description}, now_ns)
