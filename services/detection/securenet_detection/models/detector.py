"""The model as a detector: it judges each flow alone; what it suspects is gathered by source and port.

A finding needs several suspicious flows, since one flow alone is all that the verdict of that flow is about.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import kernels
from securenet_detection.behaviours.episodes import Episodes
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.detector_settings import ModelDetectorSettings, StateSettings
from securenet_detection.fusion import EPSILON, MEDIUM, greatest, levels
from securenet_detection.threats import AnalyticType, ThreatLevel

Float = NDArray[np.float64]

#: Name of the detector.
MODEL: Final = "model"


class ModelDetector:
    """Evidence of the serving model, and the flows of its findings."""

    def __init__(self, settings: ModelDetectorSettings, state: StateSettings) -> None:
        self._settings = settings
        self._episodes = Episodes(entities=state.entities, members=0, window_ns=int(settings.window_seconds * 1e9))
        self.definition = Definition(
            name=MODEL,
            version="1",
            description="Calibrated probability of a trained model that the flow is malicious.",
            analytic_type=AnalyticType.MODEL,
            thresholds=(
                Threshold("flows", settings.flows, "flows", "suspicious flows that make a finding"),
                Threshold("window", settings.window_seconds, "seconds", "how far back is counted"),
            ),
            required_fields=(),
            techniques=(),
            measure="probability",
        )

    def judge(self, seen: Observation, probabilities: Float, pieces: Float, medium: float) -> Observed | None:
        """Evidence of the rows that the model alone holds for MEDIUM or more; None where there are none.

        Args:
            probabilities: (n,), calibrated.
            pieces: (n,), the model's pieces of risk.
            medium: probability from which the model says MEDIUM.
        """
        if greatest(pieces) < MEDIUM - EPSILON:
            return None
        rows = len(seen)
        level = levels(pieces, np.zeros(rows, np.int64), np.zeros(rows, np.bool_))
        suspected = level >= ThreatLevel.MEDIUM
        out = self._episodes.count(
            seen,
            keys=kernels.combine(seen.src, (seen.dst_port << 1) | seen.dst_local),
            members=seen.dst,
            weights=suspected.astype(np.int64),
            thresholds=np.full(rows, self._settings.flows, np.int64),
        )
        if out is None:
            out = np.zeros((rows, 7), np.int64)
        return Observed(
            level=np.where(suspected, level, 0).astype(np.uint8),
            confidence=np.where(suspected, probabilities, 0.0),
            measured=probabilities,
            threshold=np.full(rows, medium),
            technique=np.zeros(rows, np.uint8),
            event=out[:, 1].astype(np.uint8),
            sample=out[:, 2],
            flows=out[:, 3],
            first_seen_ns=out[:, 4],
            certain=out[:, 6],
        )

    def scope(self, seen: Observation, row: int) -> Scope:
        """Source, port, and whether the other side is local."""
        return Scope(seen.source(row), "local" if seen.dst_local[row] else "remote", int(seen.dst_port[row]))

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        """One sentence for a person."""
        return (
            f"{seen.source(row)} to {seen.service(row)} of {seen.destination(row)} looks malicious to the model, with "
            f"a probability of {shown.measured:.2f}"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        """At most ten flows of the finding, up to this row."""
        return self._episodes.samples(shown.sample)

    def usage(self) -> Usage:
        """State held now."""
        return self._episodes.usage()
