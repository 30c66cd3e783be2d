"""A source guesses passwords at a service of many hosts, a few at each, so that no host sees many.

Definition: failed logins of one source at one service of at least 5 hosts within 30 minutes, each counted once, however
many accounts it tried there: flows do not name accounts. MITRE ATT&CK T1110.003, Password Spraying. Attempts are those
of :mod:`.brute_force`. Where no sensor judged them, it takes twice as many hosts and is LOW: monitoring that looks
whether log-ins are served has the same shape.
"""

from __future__ import annotations

import numpy as np

from securenet_detection.behaviours import kernels
from securenet_detection.behaviours.brute_force import attempts, may_attempt
from securenet_detection.behaviours.episodes import Episodes, evidence
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.detector_settings import BruteForceSettings, PasswordSpraySettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack, ThreatLevel

#: How many more hosts it takes where nobody judged the log-ins.
_UNJUDGED: int = 2


class PasswordSpray:
    """Key: source, port, and whether the log-ins were judged."""

    def __init__(self, settings: PasswordSpraySettings, shape: BruteForceSettings, state: StateSettings) -> None:
        self._settings = settings
        self._shape = shape
        self._episodes = Episodes(
            entities=state.entities, members=state.members, window_ns=int(settings.window_seconds * 1e9)
        )
        self.definition = Definition(
            name="password-spray",
            version="1",
            description="Hosts at one service of which a source failed to log in; measured in hosts.",
            analytic_type=AnalyticType.BEHAVIORAL,
            thresholds=(
                Threshold("hosts", settings.hosts, "hosts", "at which logins failed; twice as many by their shape"),
                Threshold("window", settings.window_seconds, "seconds", "how far back is counted"),
            ),
            required_fields=("dst_port", "orig_bytes", "resp_bytes"),
            techniques=(Attack.PASSWORD_SPRAYING.value,),
            measure="hosts",
        )

    def observe(self, seen: Observation) -> Observed | None:
        # A flow that is no attempt belongs to something else, and changes nothing.
        if not may_attempt(seen):
            return None
        weights, judged = attempts(seen, self._shape)
        thresholds = np.where(judged, self._settings.hosts, _UNJUDGED * self._settings.hosts)
        out = self._episodes.count(
            seen,
            keys=kernels.combine(kernels.combine(seen.src, seen.dst_port), judged.astype(np.int64)),
            members=seen.dst,
            weights=np.minimum(weights, 1),
            thresholds=thresholds,
        )
        if out is None:
            return None
        # A flow of the source that is no attempt belongs to something else.
        out[weights == 0, 0] = 0
        return evidence(
            out,
            measured=out[:, 0].astype(np.float64),
            thresholds=thresholds.astype(np.float64),
            level=np.where(judged, ThreatLevel.MEDIUM, ThreatLevel.LOW).astype(np.uint8),
            technique=np.zeros(len(seen), np.uint8),
        )

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), "", int(seen.dst_port[row]))

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        judged = shown.level > ThreatLevel.LOW
        what = "failed to log in" if judged else "made short exchanges that look like refused logins"
        return (
            f"{seen.source(row)} {what} at {seen.service(row)} of {shown.measured:.0f} hosts within "
            f"{self._settings.window_seconds / 60:g} minutes ({shown.threshold:.0f} are allowed)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._episodes.samples(shown.sample)

    def usage(self) -> Usage:
        return self._episodes.usage()
