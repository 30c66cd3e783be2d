"""Flows that come again: they change nothing and are answered as they were.

A flow is known by its sensor, its flow id, its addresses and its start, so a sensor that uses an identity for another
flow does not hide that one. Flows without a flow id cannot be known again. Memory is bounded by construction: a table
of a fixed number of flows holds level, score, model and contributing detectors; evidence, which is words, is kept of
fewer flows, those that it was told of. Both forget what came longest ago: a flow that comes again after that is a new
flow, and evidence that is no longer kept is said to be left out. "Ago" is by the service's clock, since it is
deliveries that are repeated.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection import repeat_kernels as kernels
from securenet_detection.behaviours.interface import Usage
from securenet_detection.models.interface import ModelReference
from securenet_detection.threats import Evidence, Skipped
from securenet_flows.batch import Dictionary, FlowBatch

Int64 = NDArray[np.int64]

#: Bits of an answer: level, number of the scorer, and one for each detector that contributed.
_LEVEL_BITS: Final = 3
_SCORER_BITS: Final = 13
_DETECTORS_AT: Final = _LEVEL_BITS + _SCORER_BITS
_MOST_DETECTORS: Final = 63 - _DETECTORS_AT
_MOST_SCORERS: Final = 1 << _SCORER_BITS

#: What scored: a model, or why none did.
Scorer = ModelReference | Skipped


@dataclass(frozen=True, slots=True, eq=False)
class Recalled:
    """Answers of rows that came in earlier batches.

    Attributes:
        keys: int64 (n,), identities.
        threat_level: uint8 (n,).
        score: float64 (n,).
        scorers: what scored each row.
        contributed: by detector, boolean (n,).
    """

    keys: Int64
    threat_level: NDArray[np.uint8]
    score: NDArray[np.float64]
    scorers: tuple[Scorer, ...]
    contributed: dict[str, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, eq=False)
class Sorted:
    """Rows of a batch by whether they came before.

    Attributes:
        keys: int64 (n,), identities, 0 where a row has none.
        first: int64 (n,), the row of this batch that came first with the row's identity.
        fresh: int64 (k,), rows that came for the first time.
        old: int64 (n − …,), rows that came in an earlier batch.
        recalled: their answers.
    """

    keys: Int64
    first: Int64
    fresh: Int64
    old: Int64
    recalled: Recalled


class Repeats:
    """Memory of one state's answers.

    Args:
        flows: how many are remembered, a power of two of at least 8.
        details: of how many the evidence is.
        seconds: how long.
        seed: keys the hashes.
        clock: seconds that only rise.
    """

    def __init__(self, *, flows: int, details: int, seconds: float, seed: int, clock: Callable[[], float]) -> None:
        self._table = np.zeros((flows, kernels.WIDTH), np.int64)
        self._details = details
        self._keep_ns = int(seconds * 1e9)
        self._seed = seed
        self._clock = clock
        self._evidence: OrderedDict[int, tuple[Evidence, ...]] = OrderedDict()
        self._scorers: list[Scorer] = []
        self._detectors: list[str] = []
        self._entries = 0
        self._evictions = 0

    def keys(self, batch: FlowBatch) -> Int64 | None:
        """int64 (n,): identity of each row, 0 where it has none; None where no row has."""
        flow_ids = batch.text.get("flow_id")
        if flow_ids is None or not flow_ids.values:
            return None
        sensors = batch.text.get("sensor_id")
        return np.asarray(
            kernels.identities(
                _hashes(flow_ids),
                np.zeros(len(batch), np.int64) if sensors is None else _distinct_hashes(sensors),
                np.ascontiguousarray(batch.src_addr).view(np.uint64),
                np.ascontiguousarray(batch.dst_addr).view(np.uint64),
                np.ascontiguousarray(batch.start_time_ns),
                self._seed,
            )
        )

    def sort(self, keys: Int64) -> Sorted | None:
        """Rows by whether they came before; None where all are new."""
        first, slots = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
        scratch = np.zeros(1 << max(2 * len(keys) - 1, 1).bit_length(), np.int64)
        if not kernels.find(self._table, keys, self._oldest(), scratch, first, slots):
            return None
        old = np.flatnonzero(slots >= 0)
        fresh = np.flatnonzero((slots < 0) & (first == np.arange(len(keys))))
        return Sorted(keys, first, fresh, old, self._recall(keys[old], self._table[slots[old]]))

    def _recall(self, keys: Int64, rows: Int64) -> Recalled:
        answers = rows[:, kernels.ANSWER]
        scorers = (answers >> _LEVEL_BITS) & (_MOST_SCORERS - 1)
        contributed = {name: (answers >> (_DETECTORS_AT + bit)) & 1 == 1 for bit, name in enumerate(self._detectors)}
        return Recalled(
            keys=keys,
            threat_level=(answers & ((1 << _LEVEL_BITS) - 1)).astype(np.uint8),
            score=np.ascontiguousarray(rows[:, kernels.SCORE]).view(np.float64),
            scorers=tuple(self._scorers[scorer] for scorer in scorers.tolist()),
            contributed={name: rows for name, rows in contributed.items() if rows.any()},
        )

    def keep(
        self,
        keys: Int64,
        threat_level: NDArray[np.uint8],
        score: NDArray[np.float64],
        scorer: Scorer,
        contributed: dict[str, NDArray[np.bool_]],
    ) -> None:
        """Remembers the answers of rows that came for the first time."""
        answers = threat_level.astype(np.int64) | (self._number(scorer) << _LEVEL_BITS)
        for name, rows in contributed.items():
            if name not in self._detectors:
                self._detectors.append(name)
            bit = min(self._detectors.index(name), _MOST_DETECTORS - 1)
            answers |= rows.astype(np.int64) << (_DETECTORS_AT + bit)
        bits = np.ascontiguousarray(score, np.float64).view(np.int64)
        filled, evicted = kernels.keep(self._table, keys, self._now(), self._oldest(), bits, answers)
        self._entries += filled
        self._evictions += evicted

    def _number(self, scorer: Scorer) -> int:
        if self._scorers and self._scorers[-1] == scorer:
            return len(self._scorers) - 1
        if scorer not in self._scorers:
            if len(self._scorers) == _MOST_SCORERS:
                # Thousands of promotions: what the oldest flows were scored by is not worth more memory.
                self._table[:] = 0
                self._scorers.clear()
                self._entries = 0
            self._scorers.append(scorer)
        return self._scorers.index(scorer)

    def tell(self, key: int, evidence: tuple[Evidence, ...]) -> None:
        """Remembers the evidence that a caller was told of a flow."""
        if key and evidence:
            self._evidence[key] = evidence
            self._evidence.move_to_end(key)
            if len(self._evidence) > self._details:
                self._evidence.popitem(last=False)

    def told(self, key: int) -> tuple[Evidence, ...] | None:
        """The evidence that a caller was told of a flow, None where none is kept."""
        return self._evidence.get(key)

    def usage(self) -> Usage:
        """State held now; evidence is not counted in bytes."""
        return Usage(self._entries, len(self._table), self._evictions, self._table.nbytes)

    def _now(self) -> int:
        return int(self._clock() * 1e9)

    def _oldest(self) -> int:
        return self._now() - self._keep_ns


def _hashes(texts: Dictionary) -> Int64:
    """int64 (n,): a hash of each row's text, 0 where it has none; no more values are looked at than there are rows."""
    codes = texts.codes
    if not len(codes):
        return np.zeros(0, np.int64)
    if texts.in_order:
        return np.fromiter(map(hash, texts.values), np.int64, len(codes))
    picked: Sequence[str] = (
        itemgetter(*codes.tolist())(texts.values) if len(codes) > 1 else (texts.values[int(codes[0])],)
    )
    found = np.fromiter(map(hash, picked), np.int64, len(codes))
    found[codes < 0] = 0
    return found


def _distinct_hashes(texts: Dictionary) -> Int64:
    """The same for columns of few values, each of which is looked at once."""
    if len(texts.values) >= len(texts.codes):
        return _hashes(texts)
    lookup = np.zeros(len(texts.values) + 1, np.int64)
    lookup[:-1] = np.fromiter(map(hash, texts.values), np.int64, len(texts.values))
    return lookup[texts.codes]
