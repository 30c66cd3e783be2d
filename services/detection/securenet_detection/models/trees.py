"""A served ensemble of trees as arrays, for what ONNX Runtime does not tell: why it gave a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

#: A model with more nodes is not explained: its work a row would not be bounded by much.
MOST_NODES = 2_000_000


@dataclass(frozen=True, slots=True, eq=False)
class TreeEnsemble:
    """Nodes of all trees, one after another; a parent stands before its children.

    `left` is taken where value ≤ threshold, or where the value is NaN and `missing_left`.

    Attributes:
        roots: int64 (trees,), where each tree begins.
        feature: int64 (nodes,), column of the feature matrix; of no meaning in leaves.
        threshold: float32 (nodes,).
        left, right: int64 (nodes,), children; −1 in leaves.
        missing_left: boolean (nodes,).
        value: float64 (nodes,), what a leaf adds; 0 elsewhere. Already divided by the number of trees where the
            ensemble takes their mean.
        cover: float64 (nodes,), rows of the training that came to each node; None where the file does not say.
        base: what the ensemble adds to the sum of leaves.
        columns: of the feature matrix.
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float32]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    value: NDArray[np.float64]
    cover: NDArray[np.float64] | None
    base: float
    columns: int

    def __post_init__(self) -> None:
        problem = self._disorder() or self._nonsense()
        if problem:
            raise ValueError(f"trees: {problem}")

    @classmethod
    def stump(cls) -> Self:
        """One question and two leaves: the least that loops over trees can be compiled with."""
        one = np.array([0.5, 0.25, 0.75])
        return cls(
            roots=np.zeros(1, np.int64),
            feature=np.zeros(3, np.int64),
            threshold=one.astype(np.float32),
            left=np.array([1, -1, -1]),
            right=np.array([2, -1, -1]),
            missing_left=np.ones(3, np.bool_),
            value=np.array([0.0, 0.25, 0.75]),
            cover=np.array([3.0, 1.0, 2.0]),
            base=0.0,
            columns=1,
        )

    def _disorder(self) -> str:
        nodes = len(self.feature)
        columns = (self.threshold, self.left, self.right, self.missing_left, self.value)
        if not 1 <= nodes <= MOST_NODES or any(len(column) != nodes for column in columns):
            return f"{nodes} nodes; expected 1 to {MOST_NODES:,}, and as many in every column"
        at = np.arange(nodes)
        inner = self.left >= 0
        ends = np.append(self.roots[1:], nodes)
        if not len(self.roots) or self.roots[0] != 0 or (ends <= self.roots).any():
            return "trees do not follow one another"
        end = np.repeat(ends, ends - self.roots)
        for child in (self.left, self.right):
            if ((child >= 0) != inner).any() or (child[inner] <= at[inner]).any() or (child[inner] >= end[inner]).any():
                return "a child stands before its parent or outside of its tree"
        if (np.bincount(np.concatenate([self.left[inner], self.right[inner]]), minlength=nodes) > 1).any():
            return "a node has two parents"
        return ""

    def _nonsense(self) -> str:
        asked = self.feature[self.left >= 0]
        if (asked < 0).any() or (asked >= self.columns).any():
            return f"a node asks for a feature beyond the {self.columns}"
        if not (np.isfinite(self.value).all() and np.isfinite(self.base)):
            return "a leaf's value is not finite"
        if self.cover is not None and not (len(self.cover) == len(self.feature) and np.isfinite(self.cover).all()):
            return "covers are not finite numbers"
        if self.cover is not None and (self.cover <= 0).any():
            return "no row of the training came to a node"
        return ""
