"""Matching: coverage, joining of names, and the way up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import pytest

from securenet_scanner.advisories.knowledge import AdvisoryFacts, Exploitation, Knowledge, PackageAdvisory
from securenet_scanner.advisories.matching import Coverage, PurlsError, match_packages
from securenet_scanner.advisories.osv import Affected, Event, Rule
from securenet_scanner.cvss import Severity
from securenet_scanner.versions import pep440

pytestmark = pytest.mark.unit


def advisory(id_: str, fixed: str, *aliases: str, introduced: str = "0", score: float | None = None) -> PackageAdvisory:
    severity = Severity.HIGH if score else Severity.UNKNOWN
    facts = AdvisoryFacts(id_, aliases, f"about {id_}", severity, score, "", "2024-01-01T00:00:00Z", ())
    events = (Event("introduced", introduced), Event("fixed", fixed))
    return PackageAdvisory(facts, Rule(Affected("PyPI", "x", (events,), ()), pep440))


class FakeSource:
    """A knowledge base of one package, `x`."""

    def __init__(self, *advisories: PackageAdvisory, known: Mapping[str, Exploitation] | None = None) -> None:
        self._advisories = advisories
        self._known = known or {}
        self.knowledge = Knowledge("v1", datetime.now(UTC), None, (), covered=("PyPI",), uncovered=("Hackage",))

    def advisories(self, ecosystem: str, name: str) -> Sequence[PackageAdvisory]:
        return self._advisories if (ecosystem, name) == ("PyPI", "x") else ()

    def exploitation(self, ids: Iterable[str]) -> Mapping[str, Exploitation]:
        return {name: self._known[name] for name in ids if name in self._known}


def test_advisories_that_share_a_name_are_one_vulnerability() -> None:
    source = FakeSource(
        advisory("GHSA-1", "2", "CVE-1"),
        advisory("PYSEC-1", "2.1", "CVE-1", score=7.5),
        advisory("PYSEC-2", "3", "CVE-2"),
    )
    (match,) = match_packages(source, ["pkg:pypi/X@1"])
    assert [(v.id, v.aliases) for v in match.vulnerabilities] == [
        ("PYSEC-1", ("CVE-1", "GHSA-1")),
        ("PYSEC-2", ("CVE-2",)),
    ]
    first = match.vulnerabilities[0]
    assert (first.score, first.fixed_versions) == (7.5, ("2", "2.1"))
    assert "PYSEC-1 PyPI x range: introduced 0, fixed 2.1" in first.reason


def test_exploited_vulnerabilities_come_first() -> None:
    source = FakeSource(
        advisory("PYSEC-1", "2", "CVE-1", score=9.9),
        advisory("PYSEC-2", "2", "CVE-2"),
        known={"CVE-2": Exploitation(known_exploited=True, epss=0.9), "CVE-1": Exploitation(False, 0.1)},
    )
    (match,) = match_packages(source, ["pkg:pypi/x@1"])
    assert [(v.id, v.known_exploited, v.epss) for v in match.vulnerabilities] == [
        ("PYSEC-2", True, 0.9),
        ("PYSEC-1", False, 0.1),
    ]


def test_the_upgrade_clears_everything_also_what_came_later() -> None:
    source = FakeSource(advisory("A", "2"), advisory("B", "4", introduced="1.9"), advisory("C", "5", introduced="9"))
    (match,) = match_packages(source, ["pkg:pypi/x@1"])
    assert [v.id for v in match.vulnerabilities] == ["A"]
    assert match.upgrade_version == "4"


def test_a_clean_package_has_no_upgrade() -> None:
    (match,) = match_packages(FakeSource(advisory("A", "2")), ["pkg:pypi/x@3"])
    assert (match.coverage, match.vulnerabilities, match.upgrade_version) == (Coverage.COVERED, (), "")


@pytest.mark.parametrize(
    ("purl", "coverage", "words"),
    [
        ("pkg:npm/x@1", Coverage.ECOSYSTEM_NOT_COVERED, "ecosystem npm"),
        ("pkg:hackage/x@1", Coverage.ECOSYSTEM_NOT_COVERED, "not clean"),
        ("pkg:deb/debian/x@1", Coverage.ECOSYSTEM_NOT_COVERED, "type deb"),
        ("pkg:pypi/x", Coverage.VERSION_NOT_COMPARABLE, "no version"),
        ("pkg:pypi/x@garbage!", Coverage.VERSION_NOT_COMPARABLE, "grammar of PyPI"),
    ],
)
def test_what_is_not_known_never_reads_as_clean(purl: str, coverage: Coverage, words: str) -> None:
    (match,) = match_packages(FakeSource(), [purl])
    assert match.coverage is coverage
    assert words in match.detail


def test_every_unreadable_url_is_named() -> None:
    with pytest.raises(PurlsError) as caught:
        match_packages(FakeSource(), ["pkg:pypi/x@1", "nonsense", "pkg:pypi", "pkg:pypi/" + "x" * 2000])
    assert [place for place, _ in caught.value.problems] == [1, 2, 3]
