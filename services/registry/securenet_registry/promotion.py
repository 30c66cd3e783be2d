"""Moves aliases: gates first, then one transaction that moves the alias, writes history, event and audit."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from securenet_core.exceptions import (
    AbortedError,
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionViolation,
)
from securenet_core.principal import Principal, Role
from securenet_registry import requests
from securenet_registry.artifacts.manifest import Manifest
from securenet_registry.artifacts.signing import Signer
from securenet_registry.artifacts.store import ArtifactStore
from securenet_registry.artifacts.trained import JOBLIB, TrainedModels
from securenet_registry.catalog import find_model, find_version
from securenet_registry.changes import Changes
from securenet_registry.ledger import Ledger, LedgerTransaction
from securenet_registry.model import (
    Alias,
    EventKind,
    Gate,
    ModelVersion,
    Promotion,
    PromotionState,
    VersionReference,
    VersionState,
)
from securenet_registry.training.reopening import Reopener


@dataclass(frozen=True, slots=True)
class Move:
    """What is asked of an alias.

    Attributes:
        alias: champion or challenger.
        expected_generation: that the caller saw; None does not check.
        request_id: key of the call.
        reason: why.
    """

    alias: str
    expected_generation: int | None
    request_id: str
    reason: str

    def document(self, **more: Any) -> Mapping[str, Any]:
        """What makes a repeated call the same call."""
        return {"alias": self.alias, "expected_generation": self.expected_generation, **more}


class Gatekeeper:
    """Looks whether a version may serve.

    Args:
        schema_hash: of the feature schema that serving knows.
        reopener: opens the joblib form of what was trained here.
    """

    def __init__(self, artifacts: ArtifactStore, signer: Signer, schema_hash: str, reopener: Reopener) -> None:
        self._artifacts = artifacts
        self._signer = signer
        self._schema_hash = schema_hash
        self._reopener = reopener
        self._trained = TrainedModels(artifacts, signer)

    def check(self, version: ModelVersion, serves: ModelVersion | None) -> tuple[Gate, ...]:
        """Every gate, in order. Reads all bytes of the version, so it belongs in a thread.

        Args:
            version: that is to serve.
            serves: what consumers have now, None where they have nothing.
        """
        ready = Gate("state", version.state is VersionState.READY, version.state.value, VersionState.READY.value)
        integrity, manifest = self._integrity(version)
        if manifest is None:
            return (ready, integrity)
        return (
            ready,
            integrity,
            *self._reopened(version, manifest),
            *self._serving(manifest),
            *self._same_kind(manifest, serves),
        )

    def check_integrity(self, version: ModelVersion) -> tuple[Gate, ...]:
        """Signature and digests alone, as for a rollback to what served before."""
        return (self._integrity(version)[0],)

    def _integrity(self, version: ModelVersion) -> tuple[Gate, Manifest | None]:
        required = "a manifest signed by this registry, and every file's digest as it says"
        try:
            signed = self._artifacts.manifest(version.tenant, version.model, version.version)
            if not self._signer.verify(signed.manifest, signed.signature):
                return Gate(
                    "signature", False, f"signature of key {signed.key_id[:16]} does not verify", required
                ), None
            manifest = Manifest.decode(signed.manifest)
        except DataLossError as error:
            return Gate("signature", False, error.message, required), None
        if (manifest.tenant, manifest.model, manifest.version) != (version.tenant, version.model, version.version):
            return Gate("signature", False, "the manifest is another version's", required), None
        for file in manifest.files:
            if not self._artifacts.verify(file.digest):
                return Gate("signature", False, f"{file.path}: its bytes are missing or changed", required), None
        return Gate("signature", True, f"{len(manifest.files)} files verified", required), manifest

    def _reopened(self, version: ModelVersion, manifest: Manifest) -> Sequence[Gate]:
        if manifest.file(JOBLIB) is None:
            return ()
        problem = self._reopener.problem(self._trained.find(version.tenant, version.model, version.version))
        return (Gate("joblib-form", not problem, problem or "opens", "a joblib form that gives the golden scores"),)

    def _serving(self, manifest: Manifest) -> Sequence[Gate]:
        serving = manifest.serving is not None and manifest.file(manifest.serving["file"]) is not None
        try:
            calibrated = manifest.table() is not None
            calibration = "a table" if calibrated else "none"
        except ValueError as error:
            calibrated, calibration = False, str(error)
        known = manifest.feature_schema_hash == self._schema_hash
        return (
            Gate("serving-form", serving, "agrees" if serving else "none", "an ONNX form that agrees with the source"),
            Gate(
                "golden-batch", manifest.golden is not None, "there" if manifest.golden else "none", "rows with scores"
            ),
            Gate("calibration", calibrated, calibration, "a table from raw score to probability"),
            Gate("feature-schema", known, manifest.feature_schema_hash[:16] or "unknown", self._schema_hash[:16]),
        )

    def _same_kind(self, manifest: Manifest, serves: ModelVersion | None) -> Sequence[Gate]:
        """Consumers of a probability would refuse a tail of an anomaly score, and the other way round."""
        if manifest.serving is None or serves is None:
            return ()
        try:
            now = Manifest.decode(
                self._artifacts.manifest(serves.tenant, serves.model, serves.version).manifest
            ).serving
        except DataLossError:
            # What serves was damaged since: that must not keep a sound version from taking its place.
            return ()
        if now is None:
            return ()
        kind, wanted = str(manifest.serving["kind"]), str(now["kind"])
        return (Gate("score-kind", kind == wanted, kind, f"{wanted}, as the version that serves now"),)


class Promotions:
    """Use-cases that move aliases of the caller's tenant."""

    def __init__(self, ledger: Ledger, gatekeeper: Gatekeeper, changes: Changes) -> None:
        self._ledger = ledger
        self._gatekeeper = gatekeeper
        self._changes = changes

    async def promote(
        self, who: Principal, reference: VersionReference, move: Move, *, validate_only: bool, override: bool
    ) -> Promotion:
        """Points an alias at a version if every gate passes.

        Args:
            validate_only: run the gates, answer what would come of it, move nothing.
            override: move although a gate other than the signature fails.

        Raises:
            FailedPreconditionError: a gate fails.
            AbortedError: the alias was moved since the caller looked.
            PermissionDeniedError: an override without role admin.
            InvalidArgumentError: an override without a reason.
        """
        if override and Role.ADMIN not in who.roles:
            raise PermissionDeniedError(f"{who.subject}: override_gates needs role admin", reason="ROLE_MISSING")
        if override and not move.reason.strip():
            raise InvalidArgumentError.of("reason", "empty; an override is kept in the audit with its reason")
        request = move.document(version=str(reference), override=override)
        if not validate_only:
            done = await self._done(who, "PromoteModelVersion", move, request)
            if done is not None:
                return done
        version, serves = await self._ledger.read(
            who.tenant, lambda tx: (find_version(tx, reference), _served(tx, reference.model, move.alias))
        )
        gates = await asyncio.to_thread(self._gatekeeper.check, version, serves)
        if validate_only:
            return await self._ledger.read(who.tenant, lambda tx: _planned(tx, who, version, move, gates))
        self._let_pass(version, gates, override=override)
        return await self._commit(who, "PromoteModelVersion", version, move, gates, request, rollback=False)

    async def roll_back(self, who: Principal, model: str, to_version: int, move: Move) -> Promotion:
        """Points an alias back, as a new generation. Only the signature is checked.

        Raises:
            FailedPreconditionError: there is nothing to go back to, or its bytes do not verify.
            NotFoundError: the alias points nowhere.
            AbortedError: the alias was moved since the caller looked.
        """
        request = move.document(model=model, to_version=to_version)
        done = await self._done(who, "RollbackModel", move, request)
        if done is not None:
            return done

        def target(tx: LedgerTransaction) -> ModelVersion:
            alias = find_model(tx, model).alias(move.alias)
            if alias is None:
                raise NotFoundError(f"models/{model}: {move.alias} points nowhere", reason="ALIAS_NOT_FOUND")
            number = to_version or alias.previous_version
            if not number:
                raise FailedPreconditionError(
                    f"models/{model}: {move.alias} has pointed at version {alias.version} alone", reason="NO_PREVIOUS"
                )
            return find_version(tx, VersionReference(model, number=number))

        version = await self._ledger.read(who.tenant, target)
        gates = await asyncio.to_thread(self._gatekeeper.check_integrity, version)
        self._let_pass(version, gates, override=False)
        return await self._commit(who, "RollbackModel", version, move, gates, request, rollback=True)

    async def promotions(  # noqa: PLR0917 - a position has two parts
        self, who: Principal, model: str, before_ns: int, before_id: str, limit: int, state: str
    ) -> Sequence[Promotion]:
        """Moves of a model, the latest first."""
        return await self._ledger.read(
            who.tenant, lambda tx: tx.promotions(find_model(tx, model).name, before_ns, before_id, limit, state)
        )

    async def _done(self, who: Principal, method: str, move: Move, request: Mapping[str, Any]) -> Promotion | None:
        def work(tx: LedgerTransaction) -> Promotion | None:
            answer = requests.remembered(tx, method, move.request_id, request)
            return tx.promotion(answer["model"], answer["promotion"]) if answer else None

        return await self._ledger.read(who.tenant, work)

    def _let_pass(self, version: ModelVersion, gates: Sequence[Gate], *, override: bool) -> None:
        failed = [gate for gate in gates if not gate.passed]
        # Nobody may override a signature: what serves must be what was registered.
        blocking = [gate for gate in failed if not override or gate.name in {"signature", "state"}]
        if blocking:
            said = "; ".join(f"{gate.name}: {gate.measured}; required {gate.required}" for gate in blocking)
            raise FailedPreconditionError(
                f"{version.resource}: {said}",
                reason="GATE_FAILED",
                preconditions=[
                    PreconditionViolation("gate", gate.name, f"measured {gate.measured}; required {gate.required}")
                    for gate in blocking
                ],
            )

    async def _commit(  # noqa: PLR0917 - what a move consists of
        self,
        who: Principal,
        method: str,
        version: ModelVersion,
        move: Move,
        gates: tuple[Gate, ...],
        request: Mapping[str, Any],
        *,
        rollback: bool,
    ) -> Promotion:
        now = time.time_ns()

        def work(tx: LedgerTransaction) -> Promotion:
            answer = requests.remembered(tx, method, move.request_id, request)
            if answer is not None:
                done = tx.promotion(answer["model"], answer["promotion"])
                if done is not None:
                    return done
            # The gates took their time: the version may be gone, the alias elsewhere.
            find_version(tx, VersionReference(version.model, number=version.version))
            before = _current(tx, version.model, move)
            alias = Alias(
                alias=move.alias,
                version=version.version,
                generation=(before.generation if before else 0) + 1,
                update_ns=now,
                updated_by=who.subject,
                previous_version=before.version if before else 0,
            )
            promotion = Promotion(
                id=uuid.uuid4().hex,
                model=version.model,
                alias=move.alias,
                from_version=alias.previous_version,
                to_version=version.version,
                state=PromotionState.COMMITTED,
                generation=alias.generation,
                gates=gates,
                requested_by=who.subject,
                reason=move.reason,
                rollback=rollback,
                create_ns=now,
                decide_ns=now,
            )
            tx.set_alias(version.model, alias)
            tx.add_promotion(promotion)
            tx.add_event(version.model, EventKind.ALIAS_MOVED, now, version.version, alias)
            failed = [gate.name for gate in gates if not gate.passed]
            detail = {"alias": move.alias, "generation": alias.generation, "from": alias.previous_version}
            detail |= {"reason": move.reason, "overridden": failed}
            tx.append_audit(who.subject, "rollback" if rollback else "promote", version.resource, detail, now)
            requests.remember(tx, method, move.request_id, request, now, model=version.model, promotion=promotion.id)
            return promotion

        promotion = await self._ledger.run(who.tenant, work)
        self._changes.notify((who.tenant, version.model))
        return promotion


def _served(tx: LedgerTransaction, model: str, alias: str) -> ModelVersion | None:
    """What an alias points at now; of one that points nowhere yet, what the champion does."""
    found = find_model(tx, model)
    at = found.alias(alias) or found.alias("champion")
    return tx.version(model, at.version) if at else None


def _current(tx: LedgerTransaction, model: str, move: Move) -> Alias | None:
    """Where the alias points now.

    Raises:
        AbortedError: not where the caller thought.
    """
    alias = find_model(tx, model).alias(move.alias)
    generation = alias.generation if alias else 0
    if move.expected_generation is not None and move.expected_generation != generation:
        raise AbortedError(
            f"models/{model}: {move.alias} is at generation {generation}; expected {move.expected_generation}",
            reason="GENERATION_STALE",
            metadata={"generation": str(generation)},
        )
    return alias


def _planned(
    tx: LedgerTransaction, who: Principal, version: ModelVersion, move: Move, gates: tuple[Gate, ...]
) -> Promotion:
    """What would be committed, without an id or a generation."""
    before = _current(tx, version.model, move)
    return Promotion(
        id="",
        model=version.model,
        alias=move.alias,
        from_version=before.version if before else 0,
        to_version=version.version,
        state=PromotionState.PENDING,
        generation=0,
        gates=gates,
        requested_by=who.subject,
        reason=move.reason,
        rollback=False,
        create_ns=time.time_ns(),
    )
