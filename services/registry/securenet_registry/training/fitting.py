"""Fits an estimator, calibrates it and judges it on rows that it did not see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier

from securenet_registry.training.calibration import Calibration, Float64, fit_sigmoid, fit_tail
from securenet_registry.training.dataset import Dataset, TrainingDataError
from securenet_registry.training.evaluation import Metric, measure, measure_captures, operating_point, threshold_table
from securenet_registry.training.recipe import Estimator, SplitMethod, TrainingSpec

#: Hears what is done now: phase, part of the fitting that is done (0–1), a sentence, metrics so far.
Step = Callable[[str, float, str, Sequence[Metric]], None]

#: Share of ordinary rows that an isolation forest's rate of known attacks is told at.
TAIL: Final = 0.001

#: Rows of a golden batch: enough to meet most leaves, few enough to travel in a manifest.
GOLDEN_ROWS: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a training made.

    Attributes:
        estimator: the fitted scikit-learn estimator.
        calibration: its table.
        metrics: over all held-out rows and per capture.
        thresholds: see :func:`~securenet_registry.training.evaluation.threshold_table`.
        split: how rows were set apart: capture or time.
        rows: rows that the estimator was fitted on.
        golden: float32 (rows, features), real rows that serving must score alike.
    """

    estimator: Any
    calibration: Calibration
    metrics: tuple[Metric, ...]
    thresholds: tuple[Mapping[str, float], ...]
    split: str
    rows: int
    golden: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Row numbers to fit on, and row numbers to judge by."""

    fit: NDArray[np.int64]
    held_out: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """Held-out rows with their calibrated scores, how they were set apart, and how many rows were fitted on."""

    rows: NDArray[np.int64]
    score: Float64
    split: str
    fitted_rows: int


def raw_score(estimator: Any, x: NDArray[np.float32]) -> Float64:
    """The raw score (n,): probability of class 1; for an isolation forest 2^(−E[path length]/c) (Liu et al., 2008)."""
    if isinstance(estimator, IsolationForest):
        return np.asarray(-estimator.score_samples(x), np.float64)
    return np.asarray(estimator.predict_proba(x)[:, 1], np.float64)


def fit(dataset: Dataset, spec: TrainingSpec, step: Step) -> Trained:
    """Trains what the spec asks for.

    By capture: for each group of captures an estimator is fitted on the others and scores them; these scores calibrate
    the final estimator, which sees all rows. Each group's metrics use a calibration that its own scores had no part in.
    By time: an estimator is fitted on the earlier rows of each capture; its scores of the first half of the later ones
    calibrate, and those of the second half judge. The final estimator sees all rows here, too: an attack that comes
    late in a capture is in none of the earlier rows.
    An isolation forest needs no labels: rows that are known to be malicious are left out of fitting and calibration,
    and what it is calibrated to is the share of held-out rows that score lower.

    Raises:
        TrainingDataError: the rows do not allow it, with what is missing.
    """
    if not dataset.labelled:
        return _anomaly(dataset, spec, step)
    method = _method(dataset, spec)
    if method is SplitMethod.CAPTURE:
        return _by_capture(dataset, spec, step)
    return _by_time(dataset, spec, step)


def _by_capture(dataset: Dataset, spec: TrainingSpec, step: Step) -> Trained:
    folds = _capture_folds(dataset, spec)
    weight = dataset.weight()
    raw = np.full(len(dataset.x), np.nan)
    fold_of = np.full(len(dataset.x), -1)
    for index, fold in enumerate(folds):
        estimator = _fit(dataset, fold.fit, spec)
        raw[fold.held_out] = raw_score(estimator, dataset.x[fold.held_out])
        fold_of[fold.held_out] = index
        seen = measure(raw[fold_of >= 0], dataset.malicious[fold_of >= 0], weight[fold_of >= 0])
        step("fitting", (index + 1) / (len(folds) + 1), f"fold {index + 1} of {len(folds)}", _headline(seen))
    final = _fit(dataset, np.arange(len(dataset.x)), spec)
    step("calibrating", 1.0, "calibrating on the scores of held-out captures", [])
    score = np.empty(len(raw))
    for index in range(len(folds)):
        others = fold_of != index
        try:
            table = fit_sigmoid(raw[others], dataset.malicious[others], weight[others])
        except ValueError as error:
            raise TrainingDataError(f"fold {index + 1}: {error}") from error
        score[fold_of == index] = table.apply(raw[fold_of == index])
    calibration = fit_sigmoid(raw, dataset.malicious, weight)
    judged = _Judged(np.arange(len(raw)), score, "capture", len(raw))
    return _trained(dataset, spec, final, calibration, judged, step)


def _by_time(dataset: Dataset, spec: TrainingSpec, step: Step) -> Trained:
    fold = _time_fold(dataset, spec)
    step("fitting", 0.0, f"fitting on the earlier {len(fold.fit):,} rows", [])
    estimator = _fit(dataset, fold.fit, spec)
    raw = raw_score(estimator, dataset.x[fold.held_out])
    weight = dataset.weight()[fold.held_out]
    malicious = dataset.malicious[fold.held_out]
    step("calibrating", 1.0, f"calibrating on the later {len(fold.held_out):,} rows", [])
    early = _earlier_half(dataset, fold.held_out)
    if all(_both(malicious[half]) for half in (early, ~early)):
        calibration = fit_sigmoid(raw[early], malicious[early], weight[early])
        judged = ~early
    else:
        # One half lacks a class: two parameters fitted and judged on the same later rows are the lesser evil.
        calibration = fit_sigmoid(raw, malicious, weight)
        judged = np.ones(len(raw), np.bool_)
    score = calibration.apply(raw[judged])
    result = _Judged(fold.held_out[judged], score, "time", len(dataset.x))
    final = _fit(dataset, np.arange(len(dataset.x)), spec)
    return _trained(dataset, spec, final, calibration, result, step)


def _anomaly(dataset: Dataset, spec: TrainingSpec, step: Step) -> Trained:
    """A forest of the rows that are not known to be malicious, and how rare its scores are among held-out ones."""
    ordinary = np.flatnonzero(~dataset.malicious)
    held = np.unique(dataset.capture[ordinary])
    by_capture = spec.split is SplitMethod.CAPTURE or (spec.split is SplitMethod.AUTO and len(held) >= 2)
    if len(ordinary) < 2 or (by_capture and len(held) < 2):
        raise TrainingDataError(
            f"{len(ordinary):,} flows that are not malicious, in {len(held)} captures; expected some in "
            f"{'at least 2 captures' if by_capture else 'the earlier and the later part'}"
        )
    raw = np.full(len(dataset.x), np.nan)
    fitted = ordinary
    if by_capture:
        folds = min(len(held), max(2, round(1 / spec.held_out_fraction)))
        for number in range(folds):
            away = np.isin(dataset.capture, held[number::folds])
            forest = _fit(dataset, ordinary[~away[ordinary]], spec)
            raw[away] = raw_score(forest, dataset.x[away])
            step("fitting", (number + 1) / (folds + 1), f"fold {number + 1} of {folds}", [])
        estimator = _fit(dataset, ordinary, spec)
    else:
        later = _later(dataset, spec.held_out_fraction)
        fitted = ordinary[~later[ordinary]]
        if not 0 < len(fitted) < len(ordinary):
            raise TrainingDataError(f"{len(ordinary):,} flows that are not malicious; expected early and late ones")
        step("fitting", 0.0, f"fitting on the earlier {len(fitted):,} rows", [])
        estimator = _fit(dataset, fitted, spec)
        raw[later] = raw_score(estimator, dataset.x[later])
    judged = np.isfinite(raw)
    calm, attacks = judged & ~dataset.malicious, judged & dataset.malicious
    step("calibrating", 1.0, f"calibrating on {np.count_nonzero(calm):,} held-out rows", [])
    weight = dataset.weight()
    calibration = fit_tail(raw[calm], weight[calm])
    metrics = [Metric("flows", float(np.count_nonzero(judged)))]
    if attacks.any():
        odd = calibration.apply(raw[attacks]) >= 1 - TAIL
        metrics.append(Metric("tpr", float(np.average(odd, weights=weight[attacks]))))
        metrics.append(Metric("malicious", float(np.count_nonzero(attacks))))
    split = SplitMethod.CAPTURE if by_capture else SplitMethod.TIME
    return Trained(estimator, calibration, tuple(metrics), (), split.value, len(fitted), _golden(dataset, spec.seed))


def _trained(  # noqa: PLR0917 - what both ways of splitting have in common
    dataset: Dataset, spec: TrainingSpec, estimator: Any, calibration: Calibration, judged: _Judged, step: Step
) -> Trained:
    rows = judged.rows
    weight, malicious, capture = dataset.weight()[rows], dataset.malicious[rows], dataset.capture[rows]
    unseen = judged.split == SplitMethod.CAPTURE.value
    alarm = operating_point(judged.score, malicious, weight, captures_held_out=unseen)
    names = [c.name for c in dataset.captures]
    metrics = measure_captures(judged.score, malicious, weight, capture, names, alarm=alarm)
    step("evaluating", 1.0, f"judged on {len(rows):,} held-out rows", _headline(metrics))
    return Trained(
        estimator=estimator,
        calibration=calibration,
        metrics=tuple(metrics),
        thresholds=tuple(threshold_table(judged.score, malicious, weight, captures_held_out=unseen)),
        split=judged.split,
        rows=judged.fitted_rows,
        golden=_golden(dataset, spec.seed),
    )


def _fit(dataset: Dataset, rows: NDArray[np.int64], spec: TrainingSpec) -> Any:
    """A fitted estimator. Rows weigh so that each capture counts the same; early stopping is off, since it would set
    rows apart at random."""
    params: dict[str, Any] = dict(spec.params)
    x, y, weight = dataset.x[rows], dataset.malicious[rows].astype(np.int64), dataset.weight()[rows]
    match spec.estimator:
        case Estimator.HIST_GRADIENT_BOOSTING:
            boosting = HistGradientBoostingClassifier(random_state=spec.seed, early_stopping=False, **params)
            # It cannot bin a column without a value (an exporter that tells no states); of one value it learns nothing.
            return boosting.fit(np.where(np.isnan(x).all(axis=0), np.float32(0), x), y, sample_weight=weight)
        case Estimator.RANDOM_FOREST:
            forest = RandomForestClassifier(random_state=spec.seed, n_jobs=-1, **params)
            # Threads pay off in fitting and cost three times the work in scoring one flow.
            return forest.fit(x, y, sample_weight=weight).set_params(n_jobs=None)
        case Estimator.ISOLATION_FOREST:
            bounded = {**params, "max_samples": min(params["max_samples"], len(x))}
            return IsolationForest(random_state=spec.seed, **bounded).fit(x, sample_weight=weight)


def _method(dataset: Dataset, spec: TrainingSpec) -> SplitMethod:
    if spec.split is not SplitMethod.AUTO:
        return spec.split
    malicious = sum(1 for capture in dataset.captures if capture.malicious)
    benign = sum(1 for capture in dataset.captures if capture.malicious < capture.rows)
    # Of two captures with attacks each would be judged by a model that knows the other one's alone.
    enough = malicious >= 3 and benign >= 2
    return SplitMethod.CAPTURE if enough else SplitMethod.TIME


def _capture_folds(dataset: Dataset, spec: TrainingSpec) -> list[Fold]:
    captures = dataset.captures
    if len(captures) < 2:
        raise TrainingDataError("1 capture; expected at least 2 to hold whole captures out, or split by time")
    count = min(len(captures), max(2, round(1 / spec.held_out_fraction)))
    # Snake order by share of malicious rows spreads the classes over the folds.
    order = sorted(range(len(captures)), key=lambda i: (-captures[i].malicious / max(captures[i].rows, 1), i))
    group = np.empty(len(captures), np.int64)
    for place, index in enumerate(order):
        lap, slot = divmod(place, count)
        group[index] = slot if lap % 2 == 0 else count - 1 - slot
    row_group = group[dataset.capture]
    folds: list[Fold] = []
    for number in range(count):
        held_out = np.flatnonzero(row_group == number)
        fold = Fold(np.flatnonzero(row_group != number), held_out)
        if not len(held_out):
            continue
        if not _both(dataset.malicious[fold.fit]):
            names = ", ".join(captures[i].name for i in np.flatnonzero(group != number).tolist())
            raise TrainingDataError(
                f"captures {names} hold one class only; expected benign and malicious flows in at least 2 captures each"
            )
        folds.append(fold)
    return folds


def _time_fold(dataset: Dataset, spec: TrainingSpec) -> Fold:
    """Earlier and later rows; the later part grows to a half, if it must, until it holds both classes."""
    for fraction in (spec.held_out_fraction, 0.35, 0.5):
        later = _later(dataset, fraction)
        if fraction >= spec.held_out_fraction and _both(dataset.malicious[later]) and _both(dataset.malicious[~later]):
            return Fold(np.flatnonzero(~later), np.flatnonzero(later))
    total = int(np.count_nonzero(dataset.malicious))
    raise TrainingDataError(
        f"{total:,} malicious of {len(dataset.x):,} flows, and not in the earlier and the later part of the captures "
        "alike; expected benign and malicious flows in both, or at least 3 captures with attacks to hold whole ones out"
    )


def _later(dataset: Dataset, fraction: float) -> NDArray[np.bool_]:
    """Boolean (n,): the later rows of each capture, that part of them."""
    later = np.zeros(len(dataset.x), np.bool_)
    for index in range(len(dataset.captures)):
        rows = np.flatnonzero(dataset.capture == index)
        rows = rows[np.argsort(dataset.time_ns[rows], kind="stable")]
        later[rows[len(rows) - round(fraction * len(rows)) :]] = True
    return later


def _earlier_half(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Boolean (rows,): the earlier half of the given rows of each capture."""
    early = np.zeros(len(rows), np.bool_)
    for index in range(len(dataset.captures)):
        own = np.flatnonzero(dataset.capture[rows] == index)
        order = own[np.argsort(dataset.time_ns[rows[own]], kind="stable")]
        early[order[: len(order) // 2]] = True
    return early


def _both(malicious: NDArray[np.bool_]) -> bool:
    return bool(malicious.any() and not malicious.all())


def _headline(metrics: Sequence[Metric]) -> list[Metric]:
    return [
        metric for metric in metrics if not metric.dataset and metric.name in {"mcc", "tpr_at_fpr_1pct", "ece", "f1"}
    ]


def _golden(dataset: Dataset, seed: int) -> NDArray[np.float32]:
    """Real rows, half of each class where there are two, each value as it came, unknown ones too."""
    chosen: list[NDArray[np.int64]] = []
    generator = np.random.default_rng(seed)
    classes = [np.flatnonzero(dataset.malicious), np.flatnonzero(~dataset.malicious)]
    for rows in sorted(classes, key=len):
        room = (GOLDEN_ROWS - sum(map(len, chosen))) // (2 - len(chosen))
        chosen.append(np.sort(generator.permutation(rows)[:room]))
    return np.ascontiguousarray(dataset.x[np.concatenate(chosen)])
