"""Metrics against figures that were worked out by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from securenet_registry.training.evaluation import (
    expected_calibration_error,
    matthews,
    measure,
    measure_captures,
    operating_point,
    threshold_table,
    tpr_at_fpr,
)

pytestmark = pytest.mark.unit

SCORE = np.array([0.9, 0.8, 0.7, 0.4, 0.3, 0.1])
MALICIOUS = np.array([True, True, False, True, False, False])
EVEN = np.ones(6)


def test_matthews() -> None:
    assert matthews(2, 1, 1, 2) == pytest.approx(3 / 9)
    assert matthews(3, 0, 0, 0) == 0.0
    assert matthews(3, 0, 0, 3) == 1.0


def test_all_metrics_of_a_mixed_capture() -> None:
    found = {metric.name: metric.value for metric in measure(SCORE, MALICIOUS, EVEN)}
    assert found["mcc"] == pytest.approx(1 / 3)
    assert found["tpr"] == pytest.approx(2 / 3)
    assert found["fpr"] == pytest.approx(1 / 3)
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["tpr_at_fpr_1pct"] == pytest.approx(2 / 3)
    assert found["roc_auc"] == pytest.approx(8 / 9)
    assert (found["flows"], found["malicious"]) == (6, 3)


def test_a_benign_capture_has_rates_of_its_class_alone() -> None:
    names = {metric.name for metric in measure(SCORE, np.zeros(6, np.bool_), EVEN)}
    assert "fpr" in names
    assert not names & {"tpr", "mcc", "f1", "roc_auc"}


def test_an_alarm_point_of_ones_own() -> None:
    found = {metric.name: metric.value for metric in measure(SCORE, MALICIOUS, EVEN, alarm=0.75)}
    assert found["tpr"] == pytest.approx(2 / 3)
    assert found["fpr"] == 0.0


def test_the_operating_point_keeps_to_the_rate() -> None:
    assert operating_point(SCORE, MALICIOUS, EVEN) == 0.8
    assert operating_point(SCORE, MALICIOUS, EVEN, limit=0.34) == 0.5
    assert operating_point(SCORE, MALICIOUS, EVEN, limit=1.0) == 0.5


def test_benign_rows_at_the_very_top_do_not_silence_a_model() -> None:
    malicious = np.array([False] * 2 + [True] * 50 + [False] * 98)
    score = np.concatenate([[0.99, 0.98], np.linspace(0.9, 0.7, 50), np.linspace(0.6, 0.1, 98)])
    point = operating_point(score, malicious, np.ones(150))
    assert point == pytest.approx(0.7)


def test_the_operating_point_of_rows_that_are_all_benign_is_the_highest() -> None:
    assert operating_point(np.full(4, 0.9), np.zeros(4, np.bool_), np.ones(4)) == 1.0
    assert operating_point(np.full(4, 0.1), np.zeros(4, np.bool_), np.ones(4)) == 0.5


@pytest.mark.parametrize(
    ("benign", "highest", "point"),
    [(1999, 0.2, 0.2), (1999, 0.01, 0.05), (1999, 0.5, 0.5), (99, 0.2, 0.5)],
    ids=["above the benign rows", "not too near to none", "not above a half", "too few benign rows"],
)
def test_the_point_is_low_where_benign_rows_stay_low(benign: int, highest: float, point: float) -> None:
    malicious = np.arange(benign + 500) >= benign
    score = np.append(np.linspace(0, highest, benign), np.full(500, 0.97))
    assert operating_point(score, malicious, np.ones(len(score))) == pytest.approx(point, abs=highest / 100)


def test_one_benign_row_in_a_thousand_may_be_above_the_low_point() -> None:
    malicious = np.arange(3500) >= 3000
    score = np.where(malicious, 0.97, 0.1)
    score[:3] = (0.3, 0.4, 0.45)
    assert 0.1 < operating_point(score, malicious, np.ones(3500)) < 0.11


@pytest.mark.parametrize(("found", "point"), [(400, 0.3), (0, 0.5)], ids=["attacks fall below", "nothing to gain"])
def test_captures_that_were_held_out_show_whether_a_low_point_is_worth_it(found: int, point: float) -> None:
    malicious = np.arange(3500) >= 3000
    score = np.where(malicious, 0.97, 0.01)
    score[:20] = 0.2
    score[3000 : 3000 + found] = 0.3
    assert operating_point(score, malicious, np.ones(3500), captures_held_out=True) == point


def test_the_operating_point_is_marked_in_the_table() -> None:
    rng = np.random.default_rng(3)
    malicious = rng.random(3000) < 0.3
    score = np.clip(rng.normal(0.4 + 0.4 * malicious, 0.15), 0, 1)
    point = operating_point(score, malicious, np.ones(3000))
    (marked,) = [row for row in threshold_table(score, malicious, np.ones(3000)) if "operating_point" in row]
    assert marked["score"] == point
    assert 0.005 < marked["fpr"] <= 0.01


def test_equal_scores_are_one_threshold() -> None:
    same = np.full(4, 0.5)
    assert tpr_at_fpr(same, np.array([True, True, False, False]), np.ones(4)) == 0.0


def test_weights_count_as_rows() -> None:
    weight = np.array([1.0, 1.0, 3.0, 1.0, 1.0, 1.0])
    repeated = np.repeat(np.arange(6), weight.astype(int))
    weighed = {m.name: m.value for m in measure(SCORE, MALICIOUS, weight)}
    doubled = {m.name: m.value for m in measure(SCORE[repeated], MALICIOUS[repeated], np.ones(8))}
    for name in ("mcc", "ece", "brier", "roc_auc", "tpr_at_fpr_1pct"):
        assert weighed[name] == pytest.approx(doubled[name])


def test_calibration_error() -> None:
    score = np.array([0.25, 0.25, 0.25, 0.25])
    assert expected_calibration_error(score, np.array([True, False, False, False]), np.ones(4)) == pytest.approx(0)
    assert expected_calibration_error(score, np.array([True, True, False, False]), np.ones(4)) == pytest.approx(0.25)


def test_captures_bear_their_names() -> None:
    capture = np.array([0, 0, 0, 1, 1, 1])
    metrics = measure_captures(SCORE, MALICIOUS, EVEN, capture, ["a", "b", "empty"])
    assert {metric.dataset for metric in metrics} == {"", "a", "b"}


def test_thresholds_rise_and_name_what_they_cost() -> None:
    table = threshold_table(SCORE, MALICIOUS, EVEN)
    scores = [row["score"] for row in table]
    assert scores == sorted(scores)
    assert table[0]["tpr"] == table[0]["fpr"] == 1.0
    assert all(a["tpr"] >= b["tpr"] and a["fpr"] >= b["fpr"] for a, b in pairwise(table))
    at = next(row for row in table if row["score"] > 0.7)
    assert (at["precision"], at["fpr"]) == (1.0, 0.0)
