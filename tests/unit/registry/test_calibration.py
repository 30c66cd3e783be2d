"""Calibration tables: what they must be, what they do, and that Platt's sigmoid is found again."""

from __future__ import annotations

import numpy as np
import pytest

from securenet_registry.training.calibration import Calibration, fit_sigmoid

pytestmark = pytest.mark.unit


def table(x: list[float], y: list[float]) -> Calibration:
    return Calibration("sigmoid", np.array(x), np.array(y))


def test_a_table_is_linear_between_its_points_and_flat_outside() -> None:
    calibrated = table([0.0, 0.5, 1.0], [0.1, 0.2, 0.9]).apply(np.array([-1.0, 0.25, 0.75, 2.0]))
    assert calibrated.tolist() == pytest.approx([0.1, 0.15, 0.55, 0.9])


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        ([0.0], [0.5], "2 to 100,000"),
        ([0.0, 1.0], [0.5], "one length"),
        ([0.0, 0.0], [0.1, 0.2], "rise"),
        ([0.0, 1.0], [0.3, 0.2], "falls"),
        ([0.0, 1.0], [0.0, 1.1], "leaves"),
        ([0.0, float("nan")], [0.0, 1.0], "finite"),
    ],
)
def test_what_is_no_table(x: list[float], y: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        table(x, y)


def test_documents_round_trip_and_others_are_refused() -> None:
    original = table([0.0, 1.0], [0.1, 0.9])
    assert np.array_equal(Calibration.of_document(original.document()).y, original.y)
    for document in (
        {},
        {"kind": "isotonic"},
        {"kind": "piecewise-linear"},
        {"kind": "piecewise-linear", "x": [{}], "y": [1]},
    ):
        with pytest.raises(ValueError, match="calibration"):
            Calibration.of_document(document)


def test_the_sigmoid_that_made_the_labels_is_found() -> None:
    rng = np.random.default_rng(0)
    raw = rng.uniform(0.01, 0.99, 20_000)
    truth = 1 / (1 + np.exp(-(0.5 * np.log(raw / (1 - raw)) - 1)))
    calibration = fit_sigmoid(raw, rng.random(20_000) < truth, np.ones(20_000))
    grid = np.linspace(0.05, 0.95, 10)
    expected = 1 / (1 + np.exp(-(0.5 * np.log(grid / (1 - grid)) - 1)))
    assert calibration.apply(grid) == pytest.approx(expected, abs=0.03)
    assert (calibration.x[0], calibration.x[-1]) == (0.0, 1.0)


def test_an_estimator_that_knows_nothing_is_not_turned_round() -> None:
    raw = np.linspace(0.1, 0.9, 100)
    calibration = fit_sigmoid(raw, raw < 0.5, np.ones(100))
    assert (np.diff(calibration.apply(raw)) >= 0).all()


def test_one_class_alone_cannot_calibrate() -> None:
    with pytest.raises(ValueError, match="0 malicious"):
        fit_sigmoid(np.linspace(0, 1, 10), np.zeros(10, np.bool_), np.ones(10))
