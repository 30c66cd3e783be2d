"""What advisories say of packages: each vulnerability once, under all of its names, with why it applies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from securenet_scanner import purls, versions
from securenet_scanner.advisories.knowledge import AdvisoryFacts, AdvisorySource, Exploitation, PackageAdvisory
from securenet_scanner.advisories.osv import Hit
from securenet_scanner.cvss import Severity
from securenet_scanner.versions import Ordering, VersionKey


class Coverage(Enum):
    """Whether the knowledge base can speak of a package at all."""

    COVERED = "covered"
    ECOSYSTEM_NOT_COVERED = "ecosystem not covered"
    VERSION_NOT_COMPARABLE = "version not comparable"


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One vulnerability that applies to a package."""

    id: str
    aliases: tuple[str, ...]
    summary: str
    severity: Severity
    vector: str
    score: float | None
    known_exploited: bool
    epss: float | None
    fixed_versions: tuple[str, ...]
    reason: str
    confidence: float
    published: str
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PackageMatch:
    """What is known of one package URL."""

    purl: str
    coverage: Coverage
    detail: str
    vulnerabilities: tuple[Vulnerability, ...]
    upgrade_version: str


class PurlsError(ValueError):
    """Package URLs that cannot be read: (place, reason) pairs."""

    def __init__(self, problems: Sequence[tuple[int, str]]) -> None:
        super().__init__("; ".join(f"purls[{index}]: {reason}" for index, reason in problems))
        self.problems = tuple(problems)


def match_packages(source: AdvisorySource, texts: Sequence[str]) -> list[PackageMatch]:
    """Match package URLs against one version of the knowledge, in their order.

    Raises `PurlsError` naming every URL that cannot be read; then none is matched.
    """
    packages: list[purls.Package] = []
    problems: list[tuple[int, str]] = []
    for index, text in enumerate(texts):
        try:
            packages.append(purls.parse(text))
        except purls.PurlError as error:
            problems.append((index, str(error)))
    if problems:
        raise PurlsError(problems)
    covered = frozenset(source.knowledge.covered)
    return [_match(source, text, package, covered) for text, package in zip(texts, packages, strict=True)]


def _match(source: AdvisorySource, text: str, package: purls.Package, covered: frozenset[str]) -> PackageMatch:
    ordering = versions.ordering(package.ecosystem)
    if ordering is None or package.ecosystem not in covered:
        what = f"ecosystem {package.ecosystem}" if package.ecosystem else f"package URL type {package.type}"
        return _unknown(
            text, Coverage.ECOSYSTEM_NOT_COVERED, f"no advisories of {what} here: nothing is known, which is not clean"
        )
    if not package.version:
        return _unknown(text, Coverage.VERSION_NOT_COMPARABLE, "the package URL states no version: add @VERSION")
    if not versions.readable(package.ecosystem, package.version):
        detail = f"version {package.version!r} does not follow the version grammar of {package.ecosystem}"
        return _unknown(text, Coverage.VERSION_NOT_COMPARABLE, detail)
    known = source.advisories(package.ecosystem, package.name)
    key = ordering(package.version)
    hits = [(advisory.facts, hit) for advisory in known if (hit := advisory.rule.decide(key)) is not None]
    found = _collapse(source, hits, ordering, package)
    return PackageMatch(text, Coverage.COVERED, "", found, _upgrade(known, key) if hits else "")


def _unknown(text: str, coverage: Coverage, detail: str) -> PackageMatch:
    return PackageMatch(text, coverage, detail, (), "")


def _collapse(
    source: AdvisorySource, hits: Sequence[tuple[AdvisoryFacts, Hit]], ordering: Ordering, package: purls.Package
) -> tuple[Vulnerability, ...]:
    """Join the advisories that share a name, and order them, the gravest first."""
    if not hits:
        return ()
    groups = _groups([facts for facts, _ in hits])
    known = source.exploitation({name for facts, _ in hits for name in (facts.id, *facts.aliases)})
    found = [_vulnerability([hits[i] for i in group], known, ordering, package) for group in groups]
    return tuple(
        sorted(found, key=lambda v: (not v.known_exploited, -v.severity, -(v.score or 0.0), -(v.epss or 0.0), v.id))
    )


def _groups(facts: Sequence[AdvisoryFacts]) -> list[list[int]]:
    """Connected components over shared ids, among the advisories that apply.

    Only those: a CVE of a protocol joins advisories of many products, and the others say nothing of this package.
    """
    parent = list(range(len(facts)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[str, int] = {}
    for index, advisory in enumerate(facts):
        for name in (advisory.id, *advisory.aliases):
            parent[root(index)] = root(first.setdefault(name, index))
    groups: dict[int, list[int]] = {}
    for index in range(len(facts)):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


_HOME = {"PyPI": "PYSEC-", "Go": "GO-", "crates.io": "RUSTSEC-", "Bitnami": "BIT-", "Julia": "JLSEC-"}


def _rank(name: str, home: str) -> tuple[int, str]:
    """The ecosystem's own database first, then GitHub's, then any other, CVE last: it names no package."""
    if home and name.startswith(home):
        return (0, name)
    return (1 if name.startswith("GHSA-") else 3 if name.startswith("CVE-") else 2, name)


def _vulnerability(
    hits: Sequence[tuple[AdvisoryFacts, Hit]],
    known: Mapping[str, Exploitation],
    ordering: Ordering,
    package: purls.Package,
) -> Vulnerability:
    home = _HOME.get(package.ecosystem, "")
    ordered = sorted(hits, key=lambda item: _rank(item[0].id, home))
    facts = ordered[0][0]
    names = {name for advisory, _ in hits for name in (advisory.id, *advisory.aliases)}
    worst = max((advisory for advisory, _ in ordered), key=lambda advisory: (advisory.severity, advisory.score or 0.0))
    signals = [known[name] for name in names if name in known]
    fixed = {ordering(version): version for _, hit in hits for version in hit.fixed_versions}
    return Vulnerability(
        id=facts.id,
        aliases=tuple(sorted(names - {facts.id})),
        summary=next((advisory.summary for advisory, _ in ordered if advisory.summary), ""),
        severity=worst.severity,
        vector=worst.vector,
        score=worst.score,
        known_exploited=any(signal.known_exploited for signal in signals),
        epss=max((signal.epss for signal in signals if signal.epss is not None), default=None),
        fixed_versions=tuple(fixed[key] for key in sorted(fixed)),
        reason="; ".join(f"{advisory.id} {package.ecosystem} {package.name} {hit.reason}" for advisory, hit in ordered),
        confidence=1.0,
        published=facts.published,
        references=facts.references,
    )


def _upgrade(known: Sequence[PackageAdvisory], version: VersionKey) -> str:
    """The oldest fixed version above the present one that no advisory of the package affects."""
    candidates = {key: text for advisory in known for key, text in advisory.rule.fixed if key > version}
    for key in sorted(candidates):
        if not any(advisory.rule.affects(key) for advisory in known):
            return candidates[key]
    return ""
