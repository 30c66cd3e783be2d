"""Tree SHAP against the definition of Shapley values, and against the model's own score."""

from __future__ import annotations

from itertools import combinations
from math import factorial, log
from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from securenet_detection.models import contributions
from securenet_detection.models.contributions import Explainer, Explanations
from securenet_detection.models.onnx_trees import read_trees
from securenet_detection.models.trees import TreeEnsemble
from securenet_registry.training.onnx_trees import to_onnx

pytestmark = pytest.mark.unit

NAMES = ("a", "b", "c", "d", "e")
COLUMNS = len(NAMES)


def rows(seed: int = 0, n: int = 400) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = (np.rint(rng.normal(size=(n, COLUMNS)) * 1024) / 1024).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


def fitted(estimator: Any) -> tuple[bytes, TreeEnsemble]:
    x = rows()
    known = np.nan_to_num(x)
    data = to_onnx(estimator.fit(x, (known[:, 0] * known[:, 1] + np.isnan(x[:, 2]) > 0.2).astype(int)), COLUMNS, {})
    return data, read_trees(data, COLUMNS)


def conditional(trees: TreeEnsemble, x: np.ndarray, known: set[int], node: int) -> float:
    """What a tree gives where only some features are known: the mean over the rows of the training below."""
    assert trees.cover is not None
    if trees.left[node] < 0:
        return float(trees.value[node])
    left, right = int(trees.left[node]), int(trees.right[node])
    column = int(trees.feature[node])
    if column in known:
        number = x[column]
        takes_left = bool(trees.missing_left[node]) if np.isnan(number) else number <= trees.threshold[node]
        return conditional(trees, x, known, left if takes_left else right)
    share = trees.cover[left] / trees.cover[node]
    return float(share * conditional(trees, x, known, left) + (1 - share) * conditional(trees, x, known, right))


def by_definition(trees: TreeEnsemble, x: np.ndarray) -> np.ndarray:
    """Shapley values as the mean over all orders of asking (Shapley, 1953)."""
    found = np.zeros(COLUMNS)
    for column in range(COLUMNS):
        others = [c for c in range(COLUMNS) if c != column]
        for size in range(COLUMNS):
            weight = factorial(size) * factorial(COLUMNS - size - 1) / factorial(COLUMNS)
            for chosen in combinations(others, size):
                known = set(chosen)
                for root in trees.roots.tolist():
                    gain = conditional(trees, x, known | {column}, root) - conditional(trees, x, known, root)
                    found[column] += weight * gain
    return found


ESTIMATORS = [
    HistGradientBoostingClassifier(max_iter=6, max_leaf_nodes=12, min_samples_leaf=5, random_state=0),
    RandomForestClassifier(5, max_depth=6, random_state=0),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_the_values_are_those_of_the_definition_and_add_up_to_the_score(estimator: Any) -> None:
    data, trees = fitted(estimator)
    explainer = Explainer(trees, NAMES, np.zeros(COLUMNS))
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    unseen = rows(seed=1, n=12)
    (scores,) = session.run(["score"], {"features": unseen})
    for row, score in zip(unseen, scores.tolist(), strict=True):
        (values,) = explainer.values(row[np.newaxis])
        assert values == pytest.approx(by_definition(trees, row), abs=1e-9)
        raw = log(score / (1 - score)) if isinstance(estimator, HistGradientBoostingClassifier) else score
        assert explainer.expected + values.sum() == pytest.approx(raw, abs=1e-4)


@pytest.mark.parametrize(("bound", "least"), [("_DEEPEST", 2), ("_TABULATED", 200)])
def test_a_leaf_without_a_table_gives_the_same_values(bound: str, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _, trees = fitted(ESTIMATORS[1])
    whole = Explainer(trees, NAMES, np.zeros(COLUMNS))
    monkeypatch.setattr(contributions, bound, least)
    part = Explainer(trees, NAMES, np.zeros(COLUMNS))
    several = rows(seed=2, n=20)
    np.testing.assert_array_equal(part.values(several), whole.values(several))
    np.testing.assert_array_equal(part.values(several[7:8]), whole.values(several)[7:8])


def test_the_largest_are_named_with_value_and_baseline() -> None:
    _, trees = fitted(ESTIMATORS[0])
    explainer = Explainer(trees, NAMES, np.array([0.5, np.nan, 0.0, 0.0, 0.0]))
    row = np.array([1.5, np.nan, 0.25, 0.0, 0.0], np.float32)
    told = explainer.contributions(row, explainer.values(row[np.newaxis])[0])
    assert [abs(one.contribution) for one in told] == sorted((abs(one.contribution) for one in told), reverse=True)
    named = {one.feature: one for one in told}
    assert (named["a"].value, named["a"].baseline) == (1.5, 0.5)
    assert (named["b"].value, named["b"].baseline) == (None, None)


def test_no_more_rows_are_explained_than_the_bound_and_a_row_is_explained_once() -> None:
    _, trees = fitted(ESTIMATORS[0])
    explainer = Explainer(trees, NAMES, np.zeros(COLUMNS))
    explainer.rows = 2
    explanations = Explanations(explainer, rows(n=5), np.array([1, 2, 3]))
    first, second = explanations.at(0), explanations.at(3)
    assert first
    assert second
    assert explanations.at(4) == ()
    assert explanations.at(0) is first
    assert Explanations(None, rows(n=5), np.array([0])).at(0) == ()


def test_trees_without_covers_are_not_explained() -> None:
    _, trees = fitted(ESTIMATORS[0])
    fields = {name: getattr(trees, name) for name in TreeEnsemble.__dataclass_fields__}
    with pytest.raises(ValueError, match="no covers"):
        Explainer(TreeEnsemble(**{**fields, "cover": None}), NAMES, np.zeros(COLUMNS))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"left": np.array([0, -1, -1])}, "before its parent"),
        ({"right": np.array([9, -1, -1])}, "outside"),
        ({"right": np.array([1, -1, -1])}, "two parents"),
        ({"feature": np.array([5, 0, 0])}, "beyond"),
        ({"value": np.array([0, np.nan, 1])}, "finite"),
        ({"cover": np.array([3.0, 0.0, 3.0])}, "no row"),
        ({"roots": np.array([1])}, "follow"),
    ],
)
def test_trees_that_cannot_be_walked_are_refused(changes: Any, message: str) -> None:
    good: dict[str, Any] = {
        "roots": np.array([0]), "feature": np.zeros(3, np.int64), "threshold": np.zeros(3, np.float32),
        "left": np.array([1, -1, -1]), "right": np.array([2, -1, -1]), "missing_left": np.zeros(3, np.bool_),
        "value": np.array([0.0, 1.0, 2.0]), "cover": np.array([3.0, 1.0, 2.0]), "base": 0.0, "columns": COLUMNS,
    }  # fmt: skip
    TreeEnsemble(**good)
    with pytest.raises(ValueError, match=message):
        TreeEnsemble(**{**good, **changes})
