"""Compiled loop of tree SHAP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

# What a compiled function takes and gives; numba goes by inference.
_Array = Any


def _jit(function: Callable[..., Any]) -> Any:
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        # Neither the source's folder nor the user's cache folder can be written: compiled at each start instead.
        return numba.njit(nogil=True)(function)


@_jit
def contribute(  # noqa: PLR0917 - one walk over the leaves
    leaves: _Array,
    parent: _Array,
    feature: _Array,
    threshold: _Array,
    left: _Array,
    missing_left: _Array,
    value: _Array,
    share: _Array,
    weight: _Array,
    x: _Array,
    out: _Array,
) -> None:
    """Adds the Shapley values of a row's features to `out`.

    On the way up from a leaf each feature that was asked has `hot`, whether the row takes all of its branches, and
    `cold`, the share of the training that did. With A the hot features of a leaf's d, the sums over subsets are the
    coefficients of Π_{A} (cold + t) · Π_{others} cold, from which each hot feature is divided out.

    Args:
        leaves: int64, positions of leaves.
        parent: int64 (nodes,), −1 in roots.
        feature, threshold, left, missing_left, value: as in TreeEnsemble.
        share: float64 (nodes,), rows of the training that came from the parent here, 0–1.
        weight: float64 (d + 1, d + 1), k! (d − k − 1)! / d! at [d, k].
        x: float32 (columns,).
        out: float64 (columns,).
    """
    columns = len(x)
    place = np.full(columns, -1, np.int64)
    asked = np.empty(columns, np.int64)
    cold = np.empty(columns, np.float64)
    hot = np.empty(columns, np.bool_)
    terms = np.empty(columns + 1, np.float64)
    for leaf in leaves:
        depth = 0
        node = leaf
        while parent[node] >= 0:
            above = parent[node]
            column = feature[above]
            number = x[column]
            goes_left = missing_left[above] if np.isnan(number) else number <= threshold[above]
            at = place[column]
            if at < 0:
                at = depth
                place[column] = at
                asked[at] = column
                cold[at] = 1.0
                hot[at] = True
                depth += 1
            cold[at] *= share[node]
            hot[at] = hot[at] and goes_left == (left[above] == node)
            node = above
        terms[0] = 1.0
        degree = 0
        for at in range(depth):
            place[asked[at]] = -1
            if not hot[at]:
                for k in range(degree + 1):
                    terms[k] *= cold[at]
                continue
            terms[degree + 1] = terms[degree]
            for k in range(degree, 0, -1):
                terms[k] = terms[k] * cold[at] + terms[k - 1]
            terms[0] *= cold[at]
            degree += 1
        without = 0.0
        for k in range(degree + 1):
            if k < depth:
                without += weight[depth, k] * terms[k]
        for at in range(depth):
            if not hot[at]:
                out[asked[at]] -= value[leaf] * without
                continue
            total = 0.0
            rest = terms[degree]
            for k in range(degree - 1, -1, -1):
                total += weight[depth, k] * rest
                rest = terms[k] - cold[at] * rest
            out[asked[at]] += value[leaf] * (1.0 - cold[at]) * total
