"""Which features moved a model's score: exact Shapley values of its trees, for the rows that somebody asks about.

Path-dependent tree SHAP: what a feature that is not known would be is what the rows of the training were below the same
branch. The values of a row and the ensemble's expectation add up to its raw score (log-odds of a boosted model).

Source: S. M. Lundberg, G. G. Erion, S.-I. Lee, "Consistent Individualized Feature Attribution for Tree Ensembles",
arXiv:1802.03888 (2018); leaf by leaf as in R. Mitchell, E. Frank, G. Holmes, "GPUTreeShap", PeerJ Computer Science 8
(2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.models import contribution_kernels as kernels
from securenet_detection.models.trees import TreeEnsemble
from securenet_detection.threats import Contribution

#: Features that one piece of evidence names.
_NAMED: Final = 8

#: Rows of one batch that are explained at most, and the steps that this may take (a step is some nanoseconds).
_ROWS: Final = 64
_STEPS: Final = 4_000_000


class Explainer:
    """Shapley values of one ensemble.

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
        nodes = len(trees.feature)
        self._trees = trees
        self._names = tuple(names)
        self._baseline = baseline
        self._leaves = np.flatnonzero(trees.left < 0)
        self._parent = np.full(nodes, -1, np.int64)
        inner = np.flatnonzero(trees.left >= 0)
        self._parent[trees.left[inner]] = inner
        self._parent[trees.right[inner]] = inner
        below = self._parent >= 0
        self._share = np.ones(nodes)
        self._share[below] = trees.cover[below] / trees.cover[self._parent[below]]
        self._weight = _weights(trees.columns)
        depth, reach = np.zeros(nodes, np.int64), np.ones(nodes)
        for node in np.flatnonzero(below).tolist():
            depth[node] = depth[self._parent[node]] + 1
            reach[node] = reach[self._parent[node]] * self._share[node]
        #: What the ensemble gives on average over the rows of the training.
        self.expected = trees.base + float(trees.value[self._leaves] @ reach[self._leaves])
        #: Rows of one batch that are explained at most.
        self.rows = int(min(_ROWS, max(1, _STEPS // max(1, int(np.sum(depth[self._leaves] ** 2))))))

    def values(self, row: NDArray[np.float32]) -> NDArray[np.float64]:
        """Shapley values, float64 (columns,), of one row of features."""
        out = np.zeros(self._trees.columns)
        trees = self._trees
        kernels.contribute(
            self._leaves, self._parent, trees.feature, trees.threshold, trees.left, trees.missing_left, trees.value,
            self._share, self._weight, row, out,
        )  # fmt: skip
        return out

    def contributions(self, row: NDArray[np.float32]) -> tuple[Contribution, ...]:
        """At most eight features of a row that moved its score, the largest first."""
        values = self.values(row)
        order = np.argsort(-np.abs(values), kind="stable")[:_NAMED].tolist()
        return tuple(
            Contribution(self._names[at], _known(row[at]), _known(self._baseline[at]), float(values[at]))
            for at in order
            if values[at]
        )


class Explanations:
    """Why the model scored the rows of one batch as it did; told of so many rows and no more, so work is bounded.

    Args:
        explainer: of the model that scored, None where there is none.
        matrix: float32 (n, columns), the features that it saw.
    """

    def __init__(self, explainer: Explainer | None, matrix: NDArray[np.float32]) -> None:
        self._explainer = explainer
        self._matrix = matrix
        self._told: dict[int, tuple[Contribution, ...]] = {}

    def at(self, row: int) -> tuple[Contribution, ...]:
        """Contributions of a row, the largest first; none where nothing can be told, or enough was."""
        explainer = self._explainer
        if explainer is None:
            return ()
        if row not in self._told:
            if len(self._told) >= explainer.rows:
                return ()
            self._told[row] = explainer.contributions(self._matrix[row])
        return self._told[row]


def warm_up() -> None:
    """Compiles the loop, or loads it from the disk cache."""
    one = np.array([0.5, 0.25, 0.75])
    stump = TreeEnsemble(
        roots=np.zeros(1, np.int64),
        feature=np.zeros(3, np.int64),
        threshold=one.astype(np.float32),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        missing_left=np.ones(3, np.bool_),
        value=one,
        cover=np.array([3.0, 1.0, 2.0]),
        base=0.0,
        columns=1,
    )
    Explainer(stump, ("",), one).values(np.zeros(1, np.float32))


def _weights(most: int) -> NDArray[np.float64]:
    table = np.zeros((most + 1, most + 1))
    for features in range(1, most + 1):
        for others in range(features):
            table[features, others] = 1.0 / (features * math.comb(features - 1, others))
    return table


def _known(value: float | np.floating) -> float | None:
    return None if math.isnan(value) else float(value)
