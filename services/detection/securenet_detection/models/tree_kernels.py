"""Compiled loops of the tree scorer."""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from securenet_detection.compiled import jit
from securenet_flows.kernel_memory import borrowed

# What a compiled function takes and gives; numba goes by inference.
_Array = Any

#: Leaves of a tree at most: bits of a mask.
LEAVES: Final = 32


#: Cells into which the span of a feature's thresholds is cut.
CELLS: Final = 256


@numba.njit(nogil=True, forceinline=True)
def _cell(number: float, low: float, scale: float) -> int:
    cell = (number - low) * scale
    if cell >= CELLS - 1:
        return CELLS - 1
    return int(cell) if cell > 0 else 0


@jit
def cells_of(numbers: _Array, low: float, scale: float) -> _Array:
    """int64 (n,): cell of each number, as :func:`score_trees` finds it: a higher one never has a lower number."""
    out = np.empty(len(numbers), np.int64)
    for i in range(len(numbers)):
        out[i] = _cell(numbers[i], low, scale)
    return out


@numba.njit(nogil=True, forceinline=True)
def _place(thresholds: _Array, first: int, count: int, start: int, number: float) -> int:
    """How many of the sorted thresholds are less than a number, of which `start` are for certain."""
    place = start
    while place < count and thresholds[first + place] < number:
        place += 1
    return place


@jit
def score_trees(  # noqa: PLR0917 - numba takes arguments by position
    thresholds: _Array,
    ends: _Array,
    columns: _Array,
    lows: _Array,
    scales: _Array,
    starts: _Array,
    masks: _Array,
    values: _Array,
    base: float,
    matrix: _Array,
    out: _Array,
) -> None:
    """Sums of the leaves that rows come to.

    A tree's leaves are bits, in their order from the left. What a feature's value rules out in every tree is one row of
    masks; the leaf of a tree is the lowest bit that no feature rules out. Lucchese et al., "QuickScorer: A Fast
    Algorithm to Rank Documents with Additive Ensembles of Regression Trees", SIGIR 2015; here the masks of one value
    are put together beforehand.

    Args:
        thresholds: float32, sorted, of one asked feature after another.
        ends: int64 (asked + 1,), where those of each begin, and where the last end.
        columns: int64 (asked,), column of each asked feature.
        lows, scales: float32 (asked,), where the cells of each begin, and how many there are to a unit.
        starts: uint16 (asked, CELLS), thresholds of the cells before each: most values are one comparison from theirs.
        masks: uint32 (rows of masks, trees), a row for each place between a feature's thresholds, and one for NaN.
        values: float64 (trees, LEAVES).
        base: what is added to each sum.
        matrix: float32 (n, features).
        out: float64 (n,), filled.
    """
    thresholds, masks, values, starts = borrowed(thresholds), borrowed(masks), borrowed(values), borrowed(starts)
    trees, asked = masks.shape[1], len(columns)
    left = np.empty(trees, np.uint32)
    # Rows of masks in fours; the last one of all rules nothing out.
    at = np.full((asked + 3) // 4 * 4, len(masks) - 1, np.int64)
    for i in range(len(matrix)):
        for f in range(asked):
            number = matrix[i, columns[f]]
            first, count = ends[f], ends[f + 1] - ends[f]
            if np.isnan(number):
                place = count + 1
            else:
                place = _place(thresholds, first, count, starts[f, _cell(number, lows[f], scales[f])], number)
            # Each feature has two more places than thresholds.
            at[f] = first + 2 * f + place
        for t in range(trees):
            left[t] = np.uint32(0xFFFFFFFF)
        for f in range(0, len(at), 4):
            a, b, c, d = masks[at[f]], masks[at[f + 1]], masks[at[f + 2]], masks[at[f + 3]]
            for t in range(trees):
                left[t] &= a[t] & b[t] & c[t] & d[t]
        total = base
        for t in range(trees):
            # Ones below the lowest bit, counted. numba makes 64 bits of each result of two numbers of 32.
            x = np.uint32(~left[t] & (left[t] - np.uint32(1)))
            x = np.uint32(x - ((x >> np.uint32(1)) & np.uint32(0x55555555)))
            x = np.uint32((x & np.uint32(0x33333333)) + ((x >> np.uint32(2)) & np.uint32(0x33333333)))
            x = np.uint32((x + (x >> np.uint32(4))) & np.uint32(0x0F0F0F0F))
            total += values[t, np.uint32(x * np.uint32(0x01010101)) >> np.uint32(24)]
        out[i] = total


@numba.njit(nogil=True, forceinline=True)
def _rank(thresholds: _Array, begin: int, end: int, threshold: float) -> int:
    """Where a threshold stands among the sorted ones from `begin` to `end`."""
    while begin < end:
        middle = (begin + end) >> 1
        if thresholds[middle] < threshold:
            begin = middle + 1
        else:
            end = middle
    return begin


@jit
def lay_masks(  # noqa: PLR0917 - numba takes arguments by position
    roots: _Array,
    asked: _Array,
    threshold: _Array,
    left: _Array,
    right: _Array,
    missing_left: _Array,
    value: _Array,
    thresholds: _Array,
    ends: _Array,
    masks: _Array,
    values: _Array,
) -> int:
    """Numbers each tree's leaves from the left, and takes those of a left branch from the values that go right.

    Args:
        roots, threshold, left, right, missing_left, value: as in TreeEnsemble.
        asked: int64 (nodes,), position of each node's feature among those that are asked for.
        thresholds, ends: as in :func:`score_trees`.
        masks: uint32 (rows of masks, trees), all ones; filled.
        values: float64 (trees, LEAVES), filled.

    Returns:
        The first tree with more than :data:`LEAVES` leaves, −1 where there is none.
    """
    first = np.zeros(len(left), np.int64)
    # Branches that wait: as many as a tree is deep at most, and one more.
    waiting = np.empty(len(left) + 1, np.int64)
    for tree in range(len(roots)):
        leaves = 0
        waiting[0] = roots[tree]
        count = 1
        while count > 0:
            count -= 1
            node = waiting[count]
            if node >= 0:
                if left[node] < 0:
                    if leaves == LEAVES:
                        return tree
                    values[tree, leaves] = value[node]
                    leaves += 1
                    continue
                # A node is met again between its branches: what was numbered meanwhile is the left.
                first[node] = leaves
                waiting[count] = right[node]
                waiting[count + 1] = ~node
                waiting[count + 2] = left[node]
                count += 3
                continue
            node = ~node
            gone = (np.int64(1) << leaves) - (np.int64(1) << first[node])
            kept = np.uint32(~gone & 0xFFFFFFFF)
            begin, end = ends[asked[node]], ends[asked[node] + 1]
            place = _rank(thresholds, begin, end, threshold[node]) - begin
            base = begin + 2 * asked[node]
            masks[base + place + 1, tree] &= kept
            if not missing_left[node]:
                masks[base + end - begin + 1, tree] &= kept
    # What is beyond a threshold is beyond those before it as well.
    for feature in range(len(ends) - 1):
        base = ends[feature] + 2 * feature
        for row in range(base + 1, base + ends[feature + 1] - ends[feature] + 1):
            for tree in range(len(roots)):
                masks[row, tree] &= masks[row - 1, tree]
    return -1
