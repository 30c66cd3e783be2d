"""Parts of every move of an alias: what is asked, what may pass, where the alias stands before and after."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from securenet_core.exceptions import AbortedError, FailedPreconditionError, PreconditionViolation
from securenet_core.principal import Principal
from securenet_registry.catalog import find_model
from securenet_registry.ledger import LedgerTransaction
from securenet_registry.model import Alias, Gate, ModelVersion, Promotion, PromotionState


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


def let_pass(version: ModelVersion, gates: Sequence[Gate], *, override: bool) -> None:
    """Goes on where every gate passes that may not be overridden.

    Raises:
        FailedPreconditionError: names those that fail.
    """
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


def served(tx: LedgerTransaction, model: str, alias: str) -> ModelVersion | None:
    """What an alias points at now; of one that points nowhere yet, what the champion does."""
    found = find_model(tx, model)
    at = found.alias(alias) or found.alias("champion")
    return tx.version(model, at.version) if at else None


def current(tx: LedgerTransaction, model: str, alias_name: str, expected: int | None) -> Alias | None:
    """Where the alias points now.

    Raises:
        AbortedError: not where the caller thought.
    """
    alias = find_model(tx, model).alias(alias_name)
    generation = alias.generation if alias else 0
    if expected is not None and expected != generation:
        raise AbortedError(
            f"models/{model}: {alias_name} is at generation {generation}; expected {expected}",
            reason="GENERATION_STALE",
            metadata={"generation": str(generation)},
        )
    return alias


def moved(before: Alias | None, promotion: Promotion, who: Principal, now_ns: int) -> Alias:
    """The alias after the move."""
    return Alias(
        alias=promotion.alias,
        version=promotion.to_version,
        generation=(before.generation if before else 0) + 1,
        update_ns=now_ns,
        updated_by=who.subject,
        previous_version=before.version if before else 0,
    )


def planned(
    tx: LedgerTransaction, who: Principal, version: ModelVersion, move: Move, gates: tuple[Gate, ...]
) -> Promotion:
    """What would be committed, without an id or a generation."""
    before = current(tx, version.model, move.alias, move.expected_generation)
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
        base_generation=before.generation if before else 0,
    )
