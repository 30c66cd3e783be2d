"""The part of STIX 2.1's patterning that single flows can answer.

`pattern = observation { OR observation }`, `observation = '[' comparison ']'`, and in it equalities, IN, ISSUBSET and
LIKE '%.name' joined by OR. AND is understood where all but one side only say of which type the other is, as
`network-traffic:dst_ref.type = 'ipv4-addr'` does. What else the language has (NOT, MATCHES, comparisons of order,
FOLLOWEDBY, WITHIN, REPEATS, START) asks for more than one flow shows, and such a pattern is refused rather than
answered too broadly. https://docs.oasis-open.org/cti/stix/v2.1/stix-v2.1.html, section 9.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: Bounds of one pattern.
LONGEST_PATTERN: Final = 65_536
_TOKENS: Final = 8_192
_DEPTH: Final = 32

_TOKEN: Final = re.compile(
    r"\s*(?:"
    r"(?P<string>'(?:[^'\\]|\\.)*')"
    r"|(?P<path>[a-z][a-z0-9-]{0,249}:[A-Za-z_](?:[A-Za-z0-9_-]|\.|\[\d{1,6}\]|\[\*\]|'[^'\\]{0,250}'){0,500})"
    r"|(?P<word>[A-Za-z]{1,20})"
    r"|(?P<mark>!=|<>|<=|>=|==|=|<|>|\[|\]|\(|\)|,)"
    r"|(?P<number>[+-]?\d{1,20}(?:\.\d{1,20})?)"
    r"|(?P<other>[bht]'[^']*')"
    r")"
)
_TYPE_TESTS: Final = (".type", ":type")


class PatternError(ValueError):
    """A pattern that is broken, or asks for what one flow does not show."""


class Comparison(NamedTuple):
    """An object path that is to equal a text; `below`: to end with it behind a dot."""

    path: str
    value: str
    below: bool = False


def alternatives(pattern: str) -> list[Comparison]:
    """The comparisons any one of which makes the pattern hold.

    Raises:
        PatternError: see there.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise PatternError(f"{len(pattern):,} characters; at most {LONGEST_PATTERN:,} are read")
    reader = _Reader(_tokens(pattern))
    found = reader.observations(0)
    if reader.at < len(reader.tokens):
        raise PatternError(f"{reader.tokens[reader.at][1]} behind an observation is not supported")
    return found


def _tokens(pattern: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    end = len(pattern.rstrip())
    while at < end:
        match = _TOKEN.match(pattern, at)
        if match is None:
            raise PatternError(f"character {at + 1}: {pattern[at : at + 20]!r}")
        if len(found) >= _TOKENS:
            raise PatternError(f"more than {_TOKENS:,} words")
        found.append((match.lastgroup or "", match[match.lastgroup or 0]))
        at = match.end()
    return found


class _Reader:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.at = 0

    def _peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def _take(self, expected: str = "") -> tuple[str, str]:
        if self.at >= len(self.tokens):
            raise PatternError(f"ends where {expected or 'more'} was expected")
        token = self.tokens[self.at]
        if expected and token[1] != expected:
            raise PatternError(f"{token[1]}; expected {expected}")
        self.at += 1
        return token

    def observations(self, depth: int) -> list[Comparison]:
        found = self._observation(depth)
        while self._peek() == "OR":
            self._take()
            found += self._observation(depth)
        if self._peek() in ("AND", "FOLLOWEDBY"):
            raise PatternError(f"{self._peek()} of observations asks for more than one flow")
        return found

    def _observation(self, depth: int) -> list[Comparison]:
        if depth > _DEPTH:
            raise PatternError(f"nested more than {_DEPTH} deep")
        if self._peek() == "(":
            self._take()
            found = self.observations(depth + 1)
            self._take(")")
            return found
        self._take("[")
        found = self._any_of(depth + 1)
        self._take("]")
        return found

    def _any_of(self, depth: int) -> list[Comparison]:
        found = self._all_of(depth)
        while self._peek() == "OR":
            self._take()
            found += self._all_of(depth)
        return found

    def _all_of(self, depth: int) -> list[Comparison]:
        sides = [self._comparison(depth)]
        while self._peek() == "AND":
            self._take()
            sides.append(self._comparison(depth))
        telling = [side for side in sides if not all(one.path.endswith(_TYPE_TESTS) for one in side)]
        if len(telling) > 1:
            raise PatternError("AND asks for more than one indicator shows")
        return telling[0] if telling else sides[0]

    def _comparison(self, depth: int) -> list[Comparison]:
        if depth > _DEPTH:
            raise PatternError(f"nested more than {_DEPTH} deep")
        if self._peek() == "(":
            self._take()
            found = self._any_of(depth + 1)
            self._take(")")
            return found
        kind, path = self._take()
        if kind != "path":
            raise PatternError(f"{path}; expected an object path such as ipv4-addr:value")
        operator = self._take()[1]
        if operator == "IN":
            return [Comparison(path, text) for text in self._texts()]
        if operator in ("=", "==", "ISSUBSET"):
            return [Comparison(path, self._constant())]
        if operator == "LIKE":
            text = self._constant()
            if text.startswith("%.") and not re.search(r"[%_]", text[2:]):
                return [Comparison(path, text[2:], below=True)]
            raise PatternError(f"LIKE {text!r}; only LIKE '%.name' is supported")
        raise PatternError(f"{operator} is not supported")

    def _texts(self) -> list[str]:
        self._take("(")
        found = [self._constant()]
        while self._peek() == ",":
            self._take()
            found.append(self._constant())
        self._take(")")
        return found

    def _constant(self) -> str:
        kind, text = self._take()
        if kind == "string":
            return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
        if kind in ("number", "word", "other"):
            return text
        raise PatternError(f"{text}; expected a constant")
