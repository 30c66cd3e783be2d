"""The second model as a detector: how unlike ordinary traffic each flow is, whatever it may be.

What is measured is a tail probability: the share of ordinary flows of captures that the training held out which score
as high or higher. To be odd is no crime, so it is LOW, of whatever kind it is, and makes no finding by itself. The
model of attacks and this one look at the same features of the same flow, so together they are one reason and not two:
of their pieces of risk the greater one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold
from securenet_detection.behaviours.observation import Observation
from securenet_detection.detector_settings import AnomalySettings
from securenet_detection.models.contributions import Explanations
from securenet_detection.models.serving import ServingModel
from securenet_detection.threats import AnalyticType, Contribution, ThreatLevel

#: Name of the detector.
ANOMALY: Final = "anomaly"

#: Confidence of evidence that stands exactly at its threshold, as with behaviours.
_AT_THRESHOLD: Final = 0.9

#: Features that the sentence names.
_NAMED: Final = 3


class AnomalyDetector:
    """Keeps nothing of flows: each is judged by itself."""

    def __init__(self, settings: AnomalySettings) -> None:
        self._tail = settings.tail
        self.definition = Definition(
            name=ANOMALY,
            version="1",
            description="The flow is unlike ordinary traffic, by a model that was trained without attacks.",
            analytic_type=AnalyticType.MODEL,
            thresholds=(
                Threshold("tail", settings.tail, "probability", "share of ordinary flows that are as odd, at most"),
            ),
            required_fields=(),
            techniques=(),
            measure="tail-probability",
        )

    def judge(self, model: ServingModel, matrix: NDArray[np.float32]) -> AnomalyEvidence | None:
        """Evidence of the rows that are odd enough; None where there are none.

        Args:
            model: an anomaly model.
            matrix: float32 (n, columns), features.
        """
        tail = 1.0 - model.score(matrix)
        odd = tail <= self._tail
        if not odd.any():
            return None
        rows = len(matrix)
        observed = Observed(
            level=np.where(odd, int(ThreatLevel.LOW), 0).astype(np.uint8),
            confidence=np.where(odd, 1.0 - (1 - _AT_THRESHOLD) * tail / self._tail, 0.0),
            measured=tail,
            threshold=np.full(rows, self._tail),
            technique=np.zeros(rows, np.uint8),
            event=np.zeros(rows, np.uint8),
            sample=np.zeros(rows, np.int64),
            flows=odd.astype(np.int64),
            first_seen_ns=np.zeros(rows, np.int64),
            certain=np.zeros(rows, np.int64),
        )
        return AnomalyEvidence(self.definition, observed, Explanations(model.explainer, matrix, np.flatnonzero(odd)))


@dataclass(frozen=True, slots=True, eq=False)
class AnomalyEvidence:
    """What the detector says of one batch, and why."""

    definition: Definition
    observed: Observed
    explanations: Explanations

    def scope(self, seen: Observation, row: int) -> Scope:
        """Source, port, and whether the other side is local."""
        return Scope(seen.source(row), "local" if seen.dst_local[row] else "remote", int(seen.dst_port[row]))

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        """One sentence for a person, with the features that stand out."""
        rarity = 1 / max(shown.measured, 1e-9)
        said = (
            f"{seen.source(row)} to {seen.service(row)} of {seen.destination(row)} is unlike ordinary traffic: one "
            f"flow in {rarity:,.0f} is as odd"
        )
        named = [_worded(one) for one in self.contributions(row) if one.contribution > 0][:_NAMED]
        return f"{said}; what stands out is {', '.join(named)}" if named else said

    def samples(self, shown: Shown) -> tuple[Sample, ...]:  # noqa: ARG002 - as every speaker's
        """None: the flow itself is all that it is about."""
        return ()

    def contributions(self, row: int) -> tuple[Contribution, ...]:
        """What made a row odd, the largest first."""
        return self.explanations.at(row)


def _worded(one: Contribution) -> str:
    value = "unknown" if one.value is None else f"{one.value:.4g}"
    return f"{one.feature} {value}" + ("" if one.baseline is None else f" (the median is {one.baseline:.4g})")
