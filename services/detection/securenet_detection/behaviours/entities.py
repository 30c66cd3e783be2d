"""A table of entities for the loops of :mod:`.entity_kernels`, with samples of flows that made them stand out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import entity_kernels as loops
from securenet_detection.behaviours import tables
from securenet_detection.behaviours.episodes import Samples
from securenet_detection.behaviours.interface import Observed, Sample, Usage
from securenet_detection.behaviours.observation import Observation

Int64 = NDArray[np.int64]
Float = NDArray[np.float64]

#: Confidence of evidence that stands exactly at its threshold; twice the threshold halves the doubt, and so on.
_AT_THRESHOLD = 0.9


class Entities:
    """Bounded memory of entities.

    Args:
        slots: how many are remembered, a power of two.
        width: columns of each.
        peers: which side of a flow is the entity's other one, `dst` or `src`.
    """

    def __init__(self, slots: int, width: int, *, peers: str = "dst") -> None:
        self.index = np.zeros((slots, 2), np.int64)
        self.rows = np.zeros((slots, width), np.int64)
        self.counters = np.zeros(tables.COUNTERS, np.int64)
        self._samples = Samples()
        self._peers = peers

    @property
    def table(self) -> tuple[Int64, Int64, Int64]:
        """What the loops take: index, rows and counters."""
        return self.index, self.rows, self.counters

    @property
    def silent(self) -> bool:
        """Whether nobody was reported so far: then rows of which none counts have no evidence, and change nothing."""
        return self.counters.item(tables.REPORTS) == 0

    def keep(self, seen: Observation, sampled: Int64) -> None:
        """Keeps sampled rows, int64 (m, 2), as the loop gave them."""
        if len(sampled):
            batch = seen.batch
            peers = batch.src_addr if self._peers == "src" else batch.dst_addr
            self._samples.add(seen, sampled, int(self.counters[tables.POSITIONS]), peers)

    def samples(self, position: int) -> tuple[Sample, ...]:
        """At most ten flows of an episode, up to the sample at a position."""
        return self._samples.chain(position)

    def usage(self) -> Usage:
        """State held now."""
        return Usage(
            entries=int(self.counters[tables.ENTRIES]),
            capacity=len(self.index),
            evictions=int(self.counters[tables.EVICTIONS]),
            bytes=self.index.nbytes + self.rows.nbytes,
        )


def outputs(seen: Observation) -> tuple[Int64, Int64]:
    """What a loop fills: columns of evidence, to be claimed where it says anything, and rows that it sampled."""
    return seen.blank(loops.OUT), np.empty((len(seen), 2), np.int64)


def within(amounts: Int64, seen: Observation, window_seconds: float) -> Int64:
    """What of the amounts of flows falls into a window: of flows longer than it, a share."""
    if seen.longest_ns / (window_seconds * 1e9) <= 1.0:
        return amounts
    longer = seen.batch.number("duration_ns").astype(np.float64) / (window_seconds * 1e9)
    return (amounts / np.maximum(longer, 1.0)).astype(np.int64)


def evidence(out: Int64, *, unit: float = 1.0, technique: NDArray[np.uint8]) -> Observed:
    """Columns of evidence from a loop's output.

    Confidence is 1 − 0.1 · threshold / measured: nine in ten at the threshold, and the doubt halves as the measure
    doubles.

    Args:
        out: int64 (n, OUT), what the loop gave.
        unit: what a measured 1 is in the detector's unit.
        technique: uint8 (n,), position in the definition's techniques.
    """
    stands = out[:, 0] > 0
    measured: Float = out[:, 0].astype(np.float64) * unit
    thresholds: Float = out[:, 5].astype(np.float64) * unit
    doubt = (1 - _AT_THRESHOLD) * np.minimum(thresholds / np.maximum(measured, 1e-9), 1.0)
    return Observed(
        level=out[:, 6].astype(np.uint8),
        confidence=np.where(stands, 1.0 - doubt, 0.0),
        measured=measured,
        threshold=thresholds,
        technique=technique,
        event=out[:, 1].astype(np.uint8),
        sample=out[:, 2],
        flows=out[:, 3],
        first_seen_ns=out[:, 4],
        certain=out[:, 7],
        idle_ns=out[:, 8],
    )
