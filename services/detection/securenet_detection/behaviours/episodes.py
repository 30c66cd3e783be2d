"""The table of a detector: entities with their windows, and samples of the flows that made them stand out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import kernels, tables
from securenet_detection.behaviours.interface import Observed, Sample, Usage
from securenet_detection.behaviours.observation import Observation, address_text

Int64 = NDArray[np.int64]

#: Confidence of evidence that stands exactly at its threshold; twice the threshold halves the doubt, and so on.
_AT_THRESHOLD: Final = 0.9

#: Columns that the loops of :mod:`.kernels` fill.
_OUT: Final = 7

#: Samples kept for a whole table before the oldest are overwritten; batches that are larger need not keep theirs.
SAMPLES_KEPT: Final = 1 << 14

#: Chains of samples that are kept as objects.
_CHAINS_KEPT: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A ring of flows that were sampled, each linked to the sample before it of the same episode.

    The evidence of a batch can be put into words as long as no more than the ring holds were sampled after it.
    """

    position: Int64 = field(default_factory=lambda: np.zeros(SAMPLES_KEPT, np.int64))
    previous: Int64 = field(default_factory=lambda: np.zeros(SAMPLES_KEPT, np.int64))
    flow_id: NDArray[np.object_] = field(default_factory=lambda: np.full(SAMPLES_KEPT, None, np.object_))
    peer: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((SAMPLES_KEPT, 16), np.uint8))
    # Rows of one episode have the same chain, and thousands of them may be put into words one after the other.
    _chains: dict[int, tuple[Sample, ...]] = field(default_factory=dict)

    def add(self, seen: Observation, sampled: Int64, last: int, peers: NDArray[np.uint8] | None = None) -> None:
        """Keeps rows, int64 (m, 2): row and position of the sample before it; the last gets position `last`.

        `peers` is a column of addresses, uint8 (n, 16), in place of the destinations.
        """
        positions = np.arange(last - len(sampled) + 1, last + 1)[-SAMPLES_KEPT:]
        rows = sampled[-SAMPLES_KEPT:, 0]
        at = positions % SAMPLES_KEPT
        self.position[at] = positions
        self.previous[at] = sampled[-SAMPLES_KEPT:, 1]
        self.flow_id[at] = seen.flow_ids(rows)
        self.peer[at] = (seen.batch.dst_addr if peers is None else peers)[rows]

    def chain(self, position: int) -> tuple[Sample, ...]:
        """The sample at a position and those before it that are still kept, the first one first."""
        chain = self._chains.get(position)
        if chain is None:
            if len(self._chains) >= _CHAINS_KEPT:
                self._chains.clear()
            chain = self._chains[position] = self._follow(position)
        return chain

    def _follow(self, position: int) -> tuple[Sample, ...]:
        found: list[Sample] = []
        while position > 0:
            at = position % SAMPLES_KEPT
            if self.position[at] != position:
                break
            found.append(Sample(self.flow_id[at], address_text(self.peer[at].tobytes())))
            position = int(self.previous[at])
        return tuple(reversed(found))


class Episodes:
    """Bounded memory of entities; what a detector does with it stands in the detector.

    Args:
        entities: how many are remembered, a power of two.
        members: how many members of their sets, a power of two; 0 for detectors that count without distinguishing.
        window_ns: length of the sliding window, nanoseconds.
    """

    def __init__(self, *, entities: int, members: int, window_ns: int) -> None:
        self.window_ns = window_ns
        self.index = np.zeros((entities, 2), np.int64)
        self.rows = np.zeros((entities, kernels.WIDTH), np.int64)
        self.counters = np.zeros(tables.COUNTERS, np.int64)
        self.members = np.zeros((members, 4), np.int64)
        self.member_counters = np.zeros(tables.COUNTERS, np.int64)
        self._samples = Samples()

    @property
    def silent(self) -> bool:
        """Whether nobody was reported so far, which for most detectors is the rule: then rows of which none counts
        have no evidence, and change nothing."""
        return self.counters.item(tables.REPORTS) == 0

    def count(
        self,
        seen: Observation,
        *,
        keys: Int64,
        members: Int64,
        weights: Int64,
        thresholds: Int64,
        graded: NDArray[np.bool_] | None = None,
    ) -> Int64 | None:
        """Counts rows in their entities' windows: :func:`.kernels.count_in_window`; None where no row has evidence."""
        if self.silent and not np.count_nonzero(weights):
            return None
        out = seen.blank(_OUT)
        sampled = np.empty((len(seen), 2), np.int64)
        taken, standing = kernels.count_in_window(
            self.index, self.rows, self.counters, self.members, self.member_counters, keys, members, weights,
            np.zeros(len(seen), np.bool_) if graded is None else graded, thresholds, seen.start_time_ns,
            self.window_ns, seen.ordinal, seen.learn, out, sampled,
        )  # fmt: skip
        return self._keep(seen, sampled[:taken], out, standing)

    def walk(
        self,
        seen: Observation,
        *,
        attempts: NDArray[np.bool_],
        steps: Int64,
        members: Int64 | None = None,
        failed: NDArray[np.bool_] | None = None,
    ) -> Int64 | None:
        """Walks over a source's first contacts: :func:`.kernels.walk_sequentially`; None where no row has evidence.

        Contacts are with destinations, and fail as connections do, unless `members` and `failed` say otherwise.
        """
        out = seen.blank(_OUT)
        sampled = np.empty((len(seen), 2), np.int64)
        taken, standing = kernels.walk_sequentially(
            self.index, self.rows, self.counters, self.members, self.member_counters, seen.src,
            seen.dst if members is None else members, attempts, seen.failed if failed is None else failed,
            seen.start_time_ns, steps, self.window_ns, seen.ordinal, seen.learn, out, sampled,
        )  # fmt: skip
        return self._keep(seen, sampled[:taken], out, standing)

    def _keep(self, seen: Observation, sampled: Int64, out: Int64, standing: int) -> Int64 | None:
        if len(sampled):
            self._samples.add(seen, sampled, int(self.counters[tables.POSITIONS]))
        if not standing:
            return None
        seen.claim(out)
        return out

    def samples(self, position: int) -> tuple[Sample, ...]:
        """At most ten flows of an episode, up to the sample at a position."""
        return self._samples.chain(position)

    def usage(self) -> Usage:
        """State held now, members included."""
        return Usage(
            entries=int(self.counters[tables.ENTRIES] + self.member_counters[tables.ENTRIES]),
            capacity=len(self.index) + len(self.members),
            evictions=int(self.counters[tables.EVICTIONS] + self.member_counters[tables.EVICTIONS]),
            bytes=self.index.nbytes + self.rows.nbytes + self.members.nbytes,
        )


def evidence(
    out: Int64,
    *,
    measured: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    level: NDArray[np.uint8],
    technique: NDArray[np.uint8],
    flows: Int64 | None = None,
) -> Observed:
    """Columns of evidence from a kernel's output.

    Confidence is 1 − 0.1 · threshold / measured: nine in ten at the threshold, and the doubt halves as the measure
    doubles.

    Args:
        out: what the kernel gave.
        measured, thresholds: float64 (n,), in the detector's unit.
        level: uint8 (n,), level that the evidence has where there is any.
        technique: uint8 (n,), position in the definition's techniques.
        flows: int64 (n,), flows known of the episode, where that may be more than the kernel counted since it began.
    """
    stands = out[:, 0] > 0
    doubt = (1 - _AT_THRESHOLD) * np.minimum(thresholds / np.maximum(measured, 1e-9), 1.0)
    return Observed(
        level=np.where(stands, level, 0).astype(np.uint8),
        confidence=np.where(stands, 1.0 - doubt, 0.0),
        measured=np.where(stands, measured, 0.0),
        threshold=thresholds,
        technique=technique,
        event=out[:, 1].astype(np.uint8),
        sample=out[:, 2],
        flows=out[:, 3] if flows is None else np.where(stands, np.maximum(out[:, 3], flows), 0),
        first_seen_ns=out[:, 4],
        certain=out[:, 6],
        idle_ns=out[:, 5],
    )
