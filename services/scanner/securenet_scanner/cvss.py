"""CVSS base scores from their vectors.

Formulas and constants: FIRST, "Common Vulnerability Scoring System v3.1: Specification Document", §7.1 and §7.4 (the
3.0 equations differ only in rounding, which 3.1 made exact), and "A Complete Guide to the CVSS Version 2.0", §3.2.1.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass


class Severity(enum.IntEnum):
    """The qualitative scale of CVSS v3.1 §5; UNKNOWN where a source states nothing that can be read."""

    UNKNOWN = 0
    NONE = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5


_WORDS = {
    "none": Severity.NONE,
    "negligible": Severity.LOW,
    "low": Severity.LOW,
    "moderate": Severity.MEDIUM,
    "medium": Severity.MEDIUM,
    "important": Severity.HIGH,
    "high": Severity.HIGH,
    "critical": Severity.CRITICAL,
}


def severity_of_word(word: str) -> Severity:
    """The level that an advisory's own word stands for (GitHub, Bitnami, Red Hat use these)."""
    return _WORDS.get(word.strip().lower(), Severity.UNKNOWN)


def severity_of_score(score: float) -> Severity:
    """CVSS v3.1 §5: 0 none, to 3.9 low, to 6.9 medium, to 8.9 high, then critical."""
    if score >= 9.0:
        return Severity.CRITICAL
    if score >= 7.0:
        return Severity.HIGH
    if score >= 4.0:
        return Severity.MEDIUM
    return Severity.LOW if score > 0.0 else Severity.NONE


@dataclass(frozen=True, slots=True)
class CvssVector:
    """A vector with what was computed from it."""

    version: str
    """`2.0`, `3.0`, `3.1` or `4.0`."""
    vector: str
    base_score: float | None
    """0 to 10; None for versions that are kept but not scored here (4.0)."""


_V3 = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
_V3_PRIVILEGES = {"U": {"N": 0.85, "L": 0.62, "H": 0.27}, "C": {"N": 0.85, "L": 0.68, "H": 0.5}}

_V2 = {
    "AV": {"N": 1.0, "A": 0.646, "L": 0.395},
    "AC": {"L": 0.71, "M": 0.61, "H": 0.35},
    "Au": {"N": 0.704, "S": 0.56, "M": 0.45},
    "C": {"N": 0.0, "P": 0.275, "C": 0.660},
    "I": {"N": 0.0, "P": 0.275, "C": 0.660},
    "A": {"N": 0.0, "P": 0.275, "C": 0.660},
}

MAX_VECTOR_LENGTH = 512


def parse(vector: str) -> CvssVector:
    """Read a vector of any version and score the base metrics of 2.0, 3.0 and 3.1.

    Raises ValueError naming the metric that is missing, repeated or has an unknown value.
    """
    if len(vector) > MAX_VECTOR_LENGTH:
        raise ValueError(f"CVSS vector of {len(vector)} characters; at most {MAX_VECTOR_LENGTH} are read")
    prefix, _, rest = vector.partition("/")
    if prefix in {"CVSS:3.0", "CVSS:3.1"}:
        return CvssVector(prefix[5:], vector, _base_v3(_metrics(rest)))
    if prefix == "CVSS:4.0":
        _metrics(rest)
        return CvssVector("4.0", vector, None)
    if prefix.startswith("CVSS:"):
        raise ValueError(f"CVSS version {prefix[5:]!r}; 2.0, 3.0, 3.1 and 4.0 are known")
    return CvssVector("2.0", vector, _base_v2(_metrics(vector.strip("()"))))


def _metrics(text: str) -> dict[str, str]:
    metrics: dict[str, str] = {}
    for part in text.split("/"):
        name, colon, value = part.partition(":")
        if not colon or not name or not value:
            raise ValueError(f"CVSS metric {part!r}; expected NAME:VALUE")
        if name in metrics:
            raise ValueError(f"CVSS metric {name} stands twice")
        metrics[name] = value
    return metrics


def _weight(weights: dict[str, float], metrics: dict[str, str], name: str) -> float:
    value = metrics.get(name)
    if value is None:
        raise ValueError(f"CVSS metric {name} is missing")
    if value not in weights:
        raise ValueError(f"CVSS metric {name}:{value}; expected one of {', '.join(weights)}")
    return weights[value]


def _base_v3(metrics: dict[str, str]) -> float:
    scope = metrics.get("S", "")
    if scope not in _V3_PRIVILEGES:
        raise ValueError(f"CVSS metric S:{scope}; expected U or C")
    weight = {name: _weight(weights, metrics, name) for name, weights in _V3.items()}
    privileges = _weight(_V3_PRIVILEGES[scope], metrics, "PR")
    iss = 1 - (1 - weight["C"]) * (1 - weight["I"]) * (1 - weight["A"])
    impact = 6.42 * iss if scope == "U" else 7.52 * (iss - 0.029) - 3.25 * (iss - 0.02) ** 15
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * weight["AV"] * weight["AC"] * privileges * weight["UI"]
    factor = 1.0 if scope == "U" else 1.08
    return _round_up(min(factor * (impact + exploitability), 10.0))


def _round_up(value: float) -> float:
    """The smallest tenth not below the value, in integers so that binary fractions do no harm (v3.1, appendix A)."""
    hundred_thousandths = round(value * 100_000)
    if hundred_thousandths % 10_000 == 0:
        return hundred_thousandths / 100_000
    return (math.floor(hundred_thousandths / 10_000) + 1) / 10


def _base_v2(metrics: dict[str, str]) -> float:
    weight = {name: _weight(weights, metrics, name) for name, weights in _V2.items()}
    impact = 10.41 * (1 - (1 - weight["C"]) * (1 - weight["I"]) * (1 - weight["A"]))
    exploitability = 20 * weight["AV"] * weight["AC"] * weight["Au"]
    factor = 0.0 if impact == 0 else 1.176
    return math.floor((0.6 * impact + 0.4 * exploitability - 1.5) * factor * 10 + 0.5) / 10
