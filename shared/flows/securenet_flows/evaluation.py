"""How well verdicts fit labels: the arithmetic behind `securenet evaluate`.

A row is *alarmed* at threat level MEDIUM or above. Rows labelled `unknown` are left out; a row without a label is an
error, for taking it as benign would flatter the detector. What is undefined is None, never 0: without malicious rows
there is no true-positive rate, without benign rows no false-positive rate.

Definitions
    MCC: Matthews correlation, (TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)); 0 if only a product of alarms is 0.
    TPR at FPR ≤ 1 %: the best true-positive rate over all thresholds on the score whose false-positive rate is at most
        1 %. Rows of equal score pass a threshold together, so no threshold is taken that the scores do not offer.
    ECE: expected calibration error over fifteen bins of equal width (Naeini et al., 2015).
    Findings per host-day: see :mod:`securenet_flows.host_days`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from securenet_flows.batch import Bool, Dictionary, Int64
from securenet_flows.exceptions import FlowDataError

Floats = NDArray[np.float64]

#: Threat levels are numbered LOW 1, MEDIUM 2, HIGH 3, CRITICAL 4; alarms begin here.
ALARM_LEVEL: Final = 2

_FPR_LIMIT: Final = 0.01
_ECE_BINS: Final = 15


class MissingLabelError(FlowDataError):
    """Rows of a capture that is to be evaluated have no label."""

    def __init__(self, capture: str, missing: int, rows: int) -> None:
        super().__init__(
            f"{capture}: {missing} of {rows} rows have no label; expected malicious, benign or unknown in each"
        )
        self.capture = capture
        self.missing = missing
        self.rows = rows


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCapture:
    """The judged rows of a capture: those whose label is malicious or benign, n of them.

    Attributes:
        name: what the capture is called in results.
        malicious: boolean (n,), the label.
        score: float64 (n,), the probability that the row is malicious.
        alarmed: boolean (n,), at MEDIUM or above.
        unknown: rows left out for their label.
        host_days: see :class:`HostDays`; None if not counted.
        findings_high: findings at HIGH or above; None if not counted.
    """

    name: str
    malicious: Bool
    score: Floats
    alarmed: Bool
    unknown: int = 0
    host_days: int | None = None
    findings_high: int | None = None

    @classmethod
    def from_rows(
        cls,
        name: str,
        labels: Dictionary | Sequence[str | None],
        score: NDArray[np.floating[Any]],
        level: NDArray[np.integer[Any]],
        *,
        host_days: int | None = None,
        findings_high: int | None = None,
    ) -> LabelledCapture:
        """Rows with their verdicts: labels as in :data:`securenet_flows.batch.LABELS`, scores, threat-level numbers.

        Raises:
            MissingLabelError: rows have no label.
            FlowDataError: the columns differ in length, a label is another word, or a score is not in 0..1.
        """
        column = labels if isinstance(labels, Dictionary) else Dictionary.encode(labels)
        n = len(column)
        if score.shape != (n,) or level.shape != (n,):
            raise FlowDataError(
                f"{name}: {n} labels, scores {score.shape}, levels {level.shape}; expected equal lengths"
            )
        missing = int((column.codes < 0).sum())
        if missing:
            raise MissingLabelError(name, missing, n)
        malicious, benign = column.matches(["malicious"]), column.matches(["benign"])
        unknown = column.matches(["unknown"])
        judged = malicious | benign
        if not bool((judged | unknown).all()):
            row = int(np.argmin(judged | unknown))
            raise FlowDataError(f"{name}: label {column[row]!r} in row {row}; expected malicious, benign or unknown")
        scores = score.astype(np.float64)[judged]
        if not bool(((scores >= 0) & (scores <= 1)).all()):
            raise FlowDataError(f"{name}: a score outside 0..1 or not a number; expected probabilities")
        return cls(
            name=name,
            malicious=malicious[judged],
            score=scores,
            alarmed=np.asarray(level[judged] >= ALARM_LEVEL),
            unknown=int(unknown.sum()),
            host_days=host_days,
            findings_high=findings_high,
        )

    @classmethod
    def pooled(cls, captures: Sequence[LabelledCapture], name: str = "pooled") -> LabelledCapture:
        """The rows of all captures as one. Findings and host-days are summed over the captures that have both."""
        counted = [c for c in captures if c.host_days is not None and c.findings_high is not None]
        return cls(
            name=name,
            malicious=np.concatenate([np.empty(0, dtype=np.bool_), *(c.malicious for c in captures)]),
            score=np.concatenate([np.empty(0), *(c.score for c in captures)]),
            alarmed=np.concatenate([np.empty(0, dtype=np.bool_), *(c.alarmed for c in captures)]),
            unknown=sum(c.unknown for c in captures),
            host_days=sum(c.host_days or 0 for c in counted) if counted else None,
            findings_high=sum(c.findings_high or 0 for c in counted) if counted else None,
        )


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of alarmed and malicious rows."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @classmethod
    def of(cls, malicious: Bool, alarmed: Bool) -> Confusion:
        """Counts of two boolean columns."""
        return cls(
            true_positives=int((malicious & alarmed).sum()),
            false_positives=int((~malicious & alarmed).sum()),
            true_negatives=int((~malicious & ~alarmed).sum()),
            false_negatives=int((malicious & ~alarmed).sum()),
        )

    @property
    def malicious(self) -> int:
        """Rows that are malicious."""
        return self.true_positives + self.false_negatives

    @property
    def benign(self) -> int:
        """Rows that are benign."""
        return self.true_negatives + self.false_positives

    @property
    def mcc(self) -> float | None:
        """Matthews correlation; None unless there are rows of both classes."""
        if not self.malicious or not self.benign:
            return None
        alarms = self.true_positives + self.false_positives
        silent = self.true_negatives + self.false_negatives
        if not alarms or not silent:
            return 0.0
        # Python's integers do not overflow where the product of four counts would.
        product = alarms * silent * self.malicious * self.benign
        return (self.true_positives * self.true_negatives - self.false_positives * self.false_negatives) / math.sqrt(
            product
        )

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None without malicious rows."""
        if not self.malicious:
            return None
        return 2 * self.true_positives / (2 * self.true_positives + self.false_positives + self.false_negatives)

    @property
    def tpr(self) -> float | None:
        """True-positive rate; None without malicious rows."""
        return self.true_positives / self.malicious if self.malicious else None

    @property
    def fpr(self) -> float | None:
        """False-positive rate; None without benign rows."""
        return self.false_positives / self.benign if self.benign else None


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Points of a curve by falling threshold, all (k,).

    Attributes:
        threshold: the score at and above which a row counts; infinity at the first point.
        true_positives, false_positives: counts there.
    """

    threshold: Floats
    true_positives: Int64
    false_positives: Int64

    @classmethod
    def of(cls, malicious: Bool, score: Floats) -> Curve:
        """Every threshold that the scores offer, rows of equal score together."""
        order = np.argsort(-score, kind="stable")
        ranked = score[order]
        last = np.flatnonzero(np.append(np.diff(ranked) != 0, True)) if len(ranked) else np.empty(0, dtype=np.int64)
        hits = np.cumsum(malicious[order])
        return cls(
            threshold=np.concatenate([[np.inf], ranked[last]]),
            true_positives=np.concatenate([[0], hits[last]]).astype(np.int64),
            false_positives=np.concatenate([[0], last + 1 - hits[last]]).astype(np.int64),
        )

    def roc(self, points: int | None = None) -> tuple[Floats, Floats]:
        """(FPR, TPR), thinned to about `points` for plotting; NaN where undefined."""
        with np.errstate(invalid="ignore"):
            fpr = self.false_positives / np.float64(self.false_positives[-1])
            tpr = self.true_positives / np.float64(self.true_positives[-1])
        kept = _thin(fpr, tpr, points)
        return fpr[kept], tpr[kept]

    def precision_recall(self, points: int | None = None) -> tuple[Floats, Floats]:
        """(recall, precision) by falling threshold without the point of no alarms, thinned as :meth:`roc`."""
        alarms = (self.true_positives + self.false_positives)[1:]
        with np.errstate(invalid="ignore"):
            recall = self.true_positives[1:] / np.float64(self.true_positives[-1])
        precision = self.true_positives[1:] / alarms
        kept = _thin(recall, precision, points)
        return recall[kept], precision[kept]

    @property
    def auc(self) -> float | None:
        """Area under the ROC curve by the trapezoid rule, ties as half; None unless both classes are there."""
        if not self.true_positives[-1] or not self.false_positives[-1]:
            return None
        fpr, tpr = self.roc()
        return float(np.trapezoid(tpr, fpr))

    @property
    def average_precision(self) -> float | None:
        """Σ (Rₙ − Rₙ₋₁)·Pₙ over the thresholds, without interpolation; None without malicious rows."""
        if not self.true_positives[-1]:
            return None
        recall, precision = self.precision_recall()
        return float(np.sum(np.diff(recall, prepend=0.0) * precision))

    def tpr_at(self, fpr: float) -> float | None:
        """The best TPR over thresholds whose FPR is at most the given one; None unless both classes are there."""
        positives, negatives = int(self.true_positives[-1]), int(self.false_positives[-1])
        if not positives or not negatives:
            return None
        allowed = self.false_positives <= math.floor(fpr * negatives + 1e-9)
        return float(self.true_positives[allowed].max()) / positives


def calibration_error(malicious: Bool, score: Floats, bins: int = _ECE_BINS) -> float | None:
    """Expected calibration error: mean distance of the bins' mean score from their share of malicious rows."""
    if len(score) == 0:
        return None
    place = np.minimum((score * bins).astype(np.int64), bins - 1)
    scores = np.bincount(place, weights=score, minlength=bins)
    hits = np.bincount(place, weights=malicious, minlength=bins)
    return float(np.abs(scores - hits).sum() / len(score))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures of one capture, or of several pooled. Rates are 0..1; None is undefined or not counted."""

    name: str
    flows: int
    malicious: int
    mcc: float | None
    f1: float | None
    tpr: float | None
    fpr: float | None
    tpr_at_fpr_1pct: float | None
    findings_high_per_host_day: float | None
    auc: float | None
    average_precision: float | None
    ece: float | None
    unknown: int
    host_days: int | None
    confusion: Confusion

    def as_dict(self) -> dict[str, Any]:
        """Plain values under the names that `securenet evaluate --output json` promises, and a few more."""
        return {
            "name": self.name,
            "flows": self.flows,
            "malicious": self.malicious,
            "mcc": self.mcc,
            "f1": self.f1,
            "tpr": self.tpr,
            "fpr": self.fpr,
            "tpr_at_fpr_1pct": self.tpr_at_fpr_1pct,
            "findings_high_per_host_day": self.findings_high_per_host_day,
            "auc": self.auc,
            "average_precision": self.average_precision,
            "ece": self.ece,
            "unknown": self.unknown,
            "host_days": self.host_days,
            "true_positives": self.confusion.true_positives,
            "false_positives": self.confusion.false_positives,
            "true_negatives": self.confusion.true_negatives,
            "false_negatives": self.confusion.false_negatives,
        }


def evaluate(capture: LabelledCapture) -> Evaluation:
    """All figures of a capture."""
    confusion = Confusion.of(capture.malicious, capture.alarmed)
    curve = Curve.of(capture.malicious, capture.score)
    counted = capture.host_days and capture.findings_high is not None
    return Evaluation(
        name=capture.name,
        flows=len(capture.malicious),
        malicious=confusion.malicious,
        mcc=confusion.mcc,
        f1=confusion.f1,
        tpr=confusion.tpr,
        fpr=confusion.fpr,
        tpr_at_fpr_1pct=curve.tpr_at(_FPR_LIMIT),
        findings_high_per_host_day=(capture.findings_high or 0) / (capture.host_days or 1) if counted else None,
        auc=curve.auc,
        average_precision=curve.average_precision,
        ece=calibration_error(capture.malicious, capture.score),
        unknown=capture.unknown,
        host_days=capture.host_days,
        confusion=confusion,
    )


def _thin(x: Floats, y: Floats, points: int | None) -> Int64:
    """Positions of at most about `points` points, evenly along the curve, first and last kept."""
    if points is None or len(x) <= points:
        return np.arange(len(x))
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    if not np.isfinite(length[-1]) or length[-1] == 0:
        return np.unique(np.linspace(0, len(x) - 1, points).astype(np.int64))
    place = np.searchsorted(length, np.linspace(0, length[-1], points))
    return np.unique(np.concatenate([[0], np.minimum(place, len(x) - 1), [len(x) - 1]])).astype(np.int64)
