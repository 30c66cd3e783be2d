"""What a version is judged by, on rows that it was not fitted on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

#: A flow is alarmed at this score or above, or at the operating point where that is another.
ALARM: Final = 0.5

#: Share of the benign rows that a point below :data:`ALARM` may alarm where they are later ones of the captures that
#: the model was fitted on: of another day it will be several times as many.
QUIET: Final = 0.001
#: Benign rows that must have been seen for such a point: the highest of n is passed by one more with 1 / (n + 1).
FEWEST_BENIGN: Final = 100
#: The lowest that the point may be.
LOWEST_ALARM: Final = 0.05

#: False-positive rate that the operating point keeps to on held-out rows.
FPR_LIMIT: Final = 0.01

#: Benign flows for each malicious one in a network that is attacked, for want of a better figure.
RARITY: Final = 50

#: Rows of the threshold table at most.
THRESHOLDS: Final = 101


@dataclass(frozen=True, slots=True)
class Metric:
    """One number.

    Attributes:
        name: such as mcc.
        value: the number.
        dataset: a capture's name, or empty for all.
    """

    name: str
    value: float
    dataset: str = ""


def matthews(tp: float, fp: float, fn: float, tn: float) -> float:
    """Matthews correlation, 0 where a margin is empty (Chicco & Jurman, BMC Genomics 21:6, 2020)."""
    margin = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / math.sqrt(margin) if margin > 0 else 0.0


def tpr_at_fpr(score: Float64, malicious: Bool, weight: Float64, limit: float = 0.01) -> float:
    """Largest true-positive rate at a false-positive rate of at most `limit`, over real thresholds only."""
    fpr, tpr, _ = _roc(score, malicious, weight)
    return float(tpr[fpr <= limit + 1e-12].max(initial=0.0))


def operating_point(
    score: Float64, malicious: Bool, weight: Float64, limit: float = FPR_LIMIT, *, captures_held_out: bool = False
) -> float:
    """The score from which a flow is alarmed: :data:`ALARM`, higher where that is wrong too often, lower where it is
    wrong hardly ever.

    A calibrated score of a half is where malicious is more likely than not among the rows that it was calibrated on. A
    network has far fewer attacks than a labelled capture, so what a model says there by mistake counts for more: the
    point is the lowest score at which the false-positive rate is at most `limit`. Where that would silence most of what
    the model finds (benign rows stand at the very top, for a wrong label or a network that is unlike all others), it is
    the score of the best Matthews correlation in a network of which one flow in :data:`RARITY` is malicious.

    An attack of a kind that was in no capture scores between the benign flows and the attacks that are known. Captures
    that were held out whole show how low: below a half the point is the score of the same best correlation, within the
    limit. Later rows of captures that were fitted on do not show it; but where hardly any benign row comes near a half,
    what lies below it is a gap in which new attacks fall, and the point is just above the benign rows (the quantile of
    a conformal test, Laxhammar & Falkman, IEEE TPAMI 36:6, 2014).

    Args:
        score: calibrated scores (n,) of held-out rows.
        malicious: boolean (n,).
        weight: (n,), of any scale.
        limit: of the false-positive rate.
        captures_held_out: the rows are of captures that the model did not see at all.
    """
    fpr, tpr, threshold = _roc(score, malicious, weight)
    usable = (threshold >= ALARM) & (threshold <= 1.0)
    benign = score[~malicious], weight[~malicious]
    if not usable.any():
        return _worth_most(fpr, tpr, threshold, limit) if captures_held_out else _above_benign(*benign)
    within = usable & (fpr <= limit + 1e-12)
    if within.any():
        lowest = int(np.flatnonzero(within)[-1])
        if 2 * tpr[lowest] >= tpr[usable].max():
            # Between this score and the next lower one no row lies, so the half may be what is meant.
            if lowest != np.flatnonzero(usable)[-1]:
                return float(threshold[lowest])
            return _worth_most(fpr, tpr, threshold, limit) if captures_held_out else _above_benign(*benign)
    if not tpr.any():
        return 1.0
    places = np.flatnonzero(usable)
    return float(threshold[places[int(np.argmax(_worth(fpr[places], tpr[places])))]])


def _worth(fpr: Float64, tpr: Float64) -> list[float]:
    """Correlation in a network of which one flow in :data:`RARITY` is malicious."""
    return [matthews(t, RARITY * f, 1 - t, RARITY * (1 - f)) for f, t in zip(fpr.tolist(), tpr.tolist(), strict=True)]


def _worth_most(fpr: Float64, tpr: Float64, threshold: Float64, limit: float) -> float:
    """The score below :data:`ALARM` that is worth most within the limit; the half where no lower one is worth more."""
    places = np.flatnonzero((threshold >= LOWEST_ALARM) & (threshold < ALARM) & (fpr <= limit + 1e-12))
    above = int(np.flatnonzero(threshold >= ALARM)[-1])
    now = _worth(fpr[above : above + 1], tpr[above : above + 1])[0]
    worth = _worth(fpr[places], tpr[places])
    return float(threshold[places[int(np.argmax(worth))]]) if worth and max(worth) > now else ALARM


def _above_benign(score: Float64, weight: Float64) -> float:
    """The lowest score, up to :data:`ALARM`, that at most :data:`QUIET` of the benign rows reach."""
    if len(score) < FEWEST_BENIGN:
        return ALARM
    falling = np.argsort(-score, kind="stable")
    too_many = np.flatnonzero(np.cumsum(weight[falling]) > QUIET * weight.sum())
    silent = float(score[falling[too_many[0]]])
    return min(ALARM, max(LOWEST_ALARM, float(np.nextafter(silent, 1.0))))


def expected_calibration_error(score: Float64, malicious: Bool, weight: Float64, bins: int = 15) -> float:
    """Mean distance of score and frequency over equal-width bins (Naeini et al., AAAI 2015)."""
    place = np.minimum((score * bins).astype(np.int64), bins - 1)
    total = np.bincount(place, weight, bins)
    gap = np.abs(np.bincount(place, weight * score, bins) - np.bincount(place, weight * malicious, bins))
    return float(gap.sum() / total.sum())


def measure(
    score: Float64, malicious: Bool, weight: Float64, dataset: str = "", *, alarm: float = ALARM
) -> list[Metric]:
    """Every metric that the rows allow: rates need rows of their class, correlation and ranking need both.

    Args:
        score: calibrated scores (n,).
        malicious: boolean (n,).
        weight: (n,), of any scale.
        dataset: name that the metrics bear.
        alarm: score from which a row is alarmed.
    """
    alarmed = score >= alarm
    tp, fp = float(weight @ (alarmed & malicious)), float(weight @ (alarmed & ~malicious))
    fn, tn = float(weight @ (~alarmed & malicious)), float(weight @ (~alarmed & ~malicious))
    found = {"ece": expected_calibration_error(score, malicious, weight)}
    found["brier"] = float(np.average((score - malicious) ** 2, weights=weight))
    if fp + tn > 0:
        found["fpr"] = fp / (fp + tn)
    if tp + fn > 0:
        found["tpr"] = tp / (tp + fn)
    if tp + fn > 0 and fp + tn > 0:
        found["mcc"] = matthews(tp, fp, fn, tn)
        found["f1"] = 2 * tp / (2 * tp + fp + fn)
        found["precision"] = tp / (tp + fp) if tp + fp else 0.0
        found["tpr_at_fpr_1pct"] = tpr_at_fpr(score, malicious, weight)
        fpr, tpr, _ = _roc(score, malicious, weight)
        found["roc_auc"] = float(np.trapezoid(tpr, fpr))
    counts = {"flows": float(len(score)), "malicious": float(np.count_nonzero(malicious))}
    return [Metric(name, value, dataset) for name, value in {**found, **counts}.items()]


def measure_captures(
    score: Float64,
    malicious: Bool,
    weight: Float64,
    capture: NDArray[np.int64],
    names: Sequence[str],
    *,
    alarm: float = ALARM,
) -> list[Metric]:
    """Metrics over all rows, then of each capture that has rows."""
    metrics = [*measure(score, malicious, weight, alarm=alarm), Metric("threshold", alarm)]
    for index, name in enumerate(names):
        rows = capture == index
        if rows.any():
            metrics += measure(score[rows], malicious[rows], weight[rows], name, alarm=alarm)
    return metrics


def threshold_table(
    score: Float64, malicious: Bool, weight: Float64, *, captures_held_out: bool = False
) -> list[dict[str, float]]:
    """Precision, TPR, FPR and alarms of alarming at each of at most 102 scores, rising.

    The row of the operating point bears `operating_point` 1.
    """
    point = operating_point(score, malicious, weight, captures_held_out=captures_held_out)
    thresholds = np.unique(np.concatenate([np.quantile(score, np.linspace(0, 1, 51)), np.linspace(0, 1, 51)]))
    thresholds = np.union1d(thresholds[-THRESHOLDS:], [point])
    positives, negatives = float(weight @ malicious), float(weight @ ~malicious)
    table: list[dict[str, float]] = []
    for threshold in thresholds.tolist():
        alarmed = score >= threshold
        tp, fp = float(weight @ (alarmed & malicious)), float(weight @ (alarmed & ~malicious))
        table.append(
            {
                "score": threshold,
                "precision": tp / (tp + fp) if tp + fp else 0.0,
                "tpr": tp / positives if positives else 0.0,
                "fpr": fp / negatives if negatives else 0.0,
                "alarms": float(np.count_nonzero(alarmed)),
                **({"operating_point": 1.0} if threshold == point else {}),
            }
        )
    return table


def _roc(score: Float64, malicious: Bool, weight: Float64) -> tuple[Float64, Float64, Float64]:
    """False-positive rate, true-positive rate and threshold at each distinct score, from (0, 0) to (1, 1)."""
    order = np.argsort(-score, kind="stable")
    falling = score[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    tp = np.cumsum(weight[order] * malicious[order])[last]
    fp = np.cumsum(weight[order] * ~malicious[order])[last]
    start = np.zeros(1)
    tpr = np.concatenate([start, tp / tp[-1] if tp[-1] else tp])
    fpr = np.concatenate([start, fp / fp[-1] if fp[-1] else fp])
    return fpr, tpr, np.concatenate([[np.inf], falling[last]])
