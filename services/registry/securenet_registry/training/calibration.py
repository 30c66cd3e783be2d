"""From a raw score to a probability: a monotone, piecewise-linear table.

A table is all that a server needs (one `np.interp`), says nothing of the library that fitted it, and is the definition:
no second implementation can disagree with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

#: Points of a table. Sigmoids are tabulated at equal steps of log-odds, where they bend the same everywhere.
POINTS: Final = 257

#: Raw scores nearer to 0 or 1 than this are taken for this; beyond it log-odds have no meaning in float32.
EDGE: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A monotone table.

    Attributes:
        method: how it was fitted: sigmoid, or tail for the share of ordinary flows that score lower.
        x: raw scores, strictly rising, the first 0 and the last 1.
        y: probabilities, never falling, as many.
    """

    method: str
    x: Float64
    y: Float64

    def __post_init__(self) -> None:
        problem = _problem(self.x, self.y)
        if problem:
            raise ValueError(f"calibration: {problem}")

    def apply(self, raw: NDArray[np.floating[Any]]) -> Float64:
        """Probabilities of raw scores, float64, of the same shape; outside [0, 1] the table's ends hold."""
        return np.interp(raw.astype(np.float64), self.x, self.y)

    def document(self) -> dict[str, Any]:
        """As in a manifest."""
        return {"kind": "piecewise-linear", "method": self.method, "x": self.x.tolist(), "y": self.y.tolist()}

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Calibration:
        """From a manifest.

        Raises:
            ValueError: it is no table of the kind.
        """
        if document.get("kind") != "piecewise-linear":
            raise ValueError(f"calibration: kind {document.get('kind')!r}; expected 'piecewise-linear'")
        x, y = document.get("x"), document.get("y")
        if not isinstance(x, list) or not isinstance(y, list) or not all(isinstance(v, (int, float)) for v in (*x, *y)):
            raise ValueError("calibration: x and y; expected two lists of numbers")
        return cls(str(document.get("method", "unknown")), np.array(x, np.float64), np.array(y, np.float64))


def _problem(x: Float64, y: Float64) -> str:
    if x.shape != y.shape or x.ndim != 1 or not 2 <= len(x) <= 100_000:
        return f"x has {x.shape} and y {y.shape} values; expected two lists of one length from 2 to 100,000"
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return "a value is not finite"
    if not (np.diff(x) > 0).all():
        return "x does not rise strictly"
    if not ((np.diff(y) >= 0).all() and y[0] >= 0 and y[-1] <= 1):
        return "y falls, or leaves [0, 1]"
    return ""


def log_odds(probability: Float64) -> Float64:
    """ln(p / (1 − p)), p kept :data:`EDGE` away from 0 and 1."""
    clipped = np.clip(probability, EDGE, 1 - EDGE)
    return np.log(clipped / (1 - clipped))


def fit_sigmoid(raw: Float64, malicious: NDArray[np.bool_], weight: Float64) -> Calibration:
    """Platt's sigmoid over log-odds, fitted by Newton's method to weighted, smoothed targets.

    Platt, "Probabilistic Outputs for Support Vector Machines", 1999, with the targets (N₊+1)/(N₊+2) and 1/(N₋+2) that
    keep it off 0 and 1; Lin, Lin & Weng, "A note on Platt's probabilistic outputs", 2007, for the step control. Two
    parameters do not overfit, and a strictly rising table keeps the order of flows.

    Args:
        raw: raw scores (n,) of rows that the estimator was not fitted on.
        malicious: boolean (n,).
        weight: (n,), of any scale.

    Raises:
        ValueError: a class has no weight.
    """
    positives, negatives = (
        int(np.count_nonzero(malicious & (weight > 0))),
        int(np.count_nonzero(~malicious & (weight > 0))),
    )
    if not positives or not negatives:
        raise ValueError(f"{positives} malicious and {negatives} benign rows to calibrate on; expected some of both")
    target = np.where(malicious, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    w = weight / weight.mean()
    s = log_odds(raw)

    def loss(slope: float, offset: float) -> float:
        z = slope * s + offset
        return float(np.sum(w * (np.logaddexp(0, z) - target * z)))

    slope, offset = 1.0, 0.0
    best = loss(slope, offset)
    for _ in range(100):
        p = 1 / (1 + np.exp(-(slope * s + offset)))
        error = w * (p - target)
        gradient = np.array([error @ s, error.sum()])
        curve = w * p * (1 - p)
        hessian = np.array([[curve @ (s * s), curve @ s], [curve @ s, curve.sum()]]) + 1e-9 * np.eye(2) * len(s)
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while scale > 1e-8 and loss(slope - scale * step[0], offset - scale * step[1]) > best:
            scale /= 2
        slope, offset = slope - scale * step[0], offset - scale * step[1]
        now = loss(slope, offset)
        if best - now < 1e-10 * max(1.0, abs(best)):
            break
        best = now
    # A falling sigmoid would turn the order round: the estimator knows nothing of the held-out rows, so neither do we.
    slope = max(slope, 1e-3)
    grid = np.linspace(float(log_odds(np.zeros(1))[0]), float(log_odds(np.ones(1))[0]), POINTS)
    x = 1 / (1 + np.exp(-grid))
    x[0], x[-1] = 0.0, 1.0
    y = np.array([1 / (1 + math.exp(-min(max(slope * z + offset, -700.0), 700.0))) for z in grid.tolist()])
    return Calibration("sigmoid", x, np.maximum.accumulate(y))


def fit_tail(raw: Float64, weight: Float64) -> Calibration:
    """The share of ordinary flows that score lower than a raw score: 1 − it is the tail probability of the score.

    It is tabulated closer and closer towards the tail. Beyond the highest score that was seen the tail is taken for
    1 / (n + 1), the chance that one more ordinary flow is the highest of all; it is never 0.

    Args:
        raw: raw scores (n,), 0–1, of ordinary rows that the estimator was not fitted on.
        weight: (n,), of any scale.
    """
    order = np.argsort(raw, kind="stable")
    rising, below = raw[order], np.cumsum(weight[order])
    # Half of a row's own weight lies below it, so that no row is taken for higher than all.
    share = (below - weight[order] / 2) / below[-1]
    tails = np.logspace(0, -math.log10(len(raw) + 1), POINTS)
    return tail_table(np.interp(1 - tails, share, rising), tails)


def tail_table(score: Float64, tail: Float64) -> Calibration:
    """A table of raw scores (k,), 0–1 and rising, and of the shares of ordinary flows (k,) at or above them."""
    inner, first = np.unique(score[(score > 0) & (score < 1)], return_index=True)
    # Where several tails fall on one score, the largest holds: too many are ordinary, rather than too few.
    shares = np.maximum.accumulate(1 - tail[(score > 0) & (score < 1)][first])
    last = float(shares[-1]) if len(shares) else 0.0
    return Calibration("tail", np.concatenate([[0.0], inner, [1.0]]), np.concatenate([[0.0], shares, [last]]))
