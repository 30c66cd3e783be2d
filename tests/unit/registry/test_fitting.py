"""Fitting: how rows are set apart, and what is said where they do not suffice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from securenet_registry.training.dataset import Capture, Dataset, TrainingDataError
from securenet_registry.training.fitting import GOLDEN_ROWS, Trained, fit, raw_score
from securenet_registry.training.recipe import Estimator, SplitMethod, TrainingSpec

pytestmark = pytest.mark.unit


def dataset(*shares: float, rows: int = 120, late: bool = False) -> Dataset:
    """Captures with a share of malicious rows each, told apart by the first feature."""
    rng = np.random.default_rng(1)
    x, malicious, captures = [], [], []
    for number, share in enumerate(shares):
        bad = np.arange(rows) >= rows * (1 - share) if late else rng.random(rows) < share
        values = rng.normal(size=(rows, 4))
        values[:, 0] += 4 * bad
        values[::7, 2] = np.nan
        x.append((np.rint(values * 1024) / 1024).astype(np.float32))
        malicious.append(bad)
        captures.append(Capture(f"c{number}", "", "", rows, int(bad.sum()), 0))
    return Dataset(
        x=np.concatenate(x), malicious=np.concatenate(malicious), capture=np.repeat(np.arange(len(shares)), rows),
        time_ns=np.tile(np.arange(rows), len(shares)), captures=tuple(captures), labelled=True,
    )  # fmt: skip


def train(data: Dataset, split: SplitMethod = SplitMethod.AUTO, **fields: object) -> Trained:
    params = {"max_iter": 20, "min_samples_leaf": 5}
    spec = TrainingSpec("flows", (), Estimator.HIST_GRADIENT_BOOSTING, params, split)
    return fit(data, spec, lambda *_: None)


def value(trained: Trained, name: str) -> float:
    return next(metric.value for metric in trained.metrics if metric.name == name and not metric.dataset)


def test_several_captures_are_held_out_whole() -> None:
    data = dataset(0.3, 0.4, 0.0, 0.2)
    trained = train(data)
    assert (trained.split, trained.rows) == ("capture", 480)
    assert value(trained, "mcc") > 0.9
    assert value(trained, "flows") == 480
    assert trained.calibration is not None
    assert {metric.dataset for metric in trained.metrics} == {"", "c0", "c1", "c2", "c3"}


def test_one_capture_is_split_by_time() -> None:
    trained = train(dataset(0.4, rows=400))
    assert (trained.split, trained.rows) == ("time", 400)
    assert value(trained, "flows") == 50
    assert value(trained, "mcc") > 0.8


def test_two_captures_with_attacks_are_not_held_out_from_each_other() -> None:
    assert train(dataset(0.3, 0.4, 0.0, 0.0)).split == "time"


@pytest.mark.parametrize("captures", [(0.4,), (0.3, 0.4, 0.2)])
def test_what_an_exporter_never_tells_is_no_hindrance(captures: Sequence[float]) -> None:
    data = dataset(*captures, rows=400)
    data.x[:, 3] = np.nan
    assert value(train(data), "mcc") > 0.8


def test_the_later_part_grows_until_it_holds_both_classes() -> None:
    data = dataset(0.3, rows=400)
    early = Dataset(
        data.x, data.malicious & (data.time_ns < 280), data.capture, data.time_ns, data.captures, labelled=True
    )
    assert value(train(early), "flows") == 140


def test_a_capture_that_ends_in_its_attack_cannot_be_judged() -> None:
    with pytest.raises(TrainingDataError, match="not in the earlier and the later part"):
        train(dataset(0.1, late=True, rows=200))


@pytest.mark.parametrize(("shares", "said"), [((0.3,), "1 capture"), ((0.3, 0.0), "hold one class only")])
def test_too_few_captures_to_hold_out(shares: Sequence[float], said: str) -> None:
    with pytest.raises(TrainingDataError, match=said):
        train(dataset(*shares), SplitMethod.CAPTURE)


def test_the_same_seed_gives_the_same_model() -> None:
    data = dataset(0.3, 0.4, 0.2)
    first, second = train(data), train(data)
    assert np.array_equal(raw_score(first.estimator, data.x), raw_score(second.estimator, data.x))
    assert first.metrics == second.metrics


def test_golden_rows_are_real_rows_of_both_classes() -> None:
    data = dataset(0.05, 0.05, 0.05)
    golden = train(data).golden
    assert golden.shape == (GOLDEN_ROWS, 4)
    assert np.isnan(golden).any()
    rows = {row.tobytes() for row in data.x}
    assert all(row.tobytes() in rows for row in golden)


def forest(data: Dataset, **fields: Any) -> Trained:
    unlabelled = replace(data, labelled=False)
    params = {"n_estimators": 30, "max_samples": 32}
    return fit(unlabelled, TrainingSpec("flows", (), Estimator.ISOLATION_FOREST, params, **fields), lambda *_: None)


@pytest.mark.parametrize("split", [SplitMethod.CAPTURE, SplitMethod.TIME])
def test_an_isolation_forest_says_how_rare_a_score_is_among_ordinary_rows(split: SplitMethod) -> None:
    data = dataset(0.1, 0.1, 0.1, rows=2000)
    trained = forest(data, split=split)
    assert trained.split == split.value
    share = trained.calibration.apply(raw_score(trained.estimator, data.x[~data.malicious]))
    # Shares of ordinary rows are spread evenly, whatever the scores are.
    assert np.quantile(share, [0.25, 0.5, 0.75, 0.95]) == pytest.approx([0.25, 0.5, 0.75, 0.95], abs=0.08)
    assert share.max() < 1


def test_what_is_known_to_be_malicious_is_not_ordinary() -> None:
    data = dataset(0.1, 0.1, 0.1, rows=2000)
    harmless = replace(data, malicious=np.zeros_like(data.malicious))
    far = replace(data, x=np.where(data.malicious[:, None], np.float32(100), data.x))
    known, unknown = forest(far), forest(replace(far, malicious=harmless.malicious))
    assert {metric.name: metric.value for metric in known.metrics}["tpr"] > 0.9
    alien = np.full((1, data.x.shape[1]), 100, np.float32)
    assert known.calibration.apply(raw_score(known.estimator, alien))[0] > 0.999
    assert unknown.calibration.apply(raw_score(unknown.estimator, alien))[0] < 0.99


def test_an_isolation_forest_needs_something_ordinary() -> None:
    data = dataset(0.1, 0.1)
    with pytest.raises(TrainingDataError, match="not malicious"):
        forest(replace(data, malicious=np.ones_like(data.malicious)))
