"""The tree scorer against a walk through the trees, and against ONNX Runtime, whose place it takes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier

from securenet_detection.models.contributions import Explainer
from securenet_detection.models.interface import Classifier
from securenet_detection.models.onnx_classifier import load_onnx
from securenet_detection.models.onnx_trees import read_trees
from securenet_detection.models.tree_scorer import TreeScorer, faster, warm_up
from securenet_detection.models.trees import TreeEnsemble
from securenet_registry.training.onnx_trees import to_onnx

pytestmark = pytest.mark.unit

COLUMNS = 6


def rows(seed: int = 0, n: int = 600) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = (np.rint(rng.normal(size=(n, COLUMNS)) * 1024) / 1024).astype(np.float32)
    x[:, 5] = rng.random(n) < 0.5
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


def opened(estimator: Any, tmp_path: Path) -> tuple[Classifier, TreeEnsemble]:
    x = rows()
    known = np.nan_to_num(x)
    malicious = (known[:, 0] * known[:, 1] + known[:, 5] * np.isnan(x[:, 2]) > 0.2).astype(int)
    data = to_onnx(estimator.fit(x, malicious), COLUMNS, {})
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    return load_onnx(path, input_name="features", output_name="score", columns=COLUMNS), read_trees(data, COLUMNS)


def walked(trees: TreeEnsemble, x: np.ndarray) -> float:
    total = trees.base
    for root in trees.roots.tolist():
        node = root
        while trees.left[node] >= 0:
            number = x[trees.feature[node]]
            left = trees.missing_left[node] if np.isnan(number) else number <= trees.threshold[node]
            node = trees.left[node] if left else trees.right[node]
        total += trees.value[node]
    return float(total)


GOOD = [
    HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=31, min_samples_leaf=3, random_state=0),
    HistGradientBoostingClassifier(max_iter=3, max_leaf_nodes=32, min_samples_leaf=1, random_state=0),
    RandomForestClassifier(7, max_leaf_nodes=32, random_state=0),
    IsolationForest(n_estimators=20, max_samples=32, random_state=0),
]


@pytest.mark.parametrize("estimator", GOOD, ids=str)
def test_it_takes_the_place_of_the_runtime_and_says_the_same(estimator: Any, tmp_path: Path) -> None:
    runtime, trees = opened(estimator, tmp_path)
    scorer = faster(runtime, trees, rows(n=64))
    assert isinstance(scorer, TreeScorer)
    unseen = rows(seed=1)
    assert scorer.scores(unseen) == pytest.approx(runtime.scores(unseen), abs=1e-6)


@pytest.mark.parametrize("estimator", GOOD, ids=str)
def test_it_comes_to_the_leaves_that_a_walk_comes_to(estimator: Any, tmp_path: Path) -> None:
    _, trees = opened(estimator, tmp_path)
    unseen = rows(seed=2, n=200)
    # Exactly at thresholds, one step beside them, and far away.
    asked = np.flatnonzero(trees.left >= 0)
    for row in range(100):
        node = asked[row % len(asked)]
        towards = np.float32((trees.threshold[node], np.inf, -np.inf)[row % 3])
        unseen[row, trees.feature[node]] = np.nextafter(trees.threshold[node], towards)
    unseen[100], unseen[101], unseen[102] = np.inf, -np.inf, np.nan
    sums = TreeScorer(trees, lambda sums: sums).scores(unseen)
    assert sums == pytest.approx([walked(trees, row) for row in unseen], abs=1e-12)


@pytest.mark.parametrize(
    "estimator",
    [
        # More leaves than a mask has bits.
        HistGradientBoostingClassifier(max_iter=3, max_leaf_nodes=40, min_samples_leaf=1, random_state=0),
        IsolationForest(n_estimators=4, max_samples=256, random_state=0),
    ],
    ids=str,
)
def test_what_it_cannot_score_stays_with_the_runtime(estimator: Any, tmp_path: Path) -> None:
    runtime, trees = opened(estimator, tmp_path)
    assert faster(runtime, trees, rows(n=64)) is runtime


def test_a_runtime_that_says_something_else_stays(tmp_path: Path) -> None:
    runtime, trees = opened(GOOD[0], tmp_path)

    class Other:
        def scores(self, features: Any) -> Any:
            return runtime.scores(features) + 1e-4

    other = Other()
    assert faster(other, trees, rows(n=64)) is other


def test_one_leaf_and_no_row_are_scored() -> None:
    one = np.zeros(1, np.int64)
    stump = TreeEnsemble(
        one, one, np.zeros(1, np.float32), one - 1, one - 1, np.zeros(1, np.bool_), np.ones(1), None, 0.5, 2
    )
    scorer = TreeScorer(stump, lambda sums: sums)
    assert scorer.scores(np.zeros((2, 2), np.float32)).tolist() == [1.5, 1.5]
    assert len(scorer.scores(np.zeros((0, 2), np.float32))) == 0


def test_a_threshold_that_is_no_number_is_refused() -> None:
    trees = TreeEnsemble(
        np.zeros(1, np.int64), np.zeros(3, np.int64), np.array([np.nan, 0, 0], np.float32), np.array([1, -1, -1]),
        np.array([2, -1, -1]), np.zeros(3, np.bool_), np.array([0.0, 1.0, 2.0]), None, 0.0, 1,
    )  # fmt: skip
    with pytest.raises(ValueError, match="no number"):
        TreeScorer(trees, lambda sums: sums)


def test_it_warms_up() -> None:
    warm_up()


def lines_of_python(trees: TreeEnsemble, runtime: Classifier, x: np.ndarray) -> int:
    """Lines that are interpreted, of whatever module, while a model of these trees is made ready to serve."""
    lines = 0

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        faster(runtime, trees, x)
        Explainer(trees, ("",) * COLUMNS, np.zeros(COLUMNS))
    finally:
        sys.settrace(before)
    return lines


def test_a_model_of_more_trees_takes_no_more_of_the_interpreter(tmp_path: Path) -> None:
    # It is made ready beside the event loop, whose calls wait for as long as the interpreter is taken.
    few, many = (
        lines_of_python(trees, runtime, rows(n=64))
        for runtime, trees in (
            opened(HistGradientBoostingClassifier(max_iter=count, max_leaf_nodes=31, random_state=0), tmp_path)
            for count in (10, 100)
        )
    )
    assert many <= few * 1.1
