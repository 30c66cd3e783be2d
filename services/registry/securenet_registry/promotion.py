"""Moves aliases: gates first, then one transaction that moves the alias, writes history, event and audit.

Where a policy wants a second person, the first transaction only notes what is asked for, and the approval of somebody
else, after the gates were looked at once more, is the second.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from securenet_core.exceptions import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from securenet_core.principal import Principal, Role
from securenet_registry import requests
from securenet_registry.catalog import find_model, find_version
from securenet_registry.changes import Changes
from securenet_registry.gatekeeper import Gatekeeper
from securenet_registry.ledger import Ledger, LedgerTransaction
from securenet_registry.model import (
    EventKind,
    Gate,
    ModelVersion,
    Promotion,
    PromotionState,
    VersionReference,
)
from securenet_registry.moves import Move, let_pass, moved, planned, served
from securenet_registry.policies import PromotionPolicy, policy_for


class Promotions:
    """Use-cases that move aliases of the caller's tenant."""

    def __init__(
        self, ledger: Ledger, gatekeeper: Gatekeeper, changes: Changes, policies: Sequence[PromotionPolicy] = ()
    ) -> None:
        self._ledger = ledger
        self._gatekeeper = gatekeeper
        self._changes = changes
        self._policies = policies

    async def promote(
        self, who: Principal, reference: VersionReference, move: Move, *, validate_only: bool, override: bool
    ) -> Promotion:
        """Points an alias at a version if every gate passes; asks for it where policy wants a second person.

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
            who.tenant, lambda tx: (find_version(tx, reference), served(tx, reference.model, move.alias))
        )
        gates = await asyncio.to_thread(self._gatekeeper.check, version, serves)
        if validate_only:
            return await self._ledger.read(who.tenant, lambda tx: planned(tx, who, version, move, gates))
        let_pass(version, gates, override=override)
        policy = policy_for(self._policies, who.tenant, version.model, move.alias)
        if policy.second_person:
            return await self._ask(who, version, move, gates, request)
        return await self._commit(who, "PromoteModelVersion", version, move, gates, request, rollback=False)

    async def roll_back(self, who: Principal, model: str, to_version: int, move: Move) -> Promotion:
        """Points an alias back, as a new generation. Only the signature is checked.

        Raises:
            FailedPreconditionError: there is nothing to go back to, the alias never pointed at the version, or its
                bytes do not verify.
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
            version = find_version(tx, VersionReference(model, number=number))
            # What passed no gate must not come into service by the way that asks for none.
            if not tx.has_served(model, move.alias, number):
                raise FailedPreconditionError(
                    f"{version.resource}: {move.alias} never pointed at it; promote it", reason="NEVER_SERVED"
                )
            return version

        version = await self._ledger.read(who.tenant, target)
        gates = await asyncio.to_thread(self._gatekeeper.check_integrity, version)
        let_pass(version, gates, override=False)
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

    async def _ask(
        self, who: Principal, version: ModelVersion, move: Move, gates: tuple[Gate, ...], request: Mapping[str, Any]
    ) -> Promotion:
        method = "PromoteModelVersion"

        def work(tx: LedgerTransaction) -> Promotion:
            answer = requests.remembered(tx, method, move.request_id, request)
            done = tx.promotion(answer["model"], answer["promotion"]) if answer else None
            if done is not None:
                return done
            asked = replace(planned(tx, who, version, move, gates), id=uuid.uuid4().hex)
            tx.add_promotion(asked)
            failed = [gate.name for gate in gates if not gate.passed]
            detail = {"promotion": asked.id, "alias": move.alias, "reason": move.reason, "overridden": failed}
            tx.append_audit(who.subject, "request-promotion", version.resource, detail, asked.create_ns)
            requests.remember(
                tx, method, move.request_id, request, asked.create_ns, model=version.model, promotion=asked.id
            )
            return asked

        return await self._ledger.run(who.tenant, work)

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
            asked = replace(planned(tx, who, version, move, gates), id=uuid.uuid4().hex, rollback=rollback)
            alias = moved(find_model(tx, version.model).alias(move.alias), asked, who, now)
            promotion = replace(
                asked, state=PromotionState.COMMITTED, generation=alias.generation, create_ns=now, decide_ns=now
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
