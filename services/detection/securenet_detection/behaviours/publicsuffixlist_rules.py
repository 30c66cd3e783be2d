"""The Public Suffix List as the package `publicsuffixlist` carries it, read from disk without a network.

It costs 340 kB on disk and some 20 ms at the first DNS name that a process sees.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from securenet_detection.behaviours.name_kernels import EXCEPTION, SUFFIX, WILDCARD

_FILE = "public_suffix_list.dat"


@cache
def public_suffixes() -> tuple[tuple[bytes, int], ...]:
    """Text of each rule without its mark, and its kind; rules beyond ASCII also as DNS writes them (IDNA)."""
    found: list[tuple[bytes, int]] = []
    for line in (files("publicsuffixlist") / _FILE).read_text("utf-8").splitlines():
        rule = line.split(maxsplit=1)[0] if line.strip() else ""
        if not rule or rule.startswith("//"):
            continue
        kind = SUFFIX
        if rule.startswith("*."):
            rule, kind = rule[2:], WILDCARD
        elif rule.startswith("!"):
            rule, kind = rule[1:], EXCEPTION
        found.append((rule.encode(), kind))
        if not rule.isascii():
            found.append((rule.encode("idna"), kind))
    return tuple(found)
