"""Scopes: every address must be covered, now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from securenet_scanner.network.scopes import OutOfScopeError, Scope, authorize, loopback
from securenet_scanner.network.targets import Span, parse_target

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def scope(name: str, *cidrs: str, ends: timedelta = timedelta(days=1)) -> Scope:
    return Scope(name, "t", cidrs, "boss", "inventory", NOW + ends, "op", NOW)


def spans(*texts: str) -> list[Span]:
    found = [parse_target(text) for text in texts]
    return [item for item in found if isinstance(item, Span)]


def test_loopback_is_in_scope_and_nothing_else() -> None:
    assert authorize(spans("127.0.0.0/8", "::1"), [loopback("t")], NOW) == ("scopes/loopback",)
    for outside in ("10.0.0.1", "126.255.255.255-127.0.0.1", "::2", "::ffff:10.0.0.1", "::/127"):
        try:
            found = spans(outside)
        except ValueError:
            continue
        with pytest.raises(OutOfScopeError):
            authorize(found, [loopback("t")], NOW)


def test_the_mapped_spelling_of_loopback_is_loopback() -> None:
    assert authorize(spans("::ffff:127.0.0.1"), [loopback("t")], NOW) == ("scopes/loopback",)


def test_scopes_cover_together_without_a_gap() -> None:
    both = [scope("a", "10.0.0.0/25"), scope("b", "10.0.0.128/25", "192.168.0.0/24")]
    assert authorize(spans("10.0.0.0/24"), both, NOW) == ("scopes/a", "scopes/b")
    assert authorize(spans("192.168.0.9"), both, NOW) == ("scopes/b",)
    with pytest.raises(OutOfScopeError, match=r"10\.0\.0\.250-10\.0\.1\.1"):
        authorize(spans("10.0.0.250-10.0.1.1"), both, NOW)
    with pytest.raises(OutOfScopeError):
        authorize(spans("10.0.0.0-10.0.0.255"), [both[0], scope("c", "10.0.0.129/32")], NOW)


def test_a_scope_that_has_ended_allows_nothing() -> None:
    with pytest.raises(OutOfScopeError, match="in scope now: nothing"):
        authorize(spans("10.0.0.1"), [scope("a", "10.0.0.0/8", ends=timedelta(seconds=-1))], NOW)


def test_the_error_names_the_host_that_was_resolved() -> None:
    (plain,) = spans("10.0.0.1")
    named = Span(plain.first, plain.last, "evil.example")
    with pytest.raises(OutOfScopeError, match=r"evil\.example \(10\.0\.0\.1\)"):
        authorize([named], [loopback("t")], NOW)
