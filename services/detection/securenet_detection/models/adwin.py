"""Adaptive windowing: notices when the mean of a series has changed.

Source: A. Bifet, R. Gavaldà, "Learning from Time-Changing Data with Adaptive Windowing", SIAM International Conference
on Data Mining (2007): ADWIN2, with its exponential histogram and the bound of section 3.1 that uses the variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

#: Buckets of one size that are kept before two of them are merged (M in the paper).
_SAME_SIZE: Final = 5

#: Values after which the window is looked at, and the fewest on either side of a cut.
_EVERY: Final = 16
_FEWEST: Final = 8

#: Sizes of buckets: the window holds at most 5 · 2³⁰ values; what is older is forgotten.
_SIZES: Final = 30


@dataclass(frozen=True, slots=True)
class Change:
    """The mean was one and is another."""

    before: float
    after: float


class Adwin:
    """A window over values from 0 to 1 that shrinks when its older part has another mean than its newer one.

    Memory is bounded: at most 150 buckets.

    Args:
        confidence: δ, the greatest probability of a false alarm at a look.
    """

    def __init__(self, confidence: float = 0.002) -> None:
        self._confidence = confidence
        #: Rows of buckets (sum, sum of squared deviations), the oldest first in each; row i holds 2^i values a bucket.
        self._rows: list[list[tuple[float, float]]] = []
        self._values = 0

    def __len__(self) -> int:
        return sum(len(row) << size for size, row in enumerate(self._rows))

    @property
    def mean(self) -> float:
        """Mean of the window; 0 of an empty one."""
        return sum(total for row in self._rows for total, _ in row) / max(len(self), 1)

    def add(self, value: float) -> Change | None:
        """Takes a value in; answers the change where one shows."""
        if not self._rows:
            self._rows.append([])
        self._rows[0].append((value, 0.0))
        self._compress()
        self._values += 1
        return self._look() if self._values % _EVERY == 0 else None

    def _compress(self) -> None:
        for size, row in enumerate(self._rows):
            if len(row) <= _SAME_SIZE:
                return
            (first, spread), (second, other) = row[0], row[1]
            del row[:2]
            if size + 1 == _SIZES:
                return
            if size + 1 == len(self._rows):
                self._rows.append([])
            apart = (first - second) ** 2 / (2 << size)
            self._rows[size + 1].append((first + second, spread + other + apart))

    def _look(self) -> Change | None:
        change: Change | None = None
        while (found := self._cut()) is not None:
            change = change or found
            # The oldest bucket goes, and the window is looked at again.
            oldest = next(row for row in reversed(self._rows) if row)
            oldest.pop(0)
        if change is None:
            return None
        return Change(change.before, self.mean)

    def _cut(self) -> Change | None:
        values, mean = len(self), self.mean
        if values < 2 * _FEWEST:
            return None
        variance = sum(
            spread + (1 << size) * (total / (1 << size) - mean) ** 2
            for size, row in enumerate(self._rows)
            for total, spread in row
        )
        log = math.log(2 * math.log(values) / self._confidence)
        older, older_sum, whole = 0, 0.0, values * mean
        for size in range(len(self._rows) - 1, -1, -1):
            for total, _ in self._rows[size]:
                older += 1 << size
                older_sum += total
                newer = values - older
                if older < _FEWEST or newer < _FEWEST:
                    continue
                harmonic = 1 / (1 / older + 1 / newer)
                bound = math.sqrt(2 / harmonic * variance / values * log) + 2 / (3 * harmonic) * log
                before, after = older_sum / older, (whole - older_sum) / newer
                if abs(before - after) > bound:
                    return Change(before, after)
        return None
