"""Calibration tables, threshold tables and serving forms for any data."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from securenet_registry.training.calibration import Calibration, fit_sigmoid
from securenet_registry.training.evaluation import measure, threshold_table
from securenet_registry.training.fitting import raw_score
from securenet_registry.training.onnx_agreement import TOLERANCE, disagreement
from securenet_registry.training.onnx_trees import to_onnx

pytestmark = [pytest.mark.unit, pytest.mark.slow]

SCORES = hnp.arrays(np.float64, st.integers(2, 60), elements=st.floats(0, 1))


@settings(max_examples=100, deadline=None)
@given(SCORES, st.data())
def test_a_fitted_table_keeps_the_order_and_gives_probabilities(raw: np.ndarray, data: st.DataObject) -> None:
    malicious = data.draw(hnp.arrays(np.bool_, len(raw)))
    weight = data.draw(hnp.arrays(np.float64, len(raw), elements=st.floats(0.001, 100)))
    assume(malicious.any() and not malicious.all())
    table = fit_sigmoid(raw, malicious, weight)
    score = table.apply(np.sort(raw))
    assert ((score >= 0) & (score <= 1)).all()
    assert (np.diff(score) >= 0).all()
    assert np.array_equal(Calibration.of_document(table.document()).apply(raw), table.apply(raw))


@settings(max_examples=100, deadline=None)
@given(SCORES, st.data())
def test_metrics_and_thresholds_are_rates(score: np.ndarray, data: st.DataObject) -> None:
    malicious = data.draw(hnp.arrays(np.bool_, len(score)))
    weight = np.ones(len(score))
    for metric in measure(score, malicious, weight):
        if metric.name not in {"flows", "malicious"}:
            assert -1 <= metric.value <= 1 + 1e-9
    table = threshold_table(score, malicious, weight)
    assert all(0 <= row[name] <= 1 + 1e-9 for row in table for name in ("precision", "tpr", "fpr"))
    assert all(a["score"] < b["score"] and a["alarms"] >= b["alarms"] for a, b in pairwise(table))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 12), st.floats(0, 0.9), st.booleans())
def test_serving_forms_agree(seed: int, columns: int, unknown: float, boosting: bool) -> None:
    rng = np.random.default_rng(seed)
    x = (np.rint(rng.normal(size=(120, columns)) * 1024) / 1024).astype(np.float32)
    x[rng.random(x.shape) < unknown] = np.nan
    y = rng.random(120) < 0.4
    assume(y.any() and not y.all())
    estimator = (
        HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=2)
        if boosting
        else RandomForestClassifier(5, random_state=seed)
    )
    estimator.fit(x, y.astype(int))
    unseen = (np.rint(rng.normal(size=(200, columns)) * 1024) / 1024).astype(np.float32)
    unseen[rng.random(unseen.shape) < 0.3] = np.nan
    rows = np.concatenate([x, unseen])
    assert disagreement(to_onnx(estimator, columns, {}), rows, raw_score(estimator, rows)) <= TOLERANCE
