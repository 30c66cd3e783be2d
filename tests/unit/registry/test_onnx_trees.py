"""The serving form of each estimator agrees with it, unknown values included."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from securenet_registry.training.fitting import raw_score
from securenet_registry.training.onnx_agreement import TOLERANCE, disagreement
from securenet_registry.training.onnx_trees import UnsupportedEstimatorError, to_onnx

pytestmark = pytest.mark.unit


def rows(seed: int = 0, n: int = 600) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = (np.rint(rng.normal(size=(n, 6)) * 1024) / 1024).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = np.nan
    return x


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_iter=30, max_features=0.5),
        RandomForestClassifier(20, max_depth=8),
        IsolationForest(n_estimators=20, max_samples=128, max_features=0.5),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_agreement(estimator: Any) -> None:
    x = rows()
    estimator.fit(x, (np.nan_to_num(x[:, 0]) + np.isnan(x[:, 1]) > 0.3).astype(int))
    data = to_onnx(estimator, 6, {"feature_schema_hash": "abc"})
    unseen = rows(seed=1)
    assert disagreement(data, unseen, raw_score(estimator, unseen)) <= TOLERANCE
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"feature_schema_hash": "abc"}
    assert [output.name for output in session.get_outputs()] == ["score"]
    assert data == to_onnx(estimator, 6, {"feature_schema_hash": "abc"})


def test_another_model_does_not_agree() -> None:
    x = rows()
    y = (np.nan_to_num(x[:, 0]) > 0).astype(int)
    one, other = (
        HistGradientBoostingClassifier(max_iter=5).fit(x, y),
        HistGradientBoostingClassifier(max_iter=9).fit(x, y),
    )
    assert disagreement(to_onnx(one, 6, {}), x, raw_score(other, x)) > TOLERANCE


def test_what_has_no_serving_form() -> None:
    x = np.nan_to_num(rows())
    three = np.arange(len(x)) % 3
    for estimator in (
        LogisticRegression().fit(x, three > 0),
        HistGradientBoostingClassifier(max_iter=2).fit(x, three),
        RandomForestClassifier(2).fit(x, three),
    ):
        with pytest.raises(UnsupportedEstimatorError, match="expected"):
            to_onnx(estimator, 6, {})
