"""Each order of versions is total, whatever the texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from securenet_scanner import versions

pytestmark = pytest.mark.unit

numbers = st.lists(st.integers(0, 30), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
suffixes = st.sampled_from(
    ["", "-alpha.1", "-rc.2", "a1", "b2", "rc1", ".dev3", ".post1", "+local", "-0", "-beta", "rc2"]
)
plausible = st.builds(
    lambda prefix, number, suffix: prefix + number + suffix, st.sampled_from(["", "v"]), numbers, suffixes
)
texts = plausible | st.text(max_size=20)
ecosystems = st.sampled_from(["PyPI", "npm", "Go", "crates.io"])


@given(ecosystems, texts, texts, texts)
def test_it_is_a_total_order(ecosystem: str, a: str, b: str, c: str) -> None:
    compare = versions.compare
    assert compare(ecosystem, a, a) == 0
    assert compare(ecosystem, a, b) == -compare(ecosystem, b, a)
    if compare(ecosystem, a, b) <= 0 and compare(ecosystem, b, c) <= 0:
        assert compare(ecosystem, a, c) <= 0
    if compare(ecosystem, a, b) == 0:
        assert compare(ecosystem, a, c) == compare(ecosystem, b, c)


@given(ecosystems, plausible)
def test_what_is_well_formed_is_newer_than_what_is_not(ecosystem: str, version: str) -> None:
    if versions.readable(ecosystem, version):
        assert versions.compare(ecosystem, version, "!?") == 1


python_versions = st.builds(
    lambda epoch, release, pre, post, dev, local: f"{epoch}{'.'.join(map(str, release))}{pre}{post}{dev}{local}",
    st.sampled_from(["", "0!", "1!"]),
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
    st.sampled_from(["", "a0", "a1", "b2", "rc1", "-alpha.1"]),
    st.sampled_from(["", ".post0", ".post1", "-1"]),
    st.sampled_from(["", ".dev0", ".dev1"]),
    st.sampled_from(["", "+a", "+1", "+a.1", "+1.a", "+10", "+9"]),
)


@given(python_versions, python_versions)
def test_pypi_orders_as_packaging_does(a: str, b: str) -> None:
    left, right = Version(a), Version(b)
    assert versions.compare("PyPI", a, b) == (left > right) - (left < right)
