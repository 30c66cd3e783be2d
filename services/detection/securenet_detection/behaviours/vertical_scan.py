"""One source tries many ports of one host.

Definition: at least 15 distinct ports of one destination that did not answer one source within five minutes. After
Zeek's scan policy (Port_Scan: 15 unique failed ports on one host within five minutes).
"""

from __future__ import annotations

import numpy as np

from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.episodes import Episodes, evidence
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.detector_settings import StateSettings, VerticalScanSettings
from securenet_detection.threats import AnalyticType, Attack, ThreatLevel


class VerticalScan:
    """Key: source and destination."""

    def __init__(self, settings: VerticalScanSettings, state: StateSettings) -> None:
        self._settings = settings
        self._episodes = Episodes(
            entities=state.entities, members=state.members, window_ns=int(settings.window_seconds * 1e9)
        )
        self.definition = Definition(
            name="vertical-scan",
            version="1",
            description="Distinct ports of one host that did not answer one source; measured in ports.",
            analytic_type=AnalyticType.BEHAVIORAL,
            thresholds=(
                Threshold("ports", settings.ports, "ports", "distinct ports of one host"),
                Threshold("window", settings.window_seconds, "seconds", "how far back is counted"),
            ),
            required_fields=("dst_port", "conn_state"),
            techniques=(Attack.SERVICE_DISCOVERY.value, Attack.SCANNING_IP_BLOCKS.value),
            measure="ports",
        )

    def observe(self, seen: Observation) -> Observed | None:
        if not seen.any(rows.FAILED_PORTS) and self._episodes.silent:
            return None
        thresholds = np.full(len(seen), self._settings.ports, np.int64)
        out = self._episodes.count(
            seen,
            keys=seen.number(rows.HOSTS),
            members=(seen.dst_port << 8) | seen.protocol,
            weights=seen.mark(rows.FAILED_PORTS).astype(np.int64),
            thresholds=thresholds,
        )
        if out is None:
            return None
        return evidence(
            out,
            measured=out[:, 0].astype(np.float64),
            thresholds=thresholds.astype(np.float64),
            level=np.where(seen.src_local, ThreatLevel.HIGH, ThreatLevel.MEDIUM).astype(np.uint8),
            technique=(~seen.src_local).astype(np.uint8),
            # What was measured were flows, one each, and an episode that began again has their window still.
            flows=out[:, 0],
        )

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), seen.destination(row), None)

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        return (
            f"{seen.source(row)} tried {shown.measured:.0f} ports of {seen.destination(row)} that did not "
            f"answer within {self._settings.window_seconds / 60:g} minutes ({shown.threshold:.0f} are allowed)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._episodes.samples(shown.sample)

    def usage(self) -> Usage:
        return self._episodes.usage()
