"""Compiled loops of tree SHAP."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from securenet_detection.compiled import jit

# What a compiled function takes and gives; numba goes by inference.
_Array = Any


@jit
def reach_nodes(parent: _Array, share: _Array, depth: _Array, reach: _Array) -> None:
    """How far below its root each node is, int64 (nodes,), and what share of the training came to it, float64 (nodes,).

    Args:
        parent: int64 (nodes,), −1 in roots; parents stand before their children.
        share: float64 (nodes,), rows of the training that came from the parent here, 0–1.
        depth, reach: filled; zeros and ones before.
    """
    for node in range(len(parent)):
        if parent[node] >= 0:
            depth[node] = depth[parent[node]] + 1
            reach[node] = reach[parent[node]] * share[node]


@jit
def find_paths(  # noqa: PLR0917 - numba takes arguments by position
    leaves: _Array,
    parent: _Array,
    feature: _Array,
    threshold: _Array,
    left: _Array,
    missing_left: _Array,
    share: _Array,
    columns: int,
    ends: _Array,
    asked: _Array,
    bounds: _Array,
    unknown: _Array,
    cold: _Array,
) -> None:
    """What is asked on the way to each leaf: once of each feature, however often the way comes back to it.

    Args:
        leaves: int64 (m,), positions of leaves.
        parent: int64 (nodes,), −1 in roots.
        feature, threshold, left, missing_left: as in TreeEnsemble.
        share: float64 (nodes,), rows of the training that came from the parent here, 0–1.
        columns: of the feature matrix.
        ends: int64 (m + 1,), filled: where the questions of each leaf begin, and where the last end.
        asked: int64 (k,), filled: the feature that each question is about; k is at least the sum of depths.
        bounds: float32 (k, 2), filled: the way is taken by values above the first (NaN: all) and up to the second.
        unknown: boolean (k,), filled: whether it is taken where the feature is not known.
        cold: float64 (k,), filled: share of the training that took it.
    """
    place = np.full(columns, -1, np.int64)
    first = 0
    for leaf in range(len(leaves)):
        ends[leaf] = first
        end = first
        node = leaves[leaf]
        while parent[node] >= 0:
            above = parent[node]
            at = place[feature[above]]
            if at < 0:
                at = end
                place[feature[above]] = at
                asked[at] = feature[above]
                bounds[at, 0], bounds[at, 1] = np.nan, np.inf
                unknown[at] = True
                cold[at] = 1.0
                end += 1
            goes_left = left[above] == node
            if goes_left:
                bounds[at, 1] = min(bounds[at, 1], threshold[above])
            elif not bounds[at, 0] >= threshold[above]:
                bounds[at, 0] = threshold[above]
            unknown[at] = unknown[at] and missing_left[above] == goes_left
            cold[at] *= share[node]
            node = above
        for at in range(first, end):
            place[asked[at]] = -1
        first = end
    ends[len(leaves)] = first


@numba.njit(nogil=True)
def _shares(  # noqa: PLR0917 - numba takes arguments by position
    hot: int, cold: _Array, value: float, weight: _Array, terms: _Array, out: _Array
) -> None:
    """Shapley values of one leaf's features, given which of them take its way.

    With A the hot features of a leaf's d, the sums over subsets are the coefficients of Π_{A} (cold + t) ·
    Π_{others} cold, from which each hot feature is divided out.
    """
    depth = len(cold)
    terms[0] = 1.0
    degree = 0
    for at in range(depth):
        if not hot >> at & 1:
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
        if not hot >> at & 1:
            out[at] = -value * without
            continue
        total = 0.0
        rest = terms[degree]
        for k in range(degree - 1, -1, -1):
            total += weight[depth, k] * rest
            rest = terms[k] - cold[at] * rest
        out[at] = value * (1.0 - cold[at]) * total


@jit
def tabulate(  # noqa: PLR0917 - numba takes arguments by position
    ends: _Array, cold: _Array, value: _Array, weight: _Array, tables: _Array, known: _Array
) -> None:
    """The values of leaves of few features for every set of features that take the way.

    Args:
        ends, cold: of :func:`find_paths`.
        value: float64 (m,), of each leaf.
        weight: float64 (d + 1, d + 1), k! (d − k − 1)! / d! at [d, k].
        tables: int64 (m,), where each leaf's table begins, −1 where it has none.
        known: float64 (k,), filled: at table + set · depth + question.
    """
    terms = np.empty(weight.shape[0] + 1, np.float64)
    for leaf in range(len(tables)):
        if tables[leaf] < 0:
            continue
        depth = ends[leaf + 1] - ends[leaf]
        for hot in range(1 << depth):
            at = tables[leaf] + hot * depth
            _shares(hot, cold[ends[leaf] : ends[leaf + 1]], value[leaf], weight, terms, known[at : at + depth])


@jit
def contribute(  # noqa: PLR0917 - numba takes arguments by position
    ends: _Array,
    asked: _Array,
    bounds: _Array,
    unknown: _Array,
    cold: _Array,
    value: _Array,
    weight: _Array,
    tables: _Array,
    known: _Array,
    x: _Array,
    out: _Array,
) -> None:
    """Adds the Shapley values of rows of features to `out`.

    Leaf by leaf and not row by row: what is known of a leaf is read once for all rows.

    Args:
        ends, asked, bounds, unknown, cold: of :func:`find_paths`; at most 62 questions a leaf.
        value, weight, tables, known: of :func:`tabulate`.
        x: float32 (columns, n).
        out: float64 (columns, n).
    """
    rows = x.shape[1]
    terms = np.empty(weight.shape[0] + 1, np.float64)
    own = np.empty(weight.shape[0], np.float64)
    hot = np.empty(rows, np.int64)
    for leaf in range(len(tables)):
        first, end = ends[leaf], ends[leaf + 1]
        hot[:] = 0
        for at in range(first, end):
            column, low, high, absent = asked[at], bounds[at, 0], bounds[at, 1], unknown[at]
            for row in range(rows):
                number = x[column, row]
                inside = (number <= high) & ~(number <= low)
                hot[row] |= np.int64(inside | (absent & np.isnan(number))) << (at - first)
        table, depth = tables[leaf], end - first
        if table >= 0:
            for at in range(depth):
                column = asked[first + at]
                for row in range(rows):
                    out[column, row] += known[table + hot[row] * depth + at]
            continue
        for row in range(rows):
            _shares(hot[row], cold[first:end], value[leaf], weight, terms, own)
            for at in range(depth):
                out[asked[first + at], row] += own[at]
