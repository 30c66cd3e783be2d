"""What the engine answers: columns for all rows, objects only for the rows that somebody asks about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown
from securenet_detection.behaviours.observation import Observation
from securenet_detection.findings.sighting import Origin, Sighting, finding_id
from securenet_detection.flow_samples import FlowFinder
from securenet_detection.fusion import WEIGHTS
from securenet_detection.models.contributions import Explanations
from securenet_detection.models.detector import MODEL
from securenet_detection.models.interface import ModelReference
from securenet_detection.repeats import Repeats
from securenet_detection.threats import Contribution, Evidence, Skipped, Technique, ThreatLevel

#: Flow identities that one piece of evidence names.
_FLOW_IDS = 10

#: The weights as Python's own numbers: one at a time, an array takes as long as all else that is done with them.
_WEIGHTS = tuple(WEIGHTS.tolist())

_NO_ROWS = np.zeros(0, np.int64)

#: A risk that shows on a scale of 100; less is no reason to name anybody.
_CONTRIBUTES = 0.01


class Speaker(Protocol):
    """A detector that can put the evidence of a row into words."""

    @property
    def definition(self) -> Definition:
        """What the detector says of itself."""

    def scope(self, seen: Observation, row: int) -> Scope:
        """What the evidence of a row is about."""

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        """One sentence for a person."""

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        """At most ten flows, up to the row, that show its evidence."""


@runtime_checkable
class Attributing(Protocol):
    """A speaker whose evidence shows what somebody else says that it is, and not always the same."""

    def technique(self, seen: Observation, row: int) -> Technique | None:
        """The technique that the evidence of a row shows, if that is known."""


@runtime_checkable
class Contributing(Protocol):
    """A speaker that says which features its evidence comes of."""

    def contributions(self, row: int) -> tuple[Contribution, ...]:
        """Those of a row, the largest first."""


@cache
def _contributes(speaker: type[Speaker]) -> bool:
    """Asked for every piece of evidence, and slow to find out."""
    return issubclass(speaker, Contributing)


@cache
def _attributes(speaker: type[Speaker]) -> bool:
    """Asked for every piece of evidence, and slow to find out."""
    return issubclass(speaker, Attributing)


@dataclass(frozen=True, slots=True, eq=False)
class BatchVerdicts:
    """Verdicts of a batch, in its order. Ask for details before the next batch of the tenant is analysed.

    Attributes:
        threat_level: uint8 (n,), ThreatLevel.
        score: float64 (n,), 0–1.
        risk: float64 (n,), 0–1; what the level follows from.
        model: what scored, None if nothing did.
        skipped: detectors that judged no row of the batch.
        partly: by detector, reason and which rows it did not judge, where it judged some.
        sightings: what findings were begun or have news, with the row that made it, in row order.
        pieces: by detector, float64 (n,), what its evidence alone would be as a risk.
        explanations: why the model thinks so, of a row.
        keys: int64 (n,), identity of each row, None where none is remembered.
        repeats: where told evidence is remembered.
    """

    threat_level: NDArray[np.uint8]
    score: NDArray[np.float64]
    risk: NDArray[np.float64]
    model: ModelReference | None
    skipped: tuple[Skipped, ...]
    partly: Mapping[str, tuple[str, NDArray[np.bool_]]]
    sightings: tuple[tuple[int, Sighting], ...]
    origin: Origin
    seen: Observation
    evidence_columns: Sequence[tuple[Speaker, Observed]]
    pieces: Mapping[str, NDArray[np.float64]]
    explanations: Explanations
    keys: NDArray[np.int64] | None = None
    repeats: Repeats | None = None

    def __len__(self) -> int:
        return len(self.threat_level)

    @property
    def scorer(self) -> ModelReference | Skipped:
        """What scored the rows, or why no model did."""
        if self.model is not None:
            return self.model
        return next((one for one in self.skipped if one.detector == MODEL), Skipped(MODEL, "no model is served"))

    def rows_at_or_above(self, level: ThreatLevel) -> list[int]:
        """Rows of at least this level."""
        return np.flatnonzero(self.threat_level >= level).tolist()

    def contributions(self) -> dict[str, NDArray[np.bool_]]:
        """By detector, boolean (n,): where it contributed to the score, whatever the level; only those that did."""
        found = {name: piece >= _CONTRIBUTES for name, piece in self.pieces.items()}
        return {name: rows for name, rows in found.items() if rows.any()}

    def flow_id(self, row: int) -> str:
        """Identity of the flow as it came; empty where it had none."""
        column = self.seen.batch.text.get("flow_id")
        return "" if column is None else column[row] or ""

    def evidence(self, row: int) -> tuple[Evidence, ...]:
        """Reasons for the verdict of a row, the gravest first."""
        if not self.evidence_columns:
            return ()
        found = [
            _evidence(
                self.origin, speaker, speaker.scope(self.seen, row), observed.at(row), self.seen, row, self.explanations
            )
            for speaker, observed in self.evidence_columns
            if observed.level.item(row)
        ]
        told = tuple(sorted(found, key=lambda piece: (-_WEIGHTS[piece.level] * piece.confidence, piece.detector)))
        if self.keys is not None and self.repeats is not None:
            self.repeats.tell(int(self.keys[row]), told)
        return told

    def has_evidence(self, row: int) -> bool:
        """Whether the row has any evidence."""
        return any(observed.level.item(row) for _, observed in self.evidence_columns)

    def model_at(self, _row: int) -> ModelReference | None:
        """What scored a row."""
        return self.model

    def omitted_at(self, _row: int) -> bool:
        """Whether the row has evidence that is no longer known."""
        return False

    @property
    def again(self) -> NDArray[np.int64]:
        """int64 (k,): rows that came before and are answered as they were."""
        return _NO_ROWS

    def skipped_at(self, row: int) -> tuple[Skipped, ...]:
        """Detectors that could not judge a row."""
        if not self.partly:
            return self.skipped
        here = tuple(Skipped(name, reason) for name, (reason, rows) in self.partly.items() if rows.item(row))
        return self.skipped + here if here else self.skipped


def sightings(  # noqa: PLR0917 - one call, from the engine
    origin: Origin,
    seen: Observation,
    columns: Sequence[tuple[Speaker, Observed]],
    levels: NDArray[np.uint8],
    risks: NDArray[np.float64],
    explanations: Explanations,
) -> tuple[tuple[int, Sighting], ...]:
    """What the detectors have to report, with the row that made it, in row order."""
    if not columns:
        return ()
    finder = FlowFinder(seen.batch)
    reports = [
        (
            row,
            _sighting(origin, seen, finder, speaker, observed, row, int(levels[row]), float(risks[row]), explanations),
        )
        for speaker, observed in columns
        for row in np.flatnonzero(observed.event).tolist()
    ]
    return tuple(sorted(reports, key=lambda report: report[0]))


def _sighting(  # noqa: PLR0917 - one call, from above
    origin: Origin,
    seen: Observation,
    finder: FlowFinder,
    speaker: Speaker,
    observed: Observed,
    row: int,
    level: int,
    risk: float,
    explanations: Explanations,
) -> Sighting:
    scope, shown = speaker.scope(seen, row), observed.at(row)
    # The row itself comes first: it may be one that was not sampled. Where the entity is the victim, its peer calls it.
    peer = seen.destination(row)
    if peer == scope.entity:
        peer = seen.source(row)
    peers = (peer, *(sample.peer for sample in speaker.samples(shown)))
    evidence = _evidence(origin, speaker, scope, shown, seen, row, explanations)
    return Sighting(
        tenant=origin.tenant,
        evidence=evidence,
        entity=scope.entity,
        peer_scope=scope.peers,
        port=scope.port,
        threat_level=ThreatLevel(level),
        risk=risk,
        peers=tuple(dict.fromkeys(peers)),
        sensor_id=seen.batch.texts("sensor_id")[row],
        first_seen_ns=int(observed.first_seen_ns[row]),
        last_seen_ns=int(seen.start_time_ns[row]),
        count=int(observed.flows[row]),
        state_scope=origin.scope,
        flows=finder.records(row, evidence.flow_ids, _FLOW_IDS),
    )


def _evidence(  # noqa: PLR0917 - what words are made of
    origin: Origin,
    speaker: Speaker,
    scope: Scope,
    shown: Shown,
    seen: Observation,
    row: int,
    explanations: Explanations,
) -> Evidence:
    definition = speaker.definition
    ids = [sample.flow_id for sample in speaker.samples(shown) if sample.flow_id]
    techniques = definition.techniques
    attributed = cast(Attributing, speaker).technique(seen, row) if _attributes(type(speaker)) else None
    return Evidence(
        id=finding_id(origin, definition.name, scope.entity, scope.peers, scope.port),
        detector=definition.name,
        detector_version=definition.version,
        analytic_type=definition.analytic_type,
        level=shown.level,
        confidence=shown.confidence,
        summary=speaker.summary(seen, row, shown),
        measured=shown.measured,
        threshold=shown.threshold,
        techniques=(attributed,) if attributed else (techniques[shown.technique],) if techniques else (),
        flow_ids=tuple(ids[:_FLOW_IDS]),
        measure=definition.measure,
        contributions=(
            explanations.at(row)
            if definition.name == MODEL
            else cast(Contributing, speaker).contributions(row)
            if _contributes(type(speaker))
            else ()
        ),
    )
