"""Fusion: the formula and its levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from securenet_detection.fusion import WEIGHTS, levels, risk
from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit


def of(*pieces: float) -> float:
    return float(risk(np.array([pieces]))[0])


def test_the_formula() -> None:
    expected = 1 - (1 - 0.75) * (1 - 0.45) ** 2**-1.5 * (1 - 0.15) ** 3**-1.5
    assert of(0.15, 0.75, 0.45) == pytest.approx(expected, abs=1e-12)


def test_one_piece_is_itself_and_none_is_nothing() -> None:
    assert of(0.45) == 0.45
    assert risk(np.zeros((3, 0))).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("value", "level"), [(0.0, 1), (0.39, 1), (0.40, 2), (0.69, 2), (0.70, 3), (0.89, 3), (0.90, 4), (1.0, 4)]
)
def test_levels_of_risk(value: Any, level: Any) -> None:
    assert levels(np.array([value]), np.array([2]), np.array([False])).tolist() == [level]


def test_critical_needs_two_kinds_of_reason() -> None:
    risks = np.full(3, 0.95)
    found = levels(risks, np.array([1, 2, 1]), np.array([False, False, True]))
    assert found.tolist() == [ThreatLevel.HIGH, ThreatLevel.CRITICAL, ThreatLevel.CRITICAL]


def test_weights_of_levels() -> None:
    assert WEIGHTS[[ThreatLevel.LOW, ThreatLevel.MEDIUM, ThreatLevel.HIGH, ThreatLevel.CRITICAL]].tolist() == [
        0.15, 0.45, 0.75, 0.92,
    ]  # fmt: skip
