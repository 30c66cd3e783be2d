"""The features' own logarithm is the C library's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securenet_flows.feature_kernels import _log, _ones

pytestmark = pytest.mark.unit


@given(st.floats(min_value=0.0, max_value=2.0**63))
def test_logarithm_is_within_a_step_of_rounding(value: float) -> None:
    exact = math.log1p(value) * 1024
    assert abs(_log(value) * 1024 - exact) <= 0.5 + 1e-9


@given(st.integers(min_value=-(2**63), max_value=-1))
def test_what_cannot_be_counted_is_nothing(value: int) -> None:
    assert _log(float(value)) == 0.0


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_bits_are_counted(value: int) -> None:
    assert _ones(np.uint64(value)) == value.bit_count()
