"""OSV's evaluation of ranges and lists."""

from __future__ import annotations

import pytest

from securenet_scanner.advisories.osv import Affected, Event, Rule
from securenet_scanner.versions import pep440

pytestmark = pytest.mark.unit


def rule(*events: tuple[str, str], versions: tuple[str, ...] = ()) -> Rule:
    ranges = (tuple(Event(kind, version) for kind, version in events),) if events else ()
    return Rule(Affected("PyPI", "x", ranges, versions), pep440)


def affected(item: Rule, *versions: str) -> list[bool]:
    return [item.affects(pep440(version)) for version in versions]


def test_from_the_beginning_to_the_fix() -> None:
    item = rule(("introduced", "0"), ("fixed", "2.0"))
    assert affected(item, "0.dev0", "1.9", "2.0rc1", "2.0", "3") == [True, True, True, False, False]


def test_last_affected_is_affected_itself() -> None:
    assert affected(rule(("introduced", "1"), ("last_affected", "2.0")), "0.9", "1", "2.0", "2.0.1") == [
        False,
        True,
        True,
        False,
    ]


def test_several_branches_in_any_order() -> None:
    item = rule(("fixed", "3.2.4"), ("introduced", "3.0"), ("introduced", "2.2"), ("fixed", "2.2.24"))
    assert affected(item, "2.1", "2.2", "2.2.24", "2.9", "3.0", "3.2.3", "3.2.4") == [
        False, True, False, False, True, True, False,
    ]  # fmt: skip


def test_fixed_and_brought_back_in_one_release() -> None:
    assert affected(rule(("introduced", "1"), ("fixed", "2"), ("introduced", "2"), ("fixed", "3")), "2", "3") == [
        True,
        False,
    ]


def test_without_an_end_everything_later_is_affected() -> None:
    assert affected(rule(("introduced", "1.5")), "1.4", "1.5", "99") == [False, True, True]


def test_limits_bound_the_range() -> None:
    assert affected(rule(("introduced", "0"), ("limit", "2")), "1", "2", "3") == [True, False, False]
    assert affected(rule(("introduced", "0"), ("limit", "*")), "1", "9") == [True, True]


def test_a_list_counts_beside_the_ranges_and_in_any_spelling() -> None:
    item = rule(("introduced", "1"), ("fixed", "2"), versions=("5.0",))
    assert affected(item, "5.0.0", "5.0.1", "1.5") == [True, False, True]


def test_the_reason_and_the_fixes_above() -> None:
    item = rule(("introduced", "1"), ("fixed", "1.5"), ("introduced", "2"), ("fixed", "2.5"))
    hit = item.decide(pep440("1.2"))
    assert hit is not None
    assert hit.reason == "range: introduced 1, fixed 1.5, introduced 2, fixed 2.5"
    assert hit.fixed_versions == ("1.5", "2.5")
    later = item.decide(pep440("2.0"))
    assert later is not None
    assert later.fixed_versions == ("2.5",)
    assert item.decide(pep440("1.7")) is None
