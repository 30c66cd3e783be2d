from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from securenet_flows.evaluation import (
    Confusion,
    Curve,
    LabelledCapture,
    MissingLabelError,
    calibration_error,
    evaluate,
)
from securenet_flows.exceptions import FlowDataError

pytestmark = pytest.mark.unit


@st.composite
def rows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes and scores with many ties."""
    size = draw(st.integers(2, 60))
    labels = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    labels[0], labels[1] = True, False
    scores = np.array(draw(st.lists(st.integers(0, 12), min_size=size, max_size=size))) / 12
    return labels, scores


@given(rows())
def test_rates_agree_with_sklearn(case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = case
    alarmed = scores >= 0.5
    confusion = Confusion.of(labels, alarmed)
    assert [
        [confusion.true_negatives, confusion.false_positives],
        [confusion.false_negatives, confusion.true_positives],
    ] == metrics.confusion_matrix(labels, alarmed).tolist()
    assert confusion.mcc == pytest.approx(metrics.matthews_corrcoef(labels, alarmed))
    assert confusion.f1 == pytest.approx(metrics.f1_score(labels, alarmed, zero_division=0.0))
    assert confusion.tpr == pytest.approx(metrics.recall_score(labels, alarmed))
    assert confusion.fpr == pytest.approx(1 - metrics.recall_score(~labels, ~alarmed))


@given(rows())
def test_curves_agree_with_sklearn(case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = case
    curve = Curve.of(labels, scores)
    fpr, tpr, thresholds = metrics.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.roc(), (fpr, tpr))
    np.testing.assert_allclose(curve.threshold, thresholds)
    assert curve.auc == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert curve.average_precision == pytest.approx(metrics.average_precision_score(labels, scores))


@given(rows(), st.sampled_from([0.0, 0.01, 0.2, 0.5, 1.0]))
def test_tpr_at_fpr_is_the_best_over_all_thresholds(case: tuple[np.ndarray, np.ndarray], limit: float) -> None:
    labels, scores = case
    best = 0.0
    for threshold in np.unique(scores):
        alarmed = scores >= threshold
        if alarmed[~labels].mean() <= limit:
            best = max(best, float(alarmed[labels].mean()))
    assert Curve.of(labels, scores).tpr_at(limit) == pytest.approx(best)


def test_a_tie_at_the_limit_passes_as_a_whole_or_not_at_all() -> None:
    labels = np.array([True, True] + [False] * 100)
    scores = np.array([0.9, 0.5] + [0.5, 0.5] + [0.1] * 98)
    assert Curve.of(labels, scores).tpr_at(0.01) == 0.5
    assert Curve.of(labels, scores).tpr_at(0.02) == 1.0


def test_large_counts_do_not_overflow_the_correlation() -> None:
    assert Confusion(10**9, 10**9, 10**9, 10**9).mcc == 0.0
    assert Confusion(10**9, 0, 10**9, 0).mcc == 1.0


@pytest.mark.parametrize("malicious", [True, False])
def test_what_one_class_leaves_undefined_is_none(malicious: bool) -> None:
    capture = LabelledCapture.from_rows(
        "one", ["malicious" if malicious else "benign"] * 3, np.array([0.1, 0.6, 0.9]), np.array([1, 2, 3])
    )
    figures = evaluate(capture)
    assert figures.mcc is figures.auc is figures.tpr_at_fpr_1pct is None
    assert (figures.tpr is None) == (figures.f1 is None) == (not malicious)
    assert (figures.fpr is None) == malicious
    assert figures.findings_high_per_host_day is None


def test_an_empty_capture_is_undefined_throughout() -> None:
    figures = evaluate(LabelledCapture.pooled([]))
    assert figures.flows == 0
    assert {figures.mcc, figures.f1, figures.tpr, figures.fpr, figures.auc, figures.ece} == {None}


def test_unknown_rows_are_left_out_and_medium_is_an_alarm() -> None:
    capture = LabelledCapture.from_rows(
        "c",
        ["malicious", "unknown", "benign", "malicious", "benign"],
        np.array([0.9, 0.99, 0.2, 0.4, 0.6]),
        np.array([4, 4, 1, 1, 2]),
        host_days=4,
        findings_high=2,
    )
    figures = evaluate(capture).as_dict()
    assert (figures["flows"], figures["malicious"], figures["unknown"]) == (4, 2, 1)
    assert (figures["tpr"], figures["fpr"], figures["findings_high_per_host_day"]) == (0.5, 0.5, 0.5)
    assert list(figures)[:9] == [
        "name", "flows", "malicious", "mcc", "f1", "tpr", "fpr", "tpr_at_fpr_1pct", "findings_high_per_host_day",
    ]  # fmt: skip


def test_rows_without_a_label_are_counted_and_refused() -> None:
    with pytest.raises(MissingLabelError, match="c: 2 of 3 rows have no label") as caught:
        LabelledCapture.from_rows("c", ["benign", None, None], np.zeros(3), np.ones(3, dtype=int))
    assert caught.value.missing == 2


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (["benign", "Botnet"], [0.1, 0.2], "label 'Botnet' in row 1"),
        (["benign", "benign"], [0.1, np.nan], "outside 0..1"),
        (["benign", "benign"], [0.1, 1.2], "outside 0..1"),
        (["benign"], [0.1, 0.2], "expected equal lengths"),
    ],
)
def test_columns_that_do_not_fit_are_refused(labels: list[str], scores: list[float], message: str) -> None:
    with pytest.raises(FlowDataError, match=message):
        LabelledCapture.from_rows("c", labels, np.array(scores), np.ones(len(scores), dtype=int))


def test_pooling_is_over_rows_and_over_host_days() -> None:
    first = LabelledCapture.from_rows(
        "a", ["malicious", "benign"], np.array([0.9, 0.1]), np.array([3, 1]), host_days=1, findings_high=3
    )
    second = LabelledCapture.from_rows(
        "b", ["benign"] * 3, np.array([0.2] * 3), np.array([1, 2, 1]), host_days=3, findings_high=1
    )
    third = LabelledCapture.from_rows("c", ["malicious"], np.array([0.3]), np.array([1]))
    figures = evaluate(LabelledCapture.pooled([first, second, third]))
    assert (figures.flows, figures.tpr, figures.fpr) == (6, 0.5, 0.25)
    assert figures.findings_high_per_host_day == 1.0


def test_calibration_error_of_known_cases() -> None:
    labels = np.array([True, False, False, False])
    assert calibration_error(labels, np.full(4, 0.25)) == pytest.approx(0.0)
    assert calibration_error(labels, np.full(4, 0.75)) == pytest.approx(0.5)
    assert calibration_error(labels, np.array([1.0, 0.0, 0.0, 0.0])) == 0.0


def test_thinned_curves_keep_their_ends_and_shape() -> None:
    rng = np.random.default_rng(3)
    labels = rng.random(20_000) < 0.3
    scores = np.clip(labels * 0.3 + rng.random(20_000) * 0.7, 0, 1)
    curve = Curve.of(labels, scores)
    fpr, tpr = curve.roc(200)
    assert len(fpr) <= 202
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(tpr, fpr) == pytest.approx(curve.auc, abs=2e-3)
    recall, precision = curve.precision_recall(200)
    assert len(recall) == len(precision) <= 202
    assert recall[-1] == 1.0
