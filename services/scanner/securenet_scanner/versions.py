"""The order of versions, by the rules of each package ecosystem.

Ecosystem names are OSV's (https://ossf.github.io/osv-schema/#affectedpackage-field); a release suffix such as the `:9`
of `AlmaLinux:9` does not change the order and is ignored. Each order is total: a text that breaks its ecosystem's
grammar sorts below every well-formed version, so that a stray string in a feed can neither raise nor turn a range
inside out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from packaging.version import InvalidVersion, Version

MAX_LENGTH = 256
"""Longer texts are never parsed: no real version comes near, and integers of thousands of digits cost time."""

VersionKey = tuple[Any, ...]
Ordering = Callable[[str], VersionKey]
"""Maps a version to a key whose Python order is the ecosystem's order."""


class UnsupportedEcosystemError(ValueError):
    """No order is known for the ecosystem, so nothing may be said about its versions."""

    def __init__(self, ecosystem: str) -> None:
        super().__init__(f"no version order for ecosystem {ecosystem!r}; known: {', '.join(sorted(_ORDERINGS))}")
        self.ecosystem = ecosystem


def compare(ecosystem: str, a: str, b: str) -> int:
    """Order two versions: -1 where `a` is older than `b`, 0 where they are the same, 1 where it is newer.

    Raises `UnsupportedEcosystemError` for an ecosystem without a known order.
    """
    key = ordering(ecosystem)
    if key is None:
        raise UnsupportedEcosystemError(ecosystem)
    left, right = key(a), key(b)
    return (left > right) - (left < right)


def readable(ecosystem: str, version: str) -> bool:
    """Whether the version follows its ecosystem's grammar, so that its place among others means something."""
    key = ordering(ecosystem)
    return key is not None and key(version)[0] == _WELL_FORMED


def ordering(ecosystem: str) -> Ordering | None:
    """The sort key of an ecosystem's versions, or None where the order is not known."""
    return _ORDERINGS.get(ecosystem.partition(":")[0])


_WELL_FORMED = 1
_LOOSE = 0
_PIECE = re.compile(r"\d+|[^\d.\-_+]+")


def _loose(text: str) -> VersionKey:
    """The order of texts that follow no grammar: runs of digits by value, the rest by letter, below real versions."""
    if len(text) > MAX_LENGTH:
        return (_LOOSE, (), text)
    pieces = tuple((1, int(p), "") if p.isdecimal() else (0, 0, p) for p in _PIECE.findall(text))
    return (_LOOSE, pieces, text)


@lru_cache(maxsize=65_536)
def pep440(text: str) -> VersionKey:
    """PEP 440 ("Summary of permitted suffixes and relative ordering"), as pip orders.

    A key of plain tuples, because comparing those costs a tenth of comparing two `Version` objects.
    """
    if len(text) > MAX_LENGTH:
        return _loose(text)
    try:
        version = Version(text)
    except InvalidVersion:
        return _loose(text.lower())
    release = list(version.release)
    while release and release[-1] == 0:
        release.pop()
    if version.pre is not None:
        pre: VersionKey = (0, *version.pre)
    elif version.dev is not None and version.post is None:
        pre = (-1,)  # 1.0.dev1 is before 1.0a1
    else:
        pre = (1,)
    post = -1 if version.post is None else version.post
    dev = (1, 0) if version.dev is None else (0, version.dev)
    parts = version.local.split(".") if version.local else []
    local = tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts)
    return (_WELL_FORMED, version.epoch, tuple(release), pre, post, dev, local)


_SEMVER = re.compile(
    r"""[vV=]?(?:go)?
    (?P<numbers>[0-9]+(?:\.[0-9]+)*)
    (?:-(?P<pre>[0-9A-Za-z.\-~]+)|(?P<glued>[A-Za-z][0-9A-Za-z.\-]*))?
    (?:\+(?P<build>[0-9A-Za-z.\-]*))?""",
    re.VERBOSE,
)
_GLUED_PIECE = re.compile(r"[0-9]+|[A-Za-z]+")


@lru_cache(maxsize=65_536)
def semver(text: str) -> VersionKey:
    """Semantic Versioning 2.0.0 §11, as tools that consume it read it.

    Missing numbers are zero, a leading `v` or `go` falls away, build metadata does not count, and Go's own `1.21rc2` is
    `1.21.0-rc.2`.
    """
    match = _SEMVER.fullmatch(text.strip()) if len(text) <= MAX_LENGTH else None
    if match is None:
        return _loose(text)
    numbers = [int(number) for number in match["numbers"].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    if match["pre"] is not None:
        return (_WELL_FORMED, tuple(numbers), 0, _identifiers(match["pre"].split(".")))
    if match["glued"] is not None:
        return (_WELL_FORMED, tuple(numbers), 0, _identifiers(_GLUED_PIECE.findall(match["glued"])))
    return (_WELL_FORMED, tuple(numbers), 1, ())


def _identifiers(pieces: list[str]) -> VersionKey:
    """Numeric identifiers by value and below alphanumeric ones; a longer list is newer than its own beginning."""
    return tuple((0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces)


_ORDERINGS: dict[str, Ordering] = {
    "PyPI": pep440,
    "npm": semver,
    "Go": semver,
    "crates.io": semver,
    "Julia": semver,
    "Hex": semver,
    "Bitnami": semver,
    "SwiftURL": semver,
    "GitHub Actions": semver,
}
