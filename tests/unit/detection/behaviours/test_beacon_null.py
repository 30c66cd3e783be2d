"""What beacon's timestamp score is held against."""

from __future__ import annotations

import numpy as np
import pytest

from securenet_detection.behaviours import beacon_null, regularity_kernels

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("row", range(len(beacon_null.COUNTS)))
def test_the_table_is_what_a_simulation_gives(row: int) -> None:
    null, shares, counts = beacon_null.table()
    again = beacon_null.simulate(int(counts[row]), 200_000, seed=77)
    # Twenty series of 200,000 lie beyond the last quantile: its error is the largest.
    body = shares <= 0.999
    np.testing.assert_allclose(again[body], null[row][body], atol=0.008)
    np.testing.assert_allclose(again[~body], null[row][~body], atol=0.02)


def test_the_table_rises_and_its_tail_shrinks_with_the_count() -> None:
    null, shares, counts = beacon_null.table()
    assert null.shape == (len(counts), len(shares))
    assert (np.diff(null, axis=1) > 0).all()
    assert (np.diff(null[:, -1]) < 0).all()


def test_regularity_by_hand() -> None:
    # Equal gaps; and 1, 2, 3, 4, 5: quartiles 2, 3, 4, no skewness, median deviation 1 of a median of 3.
    gaps = np.array([[60.0] * 5, [1.0, 5.0, 3.0, 2.0, 4.0]])
    np.testing.assert_allclose(regularity_kernels.regularity(gaps), [1.0, 0.25 + 0.75 * 2 / 3])


def test_regularity_does_not_depend_on_scale() -> None:
    gaps = np.random.default_rng(1).exponential(1.0, (50, 31))
    np.testing.assert_allclose(regularity_kernels.regularity(gaps.copy()), regularity_kernels.regularity(gaps * 3600))
