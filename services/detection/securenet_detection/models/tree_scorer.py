"""Scores an ensemble of small trees several times as fast as ONNX Runtime does, to the same result.

It takes the place of a runtime only after both said the same of the same rows; see :func:`faster`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.models import tree_kernels as kernels
from securenet_detection.models.interface import Classifier
from securenet_detection.models.trees import TreeEnsemble

Float = NDArray[np.float64]

#: Bytes of masks at most; more would not stay in a processor's cache, and be no faster.
_MOST_BYTES: Final = 1 << 25

#: Thresholds that lie closer together are in one cell.
_NARROWEST: Final = 1e-6

#: Largest difference between two scores that are called the same.
_TOLERANCE: Final = 1e-6

#: Rows that are made up for the comparison, beside those that are given.
_MADE_UP: Final = 4096


class TreeScorer:
    """Sum of the leaves of an ensemble, and what becomes of it.

    Args:
        trees: of at most 32 leaves each.
        finish: makes a probability of sums, float64 (n,).

    Raises:
        ValueError: a tree is too large, or all of them together are.
    """

    def __init__(self, trees: TreeEnsemble, finish: Callable[[Float], Float]) -> None:
        #: Makes a probability of sums.
        self.finish = finish
        self._base = trees.base
        inner = trees.left >= 0
        asked = np.unique(trees.feature[inner])
        sorted_thresholds = [np.unique(trees.threshold[inner & (trees.feature == column)]) for column in asked]
        sizes = np.array([len(some) for some in sorted_thresholds], np.int64)
        rows = int(sizes.sum()) + 2 * len(asked)
        if rows * len(trees.roots) * 4 > _MOST_BYTES or sizes.max(initial=0) > np.iinfo(np.uint16).max:
            raise ValueError(f"trees: {rows} places between thresholds of {len(trees.roots)} trees are too many")
        self._columns = asked.astype(np.int64)
        self._ends = np.append(0, np.cumsum(sizes)).astype(np.int64)
        self._thresholds = np.concatenate([np.zeros(0, np.float32), *sorted_thresholds]).astype(np.float32)
        if np.isnan(self._thresholds).any():
            raise ValueError("trees: a threshold is no number")
        self._lows, self._scales, self._starts = self._cells()
        self._masks = np.full((rows + 1, len(trees.roots)), 0xFFFFFFFF, np.uint32)
        self._values = np.zeros((len(trees.roots), kernels.LEAVES))
        asked_at = np.searchsorted(asked, trees.feature)
        large = kernels.lay_masks(
            trees.roots, asked_at, trees.threshold, trees.left, trees.right, trees.missing_left, trees.value,
            self._thresholds, self._ends, self._masks, self._values,
        )  # fmt: skip
        if large >= 0:
            raise ValueError(f"trees: tree {large} has more than {kernels.LEAVES} leaves")

    def _cells(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]]:
        """Where the cells of each asked feature begin, how many there are to a unit, and what lies before each."""
        lows, scales = np.zeros((2, len(self._columns)), np.float32)
        starts = np.zeros((len(self._columns), kernels.CELLS), np.uint16)
        for at, (begin, end) in enumerate(itertools.pairwise(self._ends.tolist())):
            some = self._thresholds[begin:end]
            # What is always true of a number is an infinite threshold: there, only those without one go right.
            finite = some[np.isfinite(some)]
            span = float(np.ptp(finite)) if len(finite) else 0.0
            lows[at] = finite[0] if len(finite) else 0.0
            scales[at] = kernels.CELLS / span if span > _NARROWEST else 0.0
            cells = kernels.cells_of(some, lows[at], scales[at])
            starts[at] = np.searchsorted(cells, np.arange(kernels.CELLS))
        return lows, scales, starts

    def scores(self, features: NDArray[np.float32]) -> Float:
        """Raw probability of the malicious class, float64 (n,)."""
        flags = features.flags
        if features.dtype != np.float32 or not flags.c_contiguous or not flags.writeable:
            features = np.require(features, np.float32, ("C", "W"))
        out = np.empty(len(features))
        kernels.score_trees(
            self._thresholds, self._ends, self._columns, self._lows, self._scales, self._starts, self._masks,
            self._values, self._base, features, out,
        )  # fmt: skip
        return self.finish(out)


def faster(classifier: Classifier, trees: TreeEnsemble, features: NDArray[np.float32]) -> Classifier:
    """A scorer of the same trees that says what the classifier says, or else the classifier itself.

    Args:
        classifier: what the model's file is opened with.
        trees: those of the file.
        features: float32 (n, columns), n ≥ 1, rows of the kind that will be scored.
    """
    rng = np.random.default_rng(1)
    # Values of different rows together, with gaps, and around the thresholds.
    mixed = np.stack([rng.choice(column, _MADE_UP) for column in features.T], axis=1)
    mixed[rng.random(mixed.shape) < 0.1] = np.nan
    asked = np.flatnonzero(trees.left >= 0)
    nodes = rng.choice(asked, min(_MADE_UP, 8 * len(asked))) if len(asked) else asked
    at, thresholds = np.arange(len(nodes)), trees.threshold[nodes]
    towards = np.choose(at % 3, [np.float32(-np.inf), np.float32(np.inf), thresholds])
    mixed[at, trees.feature[nodes]] = np.nextafter(thresholds, towards)
    rows = np.concatenate([features, mixed]).astype(np.float32)
    expected = classifier.scores(rows)
    try:
        scorer = TreeScorer(trees, _unchanged)
    except ValueError:
        return classifier
    sums = scorer.scores(rows)
    for finish in (_sigmoid, _unchanged, _power(sums, expected)):
        if float(np.max(np.abs(finish(sums) - expected))) <= _TOLERANCE:
            scorer.finish = finish
            return scorer
    return classifier


def warm_up() -> None:
    """Compiles the loop, or loads it from the disk cache."""
    TreeScorer(TreeEnsemble.stump(), _unchanged).scores(np.zeros((1, 1), np.float32))


def _sigmoid(sums: Float) -> Float:
    probabilities: Float = 1.0 / (1.0 + np.exp(-sums))
    return probabilities


def _unchanged(sums: Float) -> Float:
    return sums


def _power(sums: Float, expected: Float) -> Callable[[Float], Float]:
    """2 to the power of the sum times what these rows say it is: an isolation forest's score of a path length."""
    known = (expected > 0) & (sums != 0)
    scale = float(np.median(np.log2(expected[known]) / sums[known])) if known.any() else 0.0
    # A score is a probability; what is none of this kind is not to overflow.
    return lambda raw: np.exp2(np.minimum(raw * scale, 0.0))
