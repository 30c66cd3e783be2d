"""From a model's raw output to a probability, and from a probability to what it may say alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.models.interface import ModelRejectedError

Float = NDArray[np.float64]

#: Calibrated precision from which a model may say HIGH without other evidence.
_HIGH_PRECISION: Final = 0.99

#: From here on malicious is more likely than not.
_MEDIUM: Final = 0.5

_POINTS: Final = 100_000


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
    def read(cls, table: Any) -> OperatingPoints:
        """Reads `[{"score": p, "precision": q, "tpr": …}, …]`, rising, as measured on held-out captures.

        The model may say HIGH from the lowest score from which precision stays at 0.99 or above, if there is one.

        Raises:
            ModelRejectedError: it is no such table.
        """
        if not isinstance(table, list) or len(table) > _POINTS or not all(isinstance(row, Mapping) for row in table):
            raise ModelRejectedError(f"thresholds: {type(table).__name__}; expected a list of at most {_POINTS} rows")
        high: float | None = None
        for row in reversed(table):
            score = _probability(row.get("score"), "thresholds.score")
            if not _probability(row.get("tpr"), "thresholds.tpr"):
                continue
            if _probability(row.get("precision"), "thresholds.precision") < _HIGH_PRECISION:
                break
            high = score
        return cls(_MEDIUM, None if high is None else max(high, _MEDIUM))

    def pieces(self, probabilities: Float) -> Float:
        """The model's piece of risk, float64 (n,): 0.40 (MEDIUM) at its medium point, 0.70 (HIGH) at its high one.

        Rising with the probability; below 0.70 throughout for a model that may not say HIGH.
        """
        if self.high is None:
            return np.interp(probabilities, [0.0, self.medium, 1.0], [0.0, 0.40, 0.69])
        return np.interp(probabilities, [0.0, self.medium, self.high, 1.0], [0.0, 0.40, 0.70, 0.89])


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
