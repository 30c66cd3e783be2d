"""OSV's evaluation against a naive oracle: the specification's pseudo-code over whole numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securenet_scanner.advisories.osv import Affected, Event, Rule
from securenet_scanner.versions import pep440, semver

pytestmark = pytest.mark.unit

kinds = st.sampled_from(["introduced", "fixed", "last_affected", "limit"])
events = st.lists(st.tuples(kinds, st.integers(0, 12)), max_size=8)


def oracle(version: int, ranges: list[list[tuple[str, int]]], listed: list[int]) -> bool:
    """https://ossf.github.io/osv-schema/#evaluation, word for word; at one version a fix comes first."""
    if version in listed:
        return True
    for written in ranges:
        # "introduced: 0" is before every version, also before 0 itself.
        items = [(kind, -1 if (kind, at) == ("introduced", 0) else at) for kind, at in written]
        limits = [at for kind, at in items if kind == "limit"]
        if limits and not any(version < limit for limit in limits):
            continue
        vulnerable = False
        rank = {"fixed": 0, "introduced": 1, "last_affected": 2, "limit": 3}
        for kind, at in sorted(items, key=lambda item: (item[1], rank[item[0]])):
            if kind == "introduced" and version >= at:
                vulnerable = True
            elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
                vulnerable = False
        if vulnerable:
            return True
    return False


@given(st.lists(events, max_size=3), st.lists(st.integers(0, 12), max_size=3), st.integers(0, 13))
def test_rules_decide_as_the_specification_does(
    ranges: list[list[tuple[str, int]]], listed: list[int], version: int
) -> None:
    compiled = tuple(tuple(Event(kind, str(at)) for kind, at in items) for items in ranges)
    for ordering in (pep440, semver):
        rule = Rule(Affected("any", "x", compiled, tuple(str(at) for at in listed)), ordering)
        expected = oracle(version, ranges, listed)
        assert rule.affects(ordering(str(version))) is expected
        hit = rule.decide(ordering(str(version)))
        assert (hit is not None) is expected
        if hit is not None:
            assert all(ordering(fixed) > ordering(str(version)) for fixed in hit.fixed_versions)
