"""Advisories in OSV's schema, and the decision whether a version is affected.

Schema and evaluation: https://ossf.github.io/osv-schema/ ("Evaluation"). A version is affected where it is listed, or
where one range holds it. Withdrawn advisories affect nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from securenet_scanner.cvss import Severity
from securenet_scanner.versions import Ordering, VersionKey


@dataclass(frozen=True, slots=True)
class Event:
    """A point of a range at which versions begin or cease to be affected."""

    kind: str
    """`introduced`, `fixed`, `last_affected` or `limit`."""
    version: str
    """`0` of an introduction is before every version; `*` of a limit is after every version."""


@dataclass(frozen=True, slots=True)
class Affected:
    """One package that an advisory speaks of."""

    ecosystem: str
    name: str
    ranges: tuple[tuple[Event, ...], ...]
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Advisory:
    """One advisory, reduced to what a match needs and a reader wants to see."""

    id: str
    modified: str
    """RFC 3339, as the feed states it; empty where it does not."""
    published: str
    """RFC 3339; empty where the feed does not state it."""
    withdrawn: bool
    aliases: tuple[str, ...]
    summary: str
    severity: Severity
    score: float | None
    """CVSS base score, 0 to 10, of the newest vector that could be scored."""
    vector: str
    references: tuple[str, ...]
    affected: tuple[Affected, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """Why a version is affected, and the versions above it that are not any more, oldest first."""

    reason: str
    fixed_versions: tuple[str, ...]


class Rule:
    """One `Affected`, compiled for its ecosystem's order: keys computed and events sorted once, for many decisions."""

    __slots__ = ("_listed", "_ranges", "fixed")

    fixed: tuple[tuple[VersionKey, str], ...]
    """Every version that some range calls fixed, with its key."""

    def __init__(self, affected: Affected, ordering: Ordering) -> None:
        self._ranges = [_Range(events, ordering) for events in affected.ranges]
        self.fixed = tuple(pair for item in self._ranges for pair in item.fixed)
        self._listed = {ordering(version): version for version in affected.versions}

    def decide(self, version: VersionKey) -> Hit | None:
        """The reason where the version with this key is affected, else None."""
        for item in self._ranges:
            if item.holds(version):
                return Hit(f"range: {item.text}", self._fixed_above(version))
        if version in self._listed:
            return Hit(f"listed version: {self._listed[version]}", self._fixed_above(version))
        return None

    def affects(self, version: VersionKey) -> bool:
        """Whether the version with this key is affected, without saying why."""
        return version in self._listed or any(item.holds(version) for item in self._ranges)

    def _fixed_above(self, version: VersionKey) -> tuple[str, ...]:
        above = {key: text for key, text in self.fixed if key > version}
        return tuple(above[key] for key in sorted(above))


_BEFORE_ALL: VersionKey = (-1,)
_RANK = {"fixed": 0, "introduced": 1, "last_affected": 2}
"""At one version a fix comes before an introduction: what is fixed and brought back in the same release is affected."""


def _key(event: Event, ordering: Ordering) -> VersionKey:
    return _BEFORE_ALL if event.kind == "introduced" and event.version == "0" else ordering(event.version)


class _Range:
    __slots__ = ("_events", "_limits", "fixed", "text")

    def __init__(self, events: Sequence[Event], ordering: Ordering) -> None:
        keyed = [(_key(event, ordering), event) for event in events]
        self._limits = [key for key, event in keyed if event.kind == "limit" and event.version != "*"]
        if any(event.kind == "limit" and event.version == "*" for event in events):
            self._limits = []
        points = [(key, _RANK[event.kind], event.kind) for key, event in keyed if event.kind in _RANK]
        self._events = sorted(points)
        self.fixed = [(key, event.version) for key, event in keyed if event.kind == "fixed"]
        self.text = ", ".join(f"{event.kind} {event.version}" for event in events)

    def holds(self, version: VersionKey) -> bool:
        if self._limits and not any(version < limit for limit in self._limits):
            return False
        affected = False
        for key, _, kind in self._events:
            if kind == "introduced":
                affected = affected or version >= key
            elif kind == "fixed":
                affected = affected and version < key
            else:
                affected = affected and version <= key
        return affected
