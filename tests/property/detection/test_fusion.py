"""Fused risk is free of order, bounded, at least its greatest piece, and never falls when a piece is added or grows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securenet_detection.fusion import levels, risk

pytestmark = pytest.mark.unit

pieces = st.lists(st.floats(0, 1), min_size=1, max_size=16)


def of(values: list[float]) -> float:
    return float(risk(np.array([values]))[0])


@given(pieces, st.randoms(use_true_random=False))
def test_order_does_not_matter(values: Any, random: Any) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    assert of(shuffled) == of(values)


@given(pieces)
def test_it_lies_between_its_greatest_piece_and_one(values: Any) -> None:
    assert max(values) <= of(values) <= 1


@given(pieces, st.floats(0, 1))
def test_another_piece_never_takes_away(values: Any, more: Any) -> None:
    assert of([*values, more]) >= of(values) - 1e-12


@given(pieces, st.data())
def test_it_never_falls_when_a_piece_grows(values: Any, data: Any) -> None:
    at = data.draw(st.integers(0, len(values) - 1))
    grown = data.draw(st.floats(values[at], 1))
    assert of([*values[:at], grown, *values[at + 1 :]]) >= of(values) - 1e-12


@given(pieces)
def test_absent_pieces_are_nothing(values: Any) -> None:
    assert of([*values, 0.0, 0.0]) == pytest.approx(of(values), abs=1e-12)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 3), st.booleans())
def test_levels_rise_with_risk(a: Any, b: Any, tactics: Any, certain: Any) -> None:
    found = levels(np.sort([a, b]), np.full(2, tactics), np.full(2, certain))
    assert 1 <= found[0] <= found[1] <= 4
