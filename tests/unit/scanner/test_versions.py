"""The order of versions, on cases whose answers the specifications state."""

from __future__ import annotations

from pathlib import Path

import pytest

from securenet_scanner import versions

pytestmark = pytest.mark.unit

SEMVER_CHAIN = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"]
SEMVER_CHAIN += ["1.0.0-rc.1", "1.0.0", "1.0.1", "1.10.0", "2.0.0"]
PEP440_CHAIN = ["1.0.dev1", "1.0a1.dev1", "1.0a1", "1.0b2", "1.0rc1", "1.0", "1.0+local.1", "1.0.post1", "1.1", "2!0.1"]


@pytest.mark.parametrize(("ecosystem", "chain"), [("npm", SEMVER_CHAIN), ("PyPI", PEP440_CHAIN)])
def test_chains_of_the_specifications(ecosystem: str, chain: list[str]) -> None:
    for i, older in enumerate(chain):
        for newer in chain[i + 1 :]:
            assert versions.compare(ecosystem, older, newer) == -1, (older, newer)
            assert versions.compare(ecosystem, newer, older) == 1, (older, newer)
        assert versions.compare(ecosystem, older, older) == 0


@pytest.mark.parametrize(
    ("ecosystem", "a", "b"),
    [
        ("PyPI", "1.0", "1.0.0"),
        ("PyPI", "1.0-RC1", "1.0rc1"),
        ("PyPI", "v1.2", "1.2"),
        ("Go", "v1.2.0", "1.2"),
        ("Go", "1.21rc2", "1.21.0-rc.2"),
        ("Go", "v2.0.0+incompatible", "v2.0.0"),
        ("crates.io", "1.0.0+build.5", "1.0.0"),
    ],
)
def test_spellings_of_one_version(ecosystem: str, a: str, b: str) -> None:
    assert versions.compare(ecosystem, a, b) == 0


def test_a_text_without_grammar_is_older_than_every_version() -> None:
    assert versions.compare("PyPI", "not a version", "0.dev0") == -1
    assert versions.compare("npm", "latest", "0.0.0-0") == -1
    assert not versions.readable("PyPI", "not a version")
    assert versions.readable("PyPI", "1.0")


def test_monstrous_texts_cost_nothing() -> None:
    assert versions.compare("npm", "9" * 100_000, "1.0.0") == -1
    assert versions.compare("PyPI", "9" * 100_000, "1.0.0") == -1


def test_the_release_of_an_ecosystem_does_not_matter() -> None:
    assert versions.ordering("PyPI:whatever") is versions.ordering("PyPI")


def test_an_unknown_ecosystem_is_said_to_be_unknown() -> None:
    with pytest.raises(versions.UnsupportedEcosystemError, match=r"'Debian'.*PyPI"):
        versions.compare("Debian", "1", "2")


@pytest.mark.parametrize(("file", "ecosystem"), [("pypi", "PyPI"), ("semver", "npm")])
def test_the_ordering_fixtures(shared_data: Path, file: str, ecosystem: str) -> None:
    lines = (shared_data / "vulns" / "versions" / f"{file}-versions.txt").read_text().splitlines()
    relations = [line.split() for line in lines if line.strip() and not line.startswith("//")]
    assert len(relations) > 30
    wrong = [
        (a, relation, b)
        for a, relation, b in relations
        if versions.compare(ecosystem, a, b) != {"<": -1, "=": 0, ">": 1}[relation]
    ]
    assert wrong == []
