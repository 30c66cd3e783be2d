"""A source whose first contacts fail more often than an honest one's would: threshold random walk (TRW).

Definition: J. Jung, V. Paxson, A. Berger, H. Balakrishnan, "Fast portscan detection using sequential hypothesis
testing", IEEE Symposium on Security and Privacy 2004. θ0 = 0.8 and θ1 = 0.2 are the probabilities that a first contact
succeeds for an honest source and for a scanner; the likelihood ratio of a source's first contacts is compared with
η1 = P_D / P_F and η0 = (1 − P_D) / (1 − P_F), P_D = 0.99, P_F = 0.01. Only TCP, and only the first contact of a source
with a destination. A walk that ends at "honest" begins again.

Evidence says that a source scans, not that all it does is scanning: a host whose network is away for a minute fails as
a scanner does, and so does one that is infected and works on. It is MEDIUM at attempts that fail, LOW at others of the
source, and none at what is no attempt.
"""

from __future__ import annotations

import math

import numpy as np

from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.episodes import Episodes, evidence
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.detector_settings import SequentialScanSettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack, ThreatLevel

_SCALE = float(1 << 20)


class SequentialScan:
    """Key: source."""

    def __init__(self, settings: SequentialScanSettings, state: StateSettings) -> None:
        self._settings = settings
        self._upper = settings.detection_probability / settings.false_positive_probability
        lower = (1 - settings.detection_probability) / (1 - settings.false_positive_probability)
        ratios = (
            (1 - settings.scanner_success) / (1 - settings.honest_success),
            settings.scanner_success / settings.honest_success,
            self._upper,
            lower,
        )
        self._steps = np.array([round(math.log(ratio) * _SCALE) for ratio in ratios], np.int64)
        self._episodes = Episodes(
            entities=state.entities, members=state.members, window_ns=int(settings.window_seconds * 1e9)
        )
        self.definition = Definition(
            name="sequential-scan",
            version="1",
            description="Threshold random walk over a source's first contacts; measured as likelihood ratio.",
            analytic_type=AnalyticType.STATISTICAL,
            thresholds=(
                Threshold("honest_success", settings.honest_success, "probability", "θ0"),
                Threshold("scanner_success", settings.scanner_success, "probability", "θ1"),
                Threshold("detection_probability", settings.detection_probability, "probability", "P_D"),
                Threshold("false_positive_probability", settings.false_positive_probability, "probability", "P_F"),
                Threshold("likelihood_ratio", self._upper, "ratio", "η1 = P_D / P_F, from which a source is a scanner"),
                Threshold("window", settings.window_seconds, "seconds", "how long evidence lasts"),
            ),
            required_fields=("conn_state",),
            techniques=(Attack.SERVICE_DISCOVERY.value, Attack.SCANNING_IP_BLOCKS.value),
            measure="likelihood_ratio",
        )

    def observe(self, seen: Observation) -> Observed | None:
        if not seen.any(rows.KNOWN_TCP):
            return None
        attempts = seen.mark(rows.KNOWN_TCP)
        out = self._episodes.walk(seen, attempts=attempts, steps=self._steps)
        if out is None:
            return None
        out[~attempts, 0] = 0
        return evidence(
            out,
            measured=np.exp(out[:, 0] / _SCALE),
            thresholds=np.full(len(seen), self._upper),
            level=np.where(seen.failed, ThreatLevel.MEDIUM, ThreatLevel.LOW).astype(np.uint8),
            technique=(~seen.src_local).astype(np.uint8),
        )

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), "", None)

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        return (
            f"{shown.certain} of {shown.flows} first contacts of {seen.source(row)} failed, which is "
            f"{shown.measured:.3g} times as likely of a scanner as of an honest source (likelihood ratio; "
            f"{self._upper:.0f} is allowed)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._episodes.samples(shown.sample)

    def usage(self) -> Usage:
        return self._episodes.usage()
