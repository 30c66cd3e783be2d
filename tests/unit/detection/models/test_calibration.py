"""Calibration and operating points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from securenet_detection.models.calibration import Calibration, OperatingPoints, wilson_lower_bound
from securenet_detection.models.interface import ModelRejectedError

pytestmark = pytest.mark.unit


def test_a_table_is_interpolated_and_its_ends_hold() -> None:
    table = Calibration.read({"kind": "piecewise-linear", "x": [0.2, 0.4], "y": [0.1, 0.5]})
    assert table.apply(np.array([0.0, 0.2, 0.3, 0.4, 1.0])).tolist() == pytest.approx([0.1, 0.1, 0.3, 0.5, 0.5])


def row(score: Any, precision: Any, tpr: Any = 0.5, alarms: Any = 1000) -> Any:
    return {"score": score, "precision": precision, "tpr": tpr, "alarms": alarms}


@pytest.mark.parametrize(
    ("table", "high"),
    [
        ([], None),
        ([row(0.5, 0.9), row(0.99, 0.98)], None),
        ([row(0.5, 0.9, 0.9, 9000), row(0.99, 1.0, 0.5, 2000), row(0.995, 1.0, 0.3, 1000)], 0.99),
        # Precise or not: a flow that is malicious with 54 % by the model's own calibration is not HIGH.
        ([row(0.54, 1.0, 1.0, 100_000), row(0.98, 1.0, 0.9, 90_000)], None),
        # A precision of 1 from 3 rows, and from one row less than shows 0.99 at all.
        ([row(0.99, 1.0, 0.1, 3)], None),
        ([row(0.99, 1.0, 0.1, 380)], None),
        ([row(0.99, 1.0, 0.1, 381)], 0.99),
        # 0.99 on the nose is not shown by 1,000 rows; 0.999 is by 3,000.
        ([row(0.99, 0.99, 0.5, 1000)], None),
        ([row(0.99, 0.999, 0.5, 3000)], 0.99),
        # Bands too thin to judge are judged together.
        ([row(0.99, 1.0, 0.5, 400), row(0.993, 1.0, 0.2, 300), row(0.996, 1.0, 0.1, 100)], 0.99),
        # Many good alarms at the top do not vouch for the band below them, where a half are wrong.
        ([row(0.99, 0.9921, 0.5040, 5080), row(0.995, 1.0, 0.5, 5000)], 0.995),
        # False alarms at the very top: precision does not hold.
        ([row(0.99, 0.999, 0.5, 9000), row(0.999, 0.6, 0.01, 20)], None),
        ([row(0.99, 0.999, 0.5, 9000), row(0.999, 0.0, 0.0, 2)], None),
        # Where nothing is alarmed there is no precision.
        ([row(0.99, 1.0), row(1.0, 0.0, 0.0, 0)], 0.99),
        # A table that does not say how many rows it was measured on.
        ([{"score": 0.99, "precision": 1.0, "tpr": 0.5}], None),
    ],
)
def test_high_begins_where_calibration_and_held_out_captures_both_say_so(table: Any, high: Any) -> None:
    assert OperatingPoints.read(table, captures_held_out=True).high == high


@pytest.mark.parametrize(
    ("marked", "medium"), [(None, 0.5), (0.5, 0.5), (0.8, 0.8), (0.3, 0.3), (0.01, 0.05), (0.999, 0.989), (1.0, 0.989)]
)
def test_medium_begins_at_the_operating_point_with_room_for_high(marked: float | None, medium: float) -> None:
    table = [row(s, 0.9) | ({"operating_point": 1.0} if s == marked else {}) for s in (0.01, 0.3, 0.5, 0.8, 0.999, 1.0)]
    assert OperatingPoints.read(table, captures_held_out=True).medium == medium


def test_later_rows_of_the_same_captures_prove_nothing() -> None:
    assert OperatingPoints.read([row(0.99, 1.0, 0.5, 9000)], captures_held_out=False).high is None


@pytest.mark.parametrize("alarms", [-1, "many", True, float("nan"), float("inf"), None])
def test_a_count_that_is_none_is_refused(alarms: Any) -> None:
    with pytest.raises(ModelRejectedError, match="alarms"):
        OperatingPoints.read([row(0.99, 1.0, 0.5, alarms)], captures_held_out=True)


def test_a_table_that_falls_is_refused() -> None:
    with pytest.raises(ModelRejectedError, match="falls"):
        OperatingPoints.read([row(0.9, 1.0), row(0.8, 1.0)], captures_held_out=True)


def test_the_bound_is_wilsons() -> None:
    # 10 of 10: 10 / (10 + 1.96²).
    assert wilson_lower_bound(1.0, 10) == pytest.approx(0.7225, abs=1e-4)
    assert wilson_lower_bound(0.5, 100) == pytest.approx(0.4038, abs=1e-4)


@pytest.mark.parametrize("points", [OperatingPoints(0.5, None), OperatingPoints(0.5, 0.9), OperatingPoints(0.5, 0.5)])
def test_pieces_rise_with_the_probability_and_are_medium_at_the_point(points: Any) -> None:
    ramp = np.linspace(0, 1, 1001)
    pieces = points.pieces(ramp, own=np.ones(1001, np.bool_))
    assert (np.diff(pieces) >= 0).all()
    assert pieces[499] < 0.40 <= pieces[500]
    assert pieces.max() < (0.70 if points.high is None else 0.90)
    from_outside = points.pieces(ramp, own=np.zeros(1001, np.bool_))
    assert (from_outside <= pieces).all()
    assert 0.40 <= from_outside.max() <= 0.50
