"""Bins of the training rows, as the manifest gives them and as serving reads them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from securenet_detection.models.distribution import read_distribution
from securenet_registry.training.distribution import BINS, spread

pytestmark = pytest.mark.unit


def test_bins_of_each_kind_of_feature() -> None:
    rng = np.random.default_rng(0)
    n = 5_000
    x = np.stack(
        [
            rng.normal(size=n), rng.random(n) < 0.3, np.ones(n),
            np.where(rng.random(n) < 0.25, np.nan, 1.0), np.full(n, np.nan),
        ],
        axis=1,
    ).astype(np.float32)  # fmt: skip
    weight = np.ones(n)
    document = json.loads(json.dumps(spread(x, weight, "abcde")))
    assert document["rows"] == n
    normal, flag, constant, gaps, unknown = read_distribution(document, "abcde")
    assert len(normal.edges) == BINS
    assert normal.shares[0] == 0
    assert normal.shares[1:-1] == pytest.approx(np.full(BINS, 1 / BINS), abs=0.01)
    assert normal.median == pytest.approx(float(np.median(x[:, 0])), abs=1e-2)
    assert flag.shares[1:3] == pytest.approx([1 - x[:, 1].mean(), x[:, 1].mean()])
    # What lies below the only value has a bin of its own.
    assert constant.edges[0] < 1
    assert constant.shares.tolist() == [0, 1, 0, 0]
    assert gaps.shares[-1] == pytest.approx(np.isnan(x[:, 3]).mean())
    assert (gaps.median, unknown.shares.tolist()) == (1.0, [0, 1])
    assert np.isnan(unknown.median)


def test_rows_weigh_as_in_the_fitting() -> None:
    x = np.array([[0.0], [0.0], [0.0], [1.0]], np.float32)
    (feature,) = read_distribution(spread(x, np.array([1.0, 1, 1, 3]) / 1.5, "a"), "a")
    assert feature.shares.tolist() == pytest.approx([0, 0.5, 0.5, 0, 0])


@pytest.mark.parametrize(
    "feature",
    [
        {"name": "b", "edges": [0], "shares": [0, 1, 0]},
        {"name": "a", "edges": [1, 0], "shares": [0, 1, 0, 0]},
        {"name": "a", "edges": [0], "shares": [1, 0]},
        {"name": "a", "edges": [0], "shares": [0, 2, 0]},
        {"name": "a", "edges": "x", "shares": [0, 1, 0]},
        {"name": "a", "edges": list(range(99)), "shares": [0] * 101},
        None,
    ],
)
def test_what_is_no_distribution_is_refused(feature: object) -> None:
    with pytest.raises(ValueError, match="distribution"):
        read_distribution({"features": [feature]}, "a")
