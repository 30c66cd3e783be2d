"""Which features moved a model's score: exact Shapley values of its trees, for the rows that somebody asks about.

Path-dependent tree SHAP: what a feature that is not known would be is what the rows of the training were below the same
branch. The values of a row and the ensemble's expectation add up to its raw score (log-odds of a boosted model).

Source: S. M. Lundberg, G. G. Erion, S.-I. Lee, "Consistent Individualized Feature Attribution for Tree Ensembles",
arXiv:1802.03888 (2018); leaf by leaf as in R. Mitchell, E. Frank, G. Holmes, "GPUTreeShap", PeerJ Computer Science 8
(2022); with the values of each set of features worked out beforehand as in J. Yang, "Fast TreeSHAP", arXiv:2109.09847
(2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Protocol

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


#: Rows that are worked out at once.
_TOGETHER: Final = 16

#: Features on the way to a leaf that has a table, and values in all tables together: at most 8 MiB.
_DEEPEST: Final = 10
_TABULATED: Final = 1 << 20

Int64 = NDArray[np.int64]


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
        self._columns = trees.columns
        self._names = tuple(names)
        self._baseline = baseline.tolist()
        leaves = np.flatnonzero(trees.left < 0)
        parent = np.full(nodes, -1, np.int64)
        inner = np.flatnonzero(trees.left >= 0)
        parent[trees.left[inner]] = inner
        parent[trees.right[inner]] = inner
        below = parent >= 0
        share = np.ones(nodes)
        share[below] = trees.cover[below] / trees.cover[parent[below]]
        depth, reach = np.zeros(nodes, np.int64), np.ones(nodes)
        kernels.reach_nodes(parent, share, depth, reach)
        self._paths = _paths(trees, leaves, parent, share, int(depth[leaves].sum()))
        self._value = trees.value[leaves]
        self._weight = _weights(trees.columns)
        ends, *_, cold = self._paths
        self._tables, size = _tables(np.diff(ends))
        self._known = np.empty(size)
        kernels.tabulate(ends, cold, self._value, self._weight, self._tables, self._known)
        #: What the ensemble gives on average over the rows of the training.
        self.expected = trees.base + float(trees.value[leaves] @ reach[leaves])
        #: Rows of one batch that are explained at most.
        self.rows = int(min(_ROWS, max(1, _STEPS // max(1, int(np.sum(depth[leaves] ** 2))))))

    def values(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Shapley values, float64 (n, columns), of rows of features, float32 (n, columns)."""
        out = np.zeros((self._columns, len(rows)))
        turned = np.ascontiguousarray(rows.T)
        kernels.contribute(*self._paths, self._value, self._weight, self._tables, self._known, turned, out)
        return out.T

    def contributions(self, row: NDArray[np.float32], shapley: NDArray[np.float64]) -> tuple[Contribution, ...]:
        """At most eight features of a row that moved its score, the largest first, given their values."""
        return largest(shapley, self._names, row, self._baseline)


class RowExplainer(Protocol):
    """Says why a model gave rows their scores."""

    @property
    def rows(self) -> int:
        """Rows of one batch that are explained at most."""

    def values(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """What each feature added, float64 (n, columns), of rows of features, float32 (n, columns)."""

    def contributions(self, row: NDArray[np.float32], values: NDArray[np.float64], /) -> tuple[Contribution, ...]:
        """At most eight features of a row that moved its score, the largest first, given what each added."""


class Explanations:
    """Why the model scored the rows of one batch as it did; told of so many rows and no more, so work is bounded.

    Args:
        explainer: of the model that scored, None where there is none.
        matrix: float32 (n, columns), the features that it saw.
        likely: int64 (k,), sorted, rows that are likely to be asked for: several at once cost less.
    """

    def __init__(self, explainer: RowExplainer | None, matrix: NDArray[np.float32], likely: Int64) -> None:
        self._explainer = explainer
        self._matrix = matrix
        self._likely = likely
        self._values: dict[int, NDArray[np.float64]] = {}
        self._told: dict[int, tuple[Contribution, ...]] = {}

    def at(self, row: int) -> tuple[Contribution, ...]:
        """Contributions of a row, the largest first; none where nothing can be told, or enough was."""
        explainer = self._explainer
        if explainer is None:
            return ()
        if row not in self._told:
            if len(self._told) >= explainer.rows:
                return ()
            if row not in self._values:
                self._work_out(explainer, row)
            self._told[row] = explainer.contributions(self._matrix[row], self._values[row])
        return self._told[row]

    def _work_out(self, explainer: RowExplainer, row: int) -> None:
        begin = int(np.searchsorted(self._likely, row, "right"))
        end = begin + min(_TOGETHER, explainer.rows - len(self._told)) - 1
        rows = [row, *self._likely[begin:end].tolist()]
        self._values.update(zip(rows, explainer.values(self._matrix[rows]), strict=True))


def largest(
    added: NDArray[np.float64], names: Sequence[str], row: NDArray[np.float32], baseline: Sequence[float]
) -> tuple[Contribution, ...]:
    """At most eight features that moved a row's score, the largest first.

    Args:
        added: float64 (columns,), by how much each did.
        names: of the features.
        row: float32 (columns,), their values.
        baseline: their medians in the training, NaN where they are not known.
    """
    values, numbers = added.tolist(), row.tolist()
    order = sorted(range(len(values)), key=lambda at: -abs(values[at]))[:_NAMED]
    return tuple(
        Contribution(names[at], _known(numbers[at]), _known(baseline[at]), values[at]) for at in order if values[at]
    )


def warm_up() -> None:
    """Compiles the loop, or loads it from the disk cache."""
    Explainer(TreeEnsemble.stump(), ("",), np.zeros(1)).values(np.zeros((1, 1), np.float32))


def _weights(most: int) -> NDArray[np.float64]:
    table = np.zeros((most + 1, most + 1))
    for features in range(1, most + 1):
        for others in range(features):
            table[features, others] = 1.0 / (features * math.comb(features - 1, others))
    return table


def _paths(
    trees: TreeEnsemble, leaves: Int64, parent: Int64, share: NDArray[np.float64], questions: int
) -> tuple[NDArray[Any], ...]:
    """What :func:`.kernels.find_paths` fills."""
    filled = (
        np.zeros(len(leaves) + 1, np.int64),
        np.zeros(questions, np.int64),
        np.zeros((questions, 2), np.float32),
        np.zeros(questions, np.bool_),
        np.zeros(questions),
    )
    kernels.find_paths(
        leaves, parent, trees.feature, trees.threshold, trees.left, trees.missing_left, share, trees.columns, *filled
    )
    return filled


def _tables(depths: Int64) -> tuple[Int64, int]:
    """Where the table of each leaf begins, −1 for leaves of too many features, and how long all of them are."""
    sizes = depths << np.minimum(depths, _DEEPEST)
    order = np.argsort(depths, kind="stable")
    fits = (np.cumsum(sizes[order]) <= _TABULATED) & (depths[order] <= _DEEPEST)
    chosen = order[fits]
    begins = np.full(len(depths), -1, np.int64)
    begins[chosen] = np.cumsum(sizes[chosen]) - sizes[chosen]
    return begins, int(sizes[chosen].sum())


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
