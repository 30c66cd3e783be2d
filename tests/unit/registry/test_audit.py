"""The chain of hashes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from securenet_registry.audit import ORIGIN, chain, verify
from securenet_registry.model import AuditEntry

pytestmark = pytest.mark.unit


def entries(count: int, tenant: str = "north") -> list[AuditEntry]:
    made: list[AuditEntry] = []
    for i in range(count):
        entry = AuditEntry(0, i, "who", "promote", f"models/{i}", "{}", "", "")
        made.append(chain(tenant, made[-1] if made else None, entry))
    return made


def test_an_untouched_chain_holds() -> None:
    made = entries(5)
    verdict = verify("north", made)
    assert (verdict.entries, verdict.first_invalid, verdict.head_hash) == (5, 0, made[-1].hash)
    assert verify("north", []).head_hash == ORIGIN


def test_what_was_changed_is_named() -> None:
    for number in range(5):
        made = entries(5)
        made[number] = replace(made[number], actor="somebody else")
        verdict = verify("north", made)
        assert verdict.first_invalid == number + 1
        assert "hash" in verdict.detail


def test_what_was_removed_is_noticed() -> None:
    made = entries(5)
    assert verify("north", made[:2] + made[3:]).first_invalid == 4
    assert verify("north", made[1:]).first_invalid == 2


def test_a_rewritten_entry_breaks_the_next_one() -> None:
    made = entries(3)
    made[1] = chain("north", made[0], replace(made[1], detail='{"reason": "better"}'))
    assert verify("north", made).first_invalid == 3


def test_entries_of_another_tenant_do_not_fit() -> None:
    assert verify("south", entries(1)).first_invalid == 1
