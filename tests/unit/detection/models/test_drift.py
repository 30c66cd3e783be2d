"""Drift: the index of a day, changes of the alert rate, and who is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from securenet_core.exceptions import UnavailableError
from securenet_detection.convert import serving_model
from securenet_detection.models.adwin import Adwin
from securenet_detection.models.calibration import Calibration, OperatingPoints
from securenet_detection.models.distribution import FeatureSpread, read_distribution
from securenet_detection.models.drift import FEWEST_ROWS, DriftWatch, stability_index
from securenet_detection.models.drift_reporting import DriftReporter
from securenet_detection.models.interface import ModelReference
from securenet_detection.models.serving import ServingModel
from securenet_registry.training.distribution import spread

pytestmark = pytest.mark.unit

DAY = 86_400 * 10**9
NAMES = ("a", "b", "c")


class Clock:
    def __init__(self) -> None:
        self.now = 20_000 * DAY + 5

    def __call__(self) -> int:
        return self.now


def rows(n: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = np.stack([rng.normal(size=n) + shift, rng.random(n) < 0.2, rng.normal(size=n)], axis=1).astype(np.float32)
    x[rng.random(n) < 0.3, 2] = np.nan
    return x


class NoClassifier:
    def scores(self, features: Any) -> Any:
        return np.zeros(len(features))


def model(version: int = 1, *, known: bool = True) -> ServingModel:
    table = np.array([0.0, 1.0])
    spreads: tuple[FeatureSpread, ...] = ()
    if known:
        spreads = read_distribution(spread(rows(20_000, seed=9), np.ones(20_000), NAMES), NAMES)
    reference = ModelReference(f"models/m/versions/{version}", "champion", "")
    return ServingModel(
        reference, NoClassifier(), Calibration(table, table), OperatingPoints(0.5, None), "", 1, 0, 0.0, spread=spreads
    )


def low(n: int) -> np.ndarray:
    return np.ones(n, np.uint8)


def feed(watch: DriftWatch, served: ServingModel, x: np.ndarray, size: int = 128) -> None:
    for start in range(0, len(x), size):
        watch.observe(served, x[start : start + size], low(len(x[start : start + size])))


def test_the_index_of_equal_shares_is_nothing_and_of_a_move_what_the_formula_says() -> None:
    half = np.array([0.5, 0.5])
    assert stability_index(half, half) == 0
    assert stability_index(np.array([0.8, 0.2]), half) == pytest.approx(0.3 * np.log(1.6) - 0.3 * np.log(0.4))
    # An empty bin counts, and not without end.
    assert stability_index(np.array([1.0, 0.0]), half) == pytest.approx(
        0.5 * np.log(2) + 0.4999 * np.log(5000), rel=1e-3
    )


def test_traffic_as_in_the_training_is_no_drift_and_a_shift_is_when_the_day_is_over() -> None:
    clock, served = Clock(), model()
    watch = DriftWatch(NAMES, clock)
    feed(watch, served, rows(4_000))
    report = watch.report(served)
    assert report is not None
    assert report.rows > 3_800
    assert {name for name, _ in report.indices} == set(NAMES)
    assert max(index for _, index in report.indices) < 0.05
    clock.now += DAY
    feed(watch, served, rows(4_000, seed=1, shift=1.5))
    assert not watch.untold
    report = watch.report(served)
    assert report is not None
    assert report.indices[0][0] == "a"
    clock.now += DAY
    feed(watch, served, rows(1))
    (signal,) = watch.untold
    assert (signal.kind, signal.feature, signal.limit, signal.model) == ("feature", "a", 0.25, "models/m/versions/1")
    assert signal.measured > 0.25
    report = watch.report(served)
    assert report is not None
    assert (report.rows, report.signals) == (0, (signal,))
    message = serving_model(served, report)
    assert message is not None
    assert "a: stability index" in message.drift.signals[0]


def test_a_day_of_few_flows_says_nothing() -> None:
    clock, served = Clock(), model()
    watch = DriftWatch(NAMES, clock)
    feed(watch, served, rows(FEWEST_ROWS - 1, shift=9))
    clock.now += DAY
    feed(watch, served, rows(1))
    assert not watch.untold


def test_of_a_large_batch_a_sample_is_binned() -> None:
    served = model()
    watch = DriftWatch(NAMES, Clock())
    watch.observe(served, rows(100_000), low(100_000))
    report = watch.report(served)
    assert report is not None
    assert report.rows <= 256


def test_another_model_begins_anew_and_one_without_a_distribution_has_no_index() -> None:
    watch, first, second = DriftWatch(NAMES, Clock()), model(), model(2, known=False)
    feed(watch, first, rows(2_000))
    feed(watch, second, rows(2_000))
    assert watch.report(first) is None
    report = watch.report(second)
    assert report is not None
    assert (report.rows, report.indices) == (0, ())


def test_a_change_of_the_alert_rate_is_a_signal_and_a_steady_one_is_not() -> None:
    watch, served = DriftWatch(NAMES, Clock()), model(known=False)
    rng = np.random.default_rng(0)
    for share in (0.02, 0.3):
        for _ in range(200):
            watch.observe(
                served, np.zeros((256, 3), np.float32), np.where(rng.random(256) < share, 2, 1).astype(np.uint8)
            )
        assert len(watch.untold) == (share > 0.1)
    (signal,) = watch.untold
    assert signal.kind == "alert-rate"
    assert signal.limit == pytest.approx(0.02, abs=0.01)
    report = watch.report(served)
    assert report is not None
    assert report.alert_rate == pytest.approx(0.3, abs=0.03)


def test_adwin_keeps_the_mean_of_what_did_not_change_in_bounded_memory() -> None:
    window = Adwin()
    values = np.random.default_rng(3).random(20_000)
    assert all(window.add(value) is None for value in values.tolist())
    assert len(window) == len(values)
    assert window.mean == pytest.approx(values.mean())
    assert sum(len(row) for row in window._rows) < 100


def test_adwin_forgets_what_was_before_a_change() -> None:
    window = Adwin()
    series = [0.2, 0.3] * 300 + [0.7, 0.8] * 100
    changes = [change for value in series if (change := window.add(value)) is not None]
    # It gives way bit by bit.
    assert 1 <= len(changes) <= 6
    assert changes[0].before == pytest.approx(0.25, abs=0.05)
    assert window.mean == pytest.approx(0.75, abs=0.05)
    assert len(window) <= 220


class FakeSource:
    def __init__(self) -> None:
        self.told: list[list[str]] = []
        self.down = True

    async def report_drift(self, signals: Any) -> None:
        if self.down:
            raise UnavailableError("not now")
        self.told.append([signal.model for signal in signals])


async def test_signals_wait_for_the_registry_and_are_told_once_a_version() -> None:
    clock, served = Clock(), model()
    watch = DriftWatch(NAMES, clock)
    feed(watch, served, rows(4_000, shift=2))
    clock.now += DAY
    feed(watch, served, rows(1))
    (signal,) = watch.untold
    watch.untold.append(replace(signal, model="models/m/versions/2"))
    source = FakeSource()
    reporter = DriftReporter(source, watch)
    await reporter.sweep()
    assert len(watch.untold) == 2
    source.down = False
    await reporter.sweep()
    await reporter.sweep()
    assert source.told == [["models/m/versions/1"], ["models/m/versions/2"]]
