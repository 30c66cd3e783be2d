"""Whether what is scored still looks like what the model was trained on. It is said, and nothing is retrained for it.

Two looks: the population stability index of each feature over a UTC day of the service's clock, against the rows of the
training; and ADWIN over the share of flows at MEDIUM or above. Both see the tenants' own traffic, not stored captures
that are analysed in a state of their own.

The index is Σ (a − e) ln (a / e) over bins with the shares a now and e in the training; above 0.25 is taken for a shift
(B. Yurdakul, J. Naranjo, "Statistical properties of the population stability index", Journal of Risk Model Validation
14 (2020), on the rule of thumb).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.models.adwin import Adwin
from securenet_detection.models.distribution import FeatureSpread
from securenet_detection.models.interface import DriftSignal
from securenet_detection.models.serving import ServingModel
from securenet_detection.threats import ThreatLevel

#: An index above it is a shift.
PSI_LIMIT: Final = 0.25

#: Sampled rows of a day below which no index is told: chance alone would give one.
FEWEST_ROWS: Final = 1_000

#: Rows that are sampled of a batch at most, and rows that are binned at a stretch.
_SAMPLE: Final = 256

_MEDIUM: Final = int(ThreatLevel.MEDIUM)

#: Flows that make one value of the alert rate.
_BLOCK: Final = 256

#: Values of the alert rate within which a further change belongs to the one before.
_ONE_CHANGE: Final = 64

#: Least share of a bin, so that an empty one does not count without end.
_FLOOR: Final = 1e-4

_DAY_NS: Final = 86_400 * 10**9

#: Signals that are kept to be told, and to be looked at.
_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class DriftReport:
    """How things stand now.

    Attributes:
        day_ns: when the day began.
        rows: sampled of it.
        indices: by feature, the farthest first; none below :data:`FEWEST_ROWS`.
        alert_rate: mean share of flows at MEDIUM or above since it changed last, 0–1.
        signals: of this model, the latest first.
    """

    day_ns: int
    rows: int
    indices: tuple[tuple[str, float], ...]
    alert_rate: float
    signals: tuple[DriftSignal, ...]


class DriftWatch:
    """Watches the traffic of one process. For the thread that scores; the bound of its memory is some hundred kB.

    Args:
        names: of the features.
        clock_ns: nanoseconds since the epoch.
    """

    def __init__(self, names: Sequence[str], clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._names = tuple(names)
        self._clock_ns = clock_ns
        self._buffer = np.empty((_SAMPLE, len(self._names)), np.float32)
        #: Signals that nobody has told yet; the oldest give way.
        self.untold: deque[DriftSignal] = deque(maxlen=_KEPT)
        #: How many there were since the start.
        self.seen = 0
        self._begin(None)

    def _begin(self, model: ServingModel | None) -> None:
        self._model = model
        self._spreads: tuple[FeatureSpread, ...] = () if model is None else model.spread
        self._adwin = Adwin()
        self._flows = self._alarms = 0
        self._quiet = _ONE_CHANGE
        self._signals: deque[DriftSignal] = deque(maxlen=_KEPT)
        self._open(self._today())

    def _open(self, day_ns: int) -> None:
        self._day_ns = day_ns
        self._filled = self._rows = 0
        self._counts = [np.zeros(len(spread.shares), np.int64) for spread in self._spreads]

    def _today(self) -> int:
        now = self._clock_ns()
        return now - now % _DAY_NS

    def observe(self, model: ServingModel, matrix: NDArray[np.float32], levels: NDArray[np.uint8]) -> None:
        """Takes a batch in.

        Args:
            model: that scored it.
            matrix: float32 (n, columns), its features.
            levels: uint8 (n,), ThreatLevel of its verdicts.
        """
        if model is not self._model:
            self._begin(model)
        today = self._today()
        if today != self._day_ns:
            self._close()
            self._open(today)
        self._count_alarms(len(levels), int(np.count_nonzero(levels >= _MEDIUM)))
        if self._spreads:
            self._sample(matrix)

    def _count_alarms(self, flows: int, alarms: int) -> None:
        self._flows += flows
        self._alarms += alarms
        if self._flows < _BLOCK:
            return
        change = self._adwin.add(self._alarms / self._flows)
        self._flows = self._alarms = 0
        self._quiet += 1
        if change is None:
            return
        # The window gives way to a change bit by bit; that is one change.
        if self._quiet > _ONE_CHANGE:
            self._signal("alert-rate", "", change.after, change.before)
        self._quiet = 0

    def _sample(self, matrix: NDArray[np.float32]) -> None:
        if self._filled + len(matrix) < _SAMPLE:
            # A few rows, as most calls bring.
            self._buffer[self._filled : self._filled + len(matrix)] = matrix
            self._filled += len(matrix)
            return
        step = -(-len(matrix) // _SAMPLE)
        chosen = matrix[:: max(step, 1)]
        while len(chosen):
            room = _SAMPLE - self._filled
            piece, chosen = chosen[:room], chosen[room:]
            self._buffer[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            if self._filled == _SAMPLE:
                self._bin()

    def _bin(self) -> None:
        columns = self._buffer[: self._filled].T.astype(np.float64)
        unknown = np.count_nonzero(np.isnan(columns), axis=1).tolist()
        for spread, counts, column, missing in zip(self._spreads, self._counts, columns, unknown, strict=True):
            found = np.bincount(np.searchsorted(spread.edges, column, side="left"), minlength=len(counts))
            # NaN sorts behind every edge, among what lies above the last one.
            found[-2] -= missing
            found[-1] = missing
            np.add(counts, found, out=counts)
        self._rows += self._filled
        self._filled = 0

    def _close(self) -> None:
        """Judges the day that is over."""
        if self._filled:
            self._bin()
        for name, index in self._indices():
            if index > PSI_LIMIT:
                self._signal("feature", name, index, PSI_LIMIT)

    def _signal(self, kind: str, feature: str, measured: float, limit: float) -> None:
        name = "" if self._model is None else self._model.reference.name
        signal = DriftSignal(kind, feature, measured, limit, self._clock_ns(), name)
        self._signals.appendleft(signal)
        self.untold.append(signal)
        self.seen += 1

    def _indices(self) -> list[tuple[str, float]]:
        if self._rows < FEWEST_ROWS:
            return []
        found = [
            (name, stability_index(counts / counts.sum(), spread.shares))
            for name, spread, counts in zip(self._names, self._spreads, self._counts, strict=True)
        ]
        return sorted(found, key=lambda pair: -pair[1])

    def report(self, model: ServingModel | None) -> DriftReport | None:
        """How things stand with a model; None where it is not the one that was watched last."""
        if model is None or model is not self._model:
            return None
        return DriftReport(self._day_ns, self._rows, tuple(self._indices()), self._adwin.mean, tuple(self._signals))


def stability_index(actual: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Population stability index of two lists of shares; each share counts as 0.0001 at least."""
    a, e = np.maximum(actual, _FLOOR), np.maximum(expected, _FLOOR)
    return float(np.sum((a - e) * np.log(a / e)))
