"""Which features made a flow odd: how much sooner each one set it apart than a typical flow.

A step down a tree changes what leaf is to be expected, and the change is put down to the feature that was asked; the
steps of all trees and the ensemble's expectation add up to its raw score. It costs as much as a score, where exact
Shapley values of a forest cost a thousand times as much.

Source: A. Saabas, "Interpreting random forests" (2014), as local increments; a leaf of an isolation forest is a path
length (F. T. Liu, K. M. Ting, Z.-H. Zhou, "Isolation Forest", ICDM 2008), of which a shorter one counts for odd.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.compiled import jit
from securenet_detection.models.contributions import largest
from securenet_detection.models.trees import TreeEnsemble
from securenet_detection.threats import Contribution

# What a compiled function takes and gives; numba goes by inference.
_Array = Any

#: Rows of one batch that are explained at most.
_ROWS: Final = 4096


class PathExplainer:
    """Increments of one forest of path lengths.

    Args:
        trees: of the served model.
        names: of its features.
        baseline: float64 (columns,), median of each feature in the training, NaN where it is not known.

    Raises:
        ValueError: the trees do not say how many rows came to each node.
    """

    def __init__(self, trees: TreeEnsemble, names: Sequence[str], baseline: NDArray[np.float64]) -> None:
        if trees.cover is None:
            raise ValueError("trees: no covers (nodes_hitrates)")
        self._trees = trees
        self._names = tuple(names)
        self._baseline = baseline.tolist()
        self._mean = np.empty(len(trees.feature))
        expect(trees.left, trees.right, trees.cover, trees.value, self._mean)
        #: Rows of one batch that are explained at most.
        self.rows = _ROWS

    def values(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Increments, float64 (n, columns), of rows, float32 (n, columns): splits fewer until each is alone."""
        trees = self._trees
        out = np.zeros((len(rows), trees.columns))
        descend(
            trees.roots, trees.feature, trees.threshold, trees.left, trees.right, trees.missing_left, self._mean,
            np.ascontiguousarray(rows), out,
        )  # fmt: skip
        return out

    def contributions(self, row: NDArray[np.float32], increments: NDArray[np.float64]) -> tuple[Contribution, ...]:
        """At most eight features of a row that moved its score, the largest first, given their increments."""
        return largest(increments, self._names, row, self._baseline)


@jit
def expect(left: _Array, right: _Array, cover: _Array, value: _Array, mean: _Array) -> None:
    """Mean of the leaves below each node, by the rows of the training; parents stand before their children."""
    for node in range(len(left) - 1, -1, -1):
        if left[node] < 0:
            mean[node] = value[node]
            continue
        a, b = cover[left[node]], cover[right[node]]
        mean[node] = (a * mean[left[node]] + b * mean[right[node]]) / (a + b)


@jit
def descend(  # noqa: PLR0917 - numba takes arguments by position
    roots: _Array,
    feature: _Array,
    threshold: _Array,
    left: _Array,
    right: _Array,
    missing_left: _Array,
    mean: _Array,
    x: _Array,
    out: _Array,
) -> None:
    """Takes the increments of rows from `out`, float64 (n, columns); the trees are as in TreeEnsemble."""
    for i in range(len(x)):
        for root in roots:
            node = root
            while left[node] >= 0:
                column = feature[node]
                number = x[i, column]
                goes_left = missing_left[node] if np.isnan(number) else number <= threshold[node]
                below = left[node] if goes_left else right[node]
                out[i, column] -= mean[below] - mean[node]
                node = below


def warm_up() -> None:
    """Compiles the loops, or loads them from the disk cache."""
    PathExplainer(TreeEnsemble.stump(), ("",), np.zeros(1)).values(np.zeros((1, 1), np.float32))
