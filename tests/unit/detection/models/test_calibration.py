"""Calibration and operating points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from securenet_detection.models.calibration import Calibration, OperatingPoints

pytestmark = pytest.mark.unit


def test_a_table_is_interpolated_and_its_ends_hold() -> None:
    table = Calibration.read({"kind": "piecewise-linear", "x": [0.2, 0.4], "y": [0.1, 0.5]})
    assert table.apply(np.array([0.0, 0.2, 0.3, 0.4, 1.0])).tolist() == pytest.approx([0.1, 0.1, 0.3, 0.5, 0.5])


def row(score: Any, precision: Any, tpr: Any = 0.5) -> Any:
    return {"score": score, "precision": precision, "tpr": tpr}


@pytest.mark.parametrize(
    ("table", "high"),
    [
        ([], None),
        ([row(0.5, 0.9), row(0.9, 0.98)], None),
        ([row(0.5, 0.9), row(0.8, 0.99), row(0.9, 0.995)], 0.8),
        # Precision must hold from there to the top, not just somewhere.
        ([row(0.6, 0.995), row(0.8, 0.97), row(0.9, 0.992)], 0.9),
        # Where nothing is alarmed there is no precision.
        ([row(0.8, 0.99), row(1.0, 0.0, tpr=0.0)], 0.8),
        ([row(0.1, 1.0)], 0.5),
    ],
)
def test_high_begins_where_precision_stays(table: Any, high: Any) -> None:
    assert OperatingPoints.read(table).high == high


@pytest.mark.parametrize("points", [OperatingPoints(0.5, None), OperatingPoints(0.5, 0.9), OperatingPoints(0.5, 0.5)])
def test_pieces_rise_with_the_probability_and_are_medium_at_the_point(points: Any) -> None:
    pieces = points.pieces(np.linspace(0, 1, 1001))
    assert (np.diff(pieces) >= 0).all()
    assert points.pieces(np.array([0.499]))[0] < 0.40
    assert points.pieces(np.array([0.5]))[0] >= 0.40
    assert pieces.max() < (0.70 if points.high is None else 0.90)
