"""From a model's raw output to a probability, and from a probability to what it may say alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.models.interface import ModelRejectedError

Float = NDArray[np.float64]

#: Calibrated precision from which a model may say HIGH without other evidence.
_HIGH_PRECISION: Final = 0.99

#: Standard deviations of the lower bound of a precision: 97.5 % of such bounds are right. With it, 381 alarms that are
#: all right are the fewest that show a precision of 0.99.
_Z: Final = 1.96

#: From here on malicious is more likely than not; a model says MEDIUM from here where its training says nothing else.
_MEDIUM: Final = 0.5

#: The lowest and the highest point that a training may say: above the one benign flows are rare, and above the other
#: there must be room for HIGH.
_LOWEST_MEDIUM: Final = 0.05
_HIGHEST_MEDIUM: Final = 0.989

_POINTS: Final = 100_000

#: The model's piece of risk where it may not say HIGH, at most.
_BELOW_HIGH: Final = 0.69

#: The same for flows that came from outside: with other evidence of that level together they stay below HIGH.
_FROM_OUTSIDE: Final = 0.50


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A piecewise-linear table from raw to calibrated probability.

    Attributes:
        x: float64 (k,), raw probabilities, rising.
        y: float64 (k,), calibrated ones, not falling.
    """

    x: Float
    y: Float

    @classmethod
    def read(cls, manifest: Mapping[str, Any]) -> Calibration:
        """Reads `{"kind": "piecewise-linear", "x": […], "y": […]}`.

        Raises:
            ModelRejectedError: there is none (an uncalibrated model is not served), or it is no such table.
        """
        kind = manifest.get("kind")
        if kind != "piecewise-linear":
            raise ModelRejectedError(f"calibration: {kind!r}; expected 'piecewise-linear'", reason="UNCALIBRATED")
        x, y = _column(manifest, "x"), _column(manifest, "y")
        if len(x) != len(y) or not 2 <= len(x) <= _POINTS:
            raise ModelRejectedError(f"calibration: {len(x)} x and {len(y)} y; expected as many, 2 to {_POINTS}")
        if (np.diff(x) < 0).any() or (np.diff(y) < 0).any():
            raise ModelRejectedError("calibration: x or y falls; expected tables that rise")
        if y[0] < 0 or y[-1] > 1:
            raise ModelRejectedError(f"calibration: y from {y[0]} to {y[-1]}; expected probabilities")
        return cls(x, y)

    def apply(self, raw: Float) -> Float:
        """Calibrated probabilities, float64 (n,)."""
        return np.interp(raw, self.x, self.y)


@dataclass(frozen=True, slots=True)
class OperatingPoints:
    """Probabilities from which a model alone may say MEDIUM, and HIGH if it ever may."""

    medium: float
    high: float | None

    @classmethod
    def read(cls, table: Any, *, captures_held_out: bool) -> OperatingPoints:
        """Reads `[{"score": p, "precision": q, "tpr": …, "alarms": n}, …]`, rising, of held-out rows.

        The model says MEDIUM from the row that the training marked as its operating point, and from a half where none
        is marked: what is as likely as not in a capture full of attacks is not in a network that has few, and where
        benign rows stay far below a half, what lies between them and the known attacks may be another kind of attack.

        The model may say HIGH from the lowest score for which two witnesses speak: its calibration (the score itself
        is at least 0.99) and the held-out captures. Of those the alarms are taken in bands from the top down, each as
        wide as it must be for the lower end of Wilson's interval of its precision to reach 0.99; the first band whose
        precision is below that ends the search. So neither a few alarms that happen to be right count as proof, nor do
        many good ones at the top vouch for bad ones below. A table without `alarms` proves nothing.

        Source of the interval: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
        JASA 22 (1927).

        Args:
            table: of the manifest.
            captures_held_out: the rows were of captures that the model did not see. Otherwise, as with the later rows
                of the captures that it was fitted on, they prove nothing.

        Raises:
            ModelRejectedError: it is no such table.
        """
        if not isinstance(table, list) or len(table) > _POINTS or not all(isinstance(row, Mapping) for row in table):
            raise ModelRejectedError(f"thresholds: {type(table).__name__}; expected a list of at most {_POINTS} rows")
        rows = [_Row.read(row) for row in table]
        if any(above.score < below.score for below, above in pairwise(rows)):
            raise ModelRejectedError("thresholds: score falls; expected rows in rising order")
        high: float | None = None
        top = _Row(1.0, 0.0, 0.0, 0.0)
        for row in reversed(rows):
            if row.score < _HIGH_PRECISION or not captures_held_out:
                break
            count, precision = row.band(top)
            if count <= 0:
                continue
            if precision < _HIGH_PRECISION:
                break
            if wilson_lower_bound(precision, count) >= _HIGH_PRECISION:
                high, top = row.score, row
        marked = next((row.score for row in rows if row.operating), _MEDIUM)
        return cls(min(max(marked, _LOWEST_MEDIUM), _HIGHEST_MEDIUM), high)

    def pieces(self, probabilities: Float, *, own: NDArray[np.bool_]) -> Float:
        """The model's piece of risk, float64 (n,): 0.40 (MEDIUM) at its medium point, 0.70 (HIGH) at its high one.

        Rising with the probability; below 0.70 throughout for a model that may not say HIGH, and 0.50 at most for flows
        that no host of one's own began: the Internet attacks everybody all the time, and a host of one's own that
        attacks is taken.

        Args:
            probabilities: (n,), calibrated.
            own: (n,), the source is one of the network's own hosts.
        """
        pieces = np.interp(probabilities, *_curve(self.medium, self.high))
        if np.count_nonzero(own) == len(own):
            return pieces
        return np.where(own, pieces, np.minimum(pieces, _FROM_OUTSIDE))


@lru_cache(64)
def _curve(medium: float, high: float | None) -> tuple[Float, Float]:
    """Probabilities, and the pieces of risk that they are."""
    if high is None:
        return np.array([0.0, medium, 1.0]), np.array([0.0, 0.40, _BELOW_HIGH])
    return np.array([0.0, medium, high, 1.0]), np.array([0.0, 0.40, 0.70, 0.89])


def wilson_lower_bound(share: float, count: float) -> float:
    """Lower end of Wilson's score interval of a share that was seen in `count` trials."""
    squared = _Z * _Z
    centre = share + squared / (2 * count)
    spread = _Z * math.sqrt(share * (1 - share) / count + squared / (4 * count * count))
    return (centre - spread) / (1 + squared / count)


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a table of thresholds.

    Attributes:
        right, wrong: weight of the true and of the false alarms at or above the score, in units of all that is
            malicious.
        alarms: how many rows of the held-out captures were alarmed.
        operating: the training chose it as the score from which a flow is alarmed.
    """

    score: float
    right: float
    wrong: float
    alarms: float
    operating: bool = False

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> _Row:
        score = _probability(row.get("score"), "thresholds.score")
        right = _probability(row.get("tpr"), "thresholds.tpr")
        precision = _probability(row.get("precision"), "thresholds.precision") if right else 1.0
        alarms = row.get("alarms", 0)
        if isinstance(alarms, bool) or not isinstance(alarms, int | float) or not 0 <= alarms < 2**53:
            raise ModelRejectedError(f"thresholds.alarms: {alarms!r}; expected a number of alarms")
        # Where alarms are wrong throughout, precision and rate say nothing of how many there are; a precision of 0 is
        # held for one wrong alarm a right one at least.
        return cls(
            score,
            right,
            right * (1 - precision) / precision if precision else 1.0,
            float(alarms),
            bool(row.get("operating_point")),
        )

    def band(self, above: _Row) -> tuple[float, float]:
        """Alarms from this score up to another's, and their precision."""
        right, wrong = max(self.right - above.right, 0.0), max(self.wrong - above.wrong, 0.0)
        return self.alarms - above.alarms, right / (right + wrong) if right + wrong else 0.0


def _column(manifest: Mapping[str, Any], name: str) -> Float:
    try:
        column = np.asarray(manifest.get(name, ()), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ModelRejectedError(f"calibration.{name}: {error}; expected numbers") from error
    if column.ndim != 1 or not np.isfinite(column).all():
        raise ModelRejectedError(f"calibration.{name}: shape {column.shape}; expected a list of finite numbers")
    return column


def _probability(value: Any, name: str) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ModelRejectedError(f"{name}: {value!r}; expected a probability")
    return float(value)
