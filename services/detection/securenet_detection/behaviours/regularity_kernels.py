"""Compiled measures of how regular a pair's arrivals are: their gaps, their sizes, and their hours."""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np

from securenet_detection.compiled import jit

#: Hours that are looked back on.
HOURS: Final = 24

_Array = Any


@numba.njit(nogil=True)
def sort_first(values: _Array, n: int) -> None:
    """Sorts the first n values in place, a ring at most; numba's own sort takes seconds to compile."""
    for k in range(1, n):
        value = values[k]
        j = k - 1
        while j >= 0 and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value


@numba.njit(nogil=True)
def _quantile(values: _Array, n: int, share: float) -> Any:
    at = share * (n - 1)
    low = int(at)
    part = at - low
    return values[low] * (1 - part) + values[min(low + 1, n - 1)] * part


@numba.njit(nogil=True)
def shape(values: _Array, n: int, spare: _Array, narrow: float) -> Any:
    """Bowley's skewness without sign, median, and median absolute deviation of n sorted values; a spread of less than
    `narrow` has no skewness that would mean anything."""
    low, median, high = _quantile(values, n, 0.25), _quantile(values, n, 0.5), _quantile(values, n, 0.75)
    spread = high - low
    skew = 0.0
    if spread > 0 and spread >= narrow:
        skew = abs((low + high - 2 * median) / spread)
    for k in range(n):
        spare[k] = abs(values[k] - median)
    sort_first(spare, n)
    return skew, median, _quantile(spare, n, 0.5)


@numba.njit(nogil=True)
def regularity_of(gaps: _Array, n: int, spare: _Array) -> Any:
    """Regularity of one series of n gaps, as :func:`regularity` says; sorts them in place."""
    sort_first(gaps, n)
    skew, median, deviation = shape(gaps, n, spare, 0.2 * _quantile(gaps, n, 0.5))
    if median <= 0:
        return 0.0
    return 0.25 * (1 - skew) + 0.75 * max(0.0, (median - deviation) / median)


@jit
def regularity(gaps: _Array) -> _Array:
    """Regularity, float64 (m,), 0 to 1, of m series of gaps, float64 (m, n); sorts them in place.

    A quarter Bowley's skewness, three quarters median absolute deviation over the median. RITA weighs both alike, but
    in few gaps the skewness is mostly noise, which hides jitter from a test against chance.
    """
    out = np.empty(len(gaps))
    spare = np.empty(gaps.shape[1])
    for i in range(len(gaps)):
        out[i] = regularity_of(gaps[i], gaps.shape[1], spare)
    return out


@numba.njit(nogil=True)
def percentile(null: _Array, shares: _Array, counts: _Array, n: int, measured: float) -> Any:
    """Share of chance series of n arrivals that are less regular; of fewer arrivals where n is not tabulated, which
    asks for more."""
    row = 0
    while row + 1 < len(counts) and counts[row + 1] <= n:
        row += 1
    if measured < null[row, 0]:
        return 0.0
    for k in range(len(shares) - 1):
        if measured < null[row, k + 1]:
            width = null[row, k + 1] - null[row, k]
            part = (measured - null[row, k]) / width if width > 0 else 0.0
            return shares[k] + part * (shares[k + 1] - shares[k])
    return shares[len(shares) - 1]


@numba.njit(nogil=True)
def flatness(bars: _Array, n: int) -> Any:
    """1 less the coefficient of variation, at least 0."""
    mean = 0.0
    for k in range(n):
        mean += bars[k] / n
    if mean <= 0:
        return 0.0
    variance = 0.0
    for k in range(n):
        variance += (bars[k] - mean) ** 2 / n
    return max(0.0, 1.0 - math.sqrt(variance) / mean)


@numba.njit(nogil=True)
def two_modes(bars: _Array, n: int) -> Any:
    """Share of the hours with arrivals, less one outlier, that lie in the two commonest of twenty classes of height."""
    classes = np.zeros(21, np.int64)
    highest = 0.0
    hours = 0
    for k in range(n):
        highest = max(highest, bars[k])
        hours += bars[k] > 0
    if hours < HOURS // 2 - 1:
        return 0.0
    for k in range(n):
        if bars[k] > 0:
            classes[int(bars[k] / highest * 20)] += 1
    sort_first(classes, len(classes))
    return min(1.0, (classes[20] + classes[19]) / max(hours - 1, 1))
