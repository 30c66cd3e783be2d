"""What the engine answers where some rows of a batch came before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from securenet_detection.models.detector import MODEL
from securenet_detection.models.interface import ModelReference
from securenet_detection.repeats import Repeats, Sorted
from securenet_detection.threats import Evidence, Skipped, ThreatLevel
from securenet_detection.verdicts import BatchVerdicts
from securenet_flows.batch import FlowBatch


class MixedVerdicts:
    """Verdicts of a batch of which some rows came before: those are answered as they were.

    Args:
        batch: the whole batch.
        fresh: verdicts of the rows that came for the first time.
        parts: which those are, and what the others were answered.
        repeats: where told evidence is remembered.
        skipped, partly: as in :class:`BatchVerdicts`, of the detectors that are not the model, for the whole batch.
    """

    def __init__(
        self,
        batch: FlowBatch,
        fresh: BatchVerdicts,
        parts: Sorted,
        repeats: Repeats,
        *,
        skipped: tuple[Skipped, ...],
        partly: Mapping[str, tuple[str, NDArray[np.bool_]]],
    ) -> None:
        rows = len(batch)
        self._batch = batch
        self._fresh = fresh
        self._parts = parts
        self._skipped = skipped
        self._partly = partly
        self._repeats = repeats
        #: Position of each row among the fresh ones and among the old ones, −1 where it is none.
        self._as_fresh = np.full(rows, -1, np.int64)
        self._as_old = np.full(rows, -1, np.int64)
        self._as_fresh[parts.fresh] = np.arange(len(parts.fresh))
        self._as_old[parts.old] = np.arange(len(parts.old))
        # A row that came twice in this batch is answered as its first.
        self._as_fresh = self._as_fresh[parts.first]
        self.threat_level = np.zeros(rows, np.uint8)
        self.score = np.zeros(rows)
        news = self._as_fresh >= 0
        self.threat_level[news] = fresh.threat_level[self._as_fresh[news]]
        self.score[news] = fresh.score[self._as_fresh[news]]
        self.threat_level[parts.old] = parts.recalled.threat_level
        self.score[parts.old] = parts.recalled.score
        self.sightings = tuple((int(parts.fresh[row]), sighting) for row, sighting in fresh.sightings)

    def __len__(self) -> int:
        return len(self.threat_level)

    @property
    def again(self) -> NDArray[np.int64]:
        """int64 (k,): rows that came before and are answered as they were."""
        return np.flatnonzero((self._as_old >= 0) | (self._parts.first != np.arange(len(self))))

    @property
    def model(self) -> ModelReference | None:
        """The latest model that scored a row, None if none did."""
        if self._fresh.model is not None:
            return self._fresh.model
        models = [scorer for scorer in self._parts.recalled.scorers if isinstance(scorer, ModelReference)]
        return models[-1] if models else None

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Detectors that judged no row of the batch."""
        if self.model is not None:
            return self._skipped
        return (*self._skipped, self._without_model(0)) if len(self) else self._skipped

    def _without_model(self, row: int) -> Skipped:
        scorer = self._scorer(row)
        return scorer if isinstance(scorer, Skipped) else Skipped(MODEL, "no model is served")

    def _scorer(self, row: int) -> ModelReference | Skipped | None:
        old = self._as_old[row]
        if old >= 0:
            return self._parts.recalled.scorers[int(old)]
        return self._fresh.scorer if len(self._fresh) else None

    def rows_at_or_above(self, level: ThreatLevel) -> list[int]:
        """Rows of at least this level."""
        return np.flatnonzero(self.threat_level >= level).tolist()

    def contributions(self) -> dict[str, NDArray[np.bool_]]:
        """By detector, boolean (n,): where it contributed to the score, whatever the level; only those that did."""
        found: dict[str, NDArray[np.bool_]] = {}
        news = self._as_fresh >= 0
        for name, rows in self._fresh.contributions().items():
            found[name] = np.zeros(len(self), np.bool_)
            found[name][news] = rows[self._as_fresh[news]]
        for name, rows in self._parts.recalled.contributed.items():
            found.setdefault(name, np.zeros(len(self), np.bool_))[self._parts.old] = rows
        return {name: rows for name, rows in found.items() if rows.any()}

    def flow_id(self, row: int) -> str:
        """Identity of the flow as it came; empty where it had none."""
        return self._batch.texts("flow_id")[row] or ""

    def evidence(self, row: int) -> tuple[Evidence, ...]:
        """Reasons for the verdict of a row, the gravest first."""
        if self._as_fresh[row] >= 0:
            return self._fresh.evidence(int(self._as_fresh[row]))
        return self._repeats.told(int(self._parts.keys[row])) or ()

    def has_evidence(self, row: int) -> bool:
        """Whether the row has any evidence that is known."""
        if self._as_fresh[row] >= 0:
            return self._fresh.has_evidence(int(self._as_fresh[row]))
        return bool(self._repeats.told(int(self._parts.keys[row])))

    def model_at(self, row: int) -> ModelReference | None:
        """What scored a row."""
        scorer = self._scorer(row)
        return scorer if isinstance(scorer, ModelReference) else None

    def omitted_at(self, row: int) -> bool:
        """Whether the row has evidence that is no longer known."""
        if self._as_old[row] < 0 or self._repeats.told(int(self._parts.keys[row])) is not None:
            return False
        old, recalled = self._as_old[row], self._parts.recalled
        return any(rows[old] for name, rows in recalled.contributed.items() if name != MODEL) or bool(
            self.threat_level[row] >= ThreatLevel.MEDIUM
        )

    def skipped_at(self, row: int) -> tuple[Skipped, ...]:
        """Detectors that could not judge a row."""
        here = tuple(Skipped(name, reason) for name, (reason, rows) in self._partly.items() if rows[row])
        without = () if self.model_at(row) is not None else (self._without_model(row),)
        return (*self._skipped, *without, *here)


#: What the engine answers.
Verdicts = BatchVerdicts | MixedVerdicts
