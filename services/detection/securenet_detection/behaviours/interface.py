"""What a detector of behaviour is: one module a detector, named for it, with this shape.

A detector sees every batch of a tenant in the order of arrival, keeps what it must in bounded tables, and answers for
each row whether the row's key (its source, or source and peer) stands out now. Evidence lasts for the detector's window
after its last cause and is attached to every flow of the key meanwhile. Time is the flows' own: rows that are older
than the newest row of their entity count as long as they lie in its window, older ones do not count; sixteen such rows
one after another mean that the clock was set back, and the entity's window starts anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours.observation import Observation
from securenet_detection.threats import AnalyticType, Technique, ThreatLevel

#: Levels by their numbers; position 0 is none.
_LEVELS: Final = (ThreatLevel.LOW, *ThreatLevel)


@dataclass(frozen=True, slots=True)
class Threshold:
    """One setting of a detector, with its present value."""

    name: str
    value: float
    unit: str
    description: str


@dataclass(frozen=True, slots=True)
class Definition:
    """What a detector says of itself.

    Attributes:
        version: rises when the definition changes.
        measure: name of what evidence measures.
        required_fields: columns without which a row cannot be judged.
        techniques: those that its evidence may show.
        protocols, ports: of the flows that it judges (the port is the responder's); empty where any may be.
    """

    name: str
    version: str
    description: str
    analytic_type: AnalyticType
    thresholds: tuple[Threshold, ...]
    required_fields: tuple[str, ...]
    techniques: tuple[Technique, ...]
    measure: str
    protocols: tuple[int, ...] = ()
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """State held: entries now and at most, live entries that had to give way, bytes of the tables."""

    entries: int
    capacity: int
    evictions: int
    bytes: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.entries + other.entries,
            self.capacity + other.capacity,
            self.evictions + other.evictions,
            self.bytes + other.bytes,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Evidence of one detector about the rows of a batch, as columns.

    Attributes:
        level: uint8 (n,), ThreatLevel, 0 where there is none.
        confidence: float64 (n,), 0–1.
        measured: float64 (n,), in the detector's unit.
        threshold: float64 (n,), likewise.
        technique: uint8 (n,), position in the definition's techniques.
        event: uint8 (n,), 1 where a finding begins, 2 where one has news, else 0.
        sample: int64 (n,), position of the latest flow that shows the row's evidence, 0 for none.
        flows: int64 (n,), flows of the episode up to this row; what a finding is counted in, whatever is measured.
        first_seen_ns: int64 (n,), start of the episode's first flow.
        certain: int64 (n,), what the detector counted beside `measured`.
        idle_ns: int64 (n,), how long ago the latest flow gave cause for the evidence; None where the row itself did.
    """

    level: NDArray[np.uint8]
    confidence: NDArray[np.float64]
    measured: NDArray[np.float64]
    threshold: NDArray[np.float64]
    technique: NDArray[np.uint8]
    event: NDArray[np.uint8]
    sample: NDArray[np.int64]
    flows: NDArray[np.int64]
    first_seen_ns: NDArray[np.int64]
    certain: NDArray[np.int64]
    idle_ns: NDArray[np.int64] | None = None

    def faded(self, half_life_ns: float) -> Observed:
        """The same with what is left of its confidence, which halves for every half-life without a cause."""
        idle = np.flatnonzero(self.idle_ns) if self.idle_ns is not None else ()
        if self.idle_ns is None or not len(idle):
            return self
        confidence = self.confidence.copy()
        confidence[idle] *= np.exp2(-self.idle_ns[idle] / half_life_ns)
        return replace(self, confidence=confidence)

    def at(self, row: int) -> Shown:
        """The evidence of one row."""
        return Shown(
            _LEVELS[self.level.item(row)], self.confidence.item(row), self.measured.item(row),
            self.threshold.item(row), self.technique.item(row), self.sample.item(row), self.flows.item(row),
            self.certain.item(row),
        )  # fmt: skip


class Shown(NamedTuple):
    """The evidence of one row in Python's own numbers: words are made of them many times as fast as of numpy's.

    Attributes are those of :class:`Observed`.
    """

    level: ThreatLevel
    confidence: float
    measured: float
    threshold: float
    technique: int
    sample: int
    flows: int
    certain: int


class Sample(NamedTuple):
    """One flow that shows an episode: its identity and its other side."""

    flow_id: str | None
    peer: str


class Scope(NamedTuple):
    """What evidence of a row is about, in words; with tenant and detector it is the identity of a finding."""

    entity: str
    peers: str
    port: int | None


class Behaviour(Protocol):
    """A detector with the state of one tenant."""

    @property
    def definition(self) -> Definition:
        """What the detector says of itself."""

    def observe(self, seen: Observation) -> Observed | None:
        """Takes the rows in their order; None where no row has evidence."""

    def scope(self, seen: Observation, row: int) -> Scope:
        """What the evidence of a row is about."""

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        """One sentence for a person."""

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        """At most ten flows, up to the row, that show its evidence."""

    def usage(self) -> Usage:
        """State held now."""
