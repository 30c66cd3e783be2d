"""Decides promotions that policy lets wait for a second person."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from securenet_core.exceptions import FailedPreconditionError, NotFoundError, PermissionDeniedError
from securenet_core.principal import Principal
from securenet_registry.catalog import find_version
from securenet_registry.changes import Changes
from securenet_registry.gatekeeper import Gatekeeper
from securenet_registry.ledger import Ledger, LedgerTransaction
from securenet_registry.model import EventKind, Promotion, PromotionState, VersionReference
from securenet_registry.moves import current, let_pass, moved, served


class Approvals:
    """Use-cases around promotions that wait, of the caller's tenant."""

    def __init__(self, ledger: Ledger, gatekeeper: Gatekeeper, changes: Changes) -> None:
        self._ledger = ledger
        self._gatekeeper = gatekeeper
        self._changes = changes

    async def approve(self, who: Principal, model: str, promotion_id: str, reason: str) -> Promotion:
        """Commits what somebody else asked for, if the gates still pass. Answers the same where it did so before.

        Raises:
            NotFoundError: there is no such promotion.
            PermissionDeniedError: the caller asked for it.
            FailedPreconditionError: it was decided otherwise, or a gate fails by now.
            AbortedError: the alias was moved since it was asked for.
        """
        asked = await self._ledger.read(who.tenant, lambda tx: _promotion(tx, model, promotion_id))
        if asked.state is PromotionState.COMMITTED and asked.decided_by == who.subject:
            return asked
        _let_decide(asked)
        if asked.requested_by == who.subject:
            raise PermissionDeniedError(
                f"{asked.resource}: {who.subject} asked for it; somebody else must approve", reason="SAME_PERSON"
            )
        version, serves = await self._ledger.read(
            who.tenant,
            lambda tx: (
                find_version(tx, VersionReference(model, number=asked.to_version)),
                served(tx, model, asked.alias),
            ),
        )
        gates = await asyncio.to_thread(self._gatekeeper.check, version, serves)
        overridden = {gate.name for gate in asked.gates if not gate.passed}
        let_pass(version, [gate for gate in gates if gate.name not in overridden], override=False)
        now = time.time_ns()

        def work(tx: LedgerTransaction) -> Promotion:
            found = _promotion(tx, model, promotion_id)
            _let_decide(found)
            # The gates took their time: the version may be gone.
            find_version(tx, VersionReference(model, number=found.to_version))
            alias = moved(current(tx, model, found.alias, found.base_generation), found, who, now)
            done = replace(
                found, state=PromotionState.COMMITTED, generation=alias.generation, gates=gates,
                decided_by=who.subject, decide_ns=now,
            )  # fmt: skip
            tx.set_alias(model, alias)
            tx.decide_promotion(done)
            tx.add_event(model, EventKind.ALIAS_MOVED, now, version.version, alias)
            detail = {"promotion": found.id, "alias": found.alias, "generation": alias.generation}
            detail |= {"from": alias.previous_version, "requested_by": found.requested_by, "reason": reason}
            tx.append_audit(who.subject, "approve-promotion", version.resource, detail, now)
            return done

        promotion = await self._ledger.run(who.tenant, work)
        self._changes.notify((who.tenant, model))
        return promotion

    async def reject(self, who: Principal, model: str, promotion_id: str, reason: str) -> Promotion:
        """Ends what was asked for; whoever asked may take it back. Answers the same where the caller did so before.

        Raises:
            NotFoundError: there is no such promotion.
            FailedPreconditionError: it was decided otherwise.
        """
        now = time.time_ns()

        def work(tx: LedgerTransaction) -> Promotion:
            found = _promotion(tx, model, promotion_id)
            if found.state is PromotionState.REJECTED and found.decided_by == who.subject:
                return found
            _let_decide(found)
            done = replace(found, state=PromotionState.REJECTED, decided_by=who.subject, decide_ns=now)
            tx.decide_promotion(done)
            resource = f"models/{model}/versions/{found.to_version}"
            detail = {"promotion": found.id, "alias": found.alias, "requested_by": found.requested_by, "reason": reason}
            tx.append_audit(who.subject, "reject-promotion", resource, detail, now)
            return done

        return await self._ledger.run(who.tenant, work)


def _promotion(tx: LedgerTransaction, model: str, promotion_id: str) -> Promotion:
    found = tx.promotion(model, promotion_id)
    if found is None:
        raise NotFoundError(
            f"models/{model}/promotions/{promotion_id}: there is no such promotion", reason="PROMOTION_NOT_FOUND"
        )
    return found


def _let_decide(promotion: Promotion) -> None:
    if promotion.state is not PromotionState.PENDING:
        by = promotion.decided_by or promotion.requested_by
        raise FailedPreconditionError(
            f"{promotion.resource}: {promotion.state.value} by {by}; expected a pending promotion",
            reason="PROMOTION_DECIDED",
        )
