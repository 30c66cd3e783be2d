"""The knowledge base as its readers see it: one version at a time, never a mixture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from securenet_scanner.advisories.osv import Rule
from securenet_scanner.cvss import Severity


@dataclass(frozen=True, slots=True)
class Feed:
    """One source of advisories, as it was read."""

    name: str
    """`osv:PyPI`, `kev`, `epss`."""
    source: str
    data_time: datetime | None
    """Date of its newest record, or the date that it states of itself."""
    records: int
    rejected: int
    digest: str
    """SHA-256 of the file, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What one version of the knowledge base holds."""

    version: str
    build_time: datetime
    data_time: datetime | None
    feeds: tuple[Feed, ...]
    covered: tuple[str, ...]
    """Ecosystems that packages can be matched in."""
    uncovered: tuple[str, ...]
    """Ecosystems with advisories here whose versions cannot be ordered yet: they never read as clean."""


@dataclass(frozen=True, slots=True)
class AdvisoryFacts:
    """What is told of an advisory that applies."""

    id: str
    aliases: tuple[str, ...]
    summary: str
    severity: Severity
    score: float | None
    vector: str
    published: str
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PackageAdvisory:
    """An advisory with its compiled rule for one package."""

    facts: AdvisoryFacts
    rule: Rule


@dataclass(frozen=True, slots=True)
class Exploitation:
    """What is known of a CVE's exploitation."""

    known_exploited: bool
    epss: float | None
    """Probability of exploitation within 30 days, 0 to 1."""


class KnowledgeFileError(Exception):
    """The knowledge cannot be used: broken, or written by other rules. Importing the feeds again mends it."""


class AdvisorySource(Protocol):
    """One version of the knowledge base."""

    @property
    def knowledge(self) -> Knowledge:
        """What it holds."""
        ...

    def advisories(self, ecosystem: str, name: str) -> Sequence[PackageAdvisory]:
        """Every advisory, not withdrawn, that speaks of a package."""
        ...

    def exploitation(self, ids: Iterable[str]) -> Mapping[str, Exploitation]:
        """What is known of those of the ids that are known at all."""
        ...


class KnowledgeBase(Protocol):
    """Where versions of the knowledge come and go."""

    def reading(self) -> AbstractContextManager[AdvisorySource | None]:
        """The version that serves now, kept whole until the block ends even where another takes its place; None where
        nothing has been imported."""
        ...
