"""Many sources outside try many ports of one host of the network, each a few.

Definition: at least 15 distinct ports of one own host, tried from outside by whomever, that did not answer within six
hours. It is :mod:`.vertical_scan` without the condition that one source does it: what scans the Internet comes from
thousands of addresses, and each asks a host for a port or two. A published service fails at few ports, however often.

Evidence is attached to attempts from outside that fail, and to nothing that the host itself does; it is MEDIUM, since
everybody who can be reached is scanned. Low ports that send to high ones are answers whose question was not seen.
"""

from __future__ import annotations

import numpy as np

from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.episodes import Episodes, evidence
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.detector_settings import DistributedScanSettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack, ThreatLevel


class DistributedScan:
    """Key: the host that is tried."""

    def __init__(self, settings: DistributedScanSettings, state: StateSettings) -> None:
        self._settings = settings
        self._episodes = Episodes(
            entities=state.entities, members=state.members, window_ns=int(settings.window_seconds * 1e9)
        )
        self.definition = Definition(
            name="distributed-scan",
            version="1",
            description="Ports of one own host that did not answer somebody outside; measured in ports.",
            analytic_type=AnalyticType.BEHAVIORAL,
            thresholds=(
                Threshold("ports", settings.ports, "ports", "distinct ports of one host"),
                Threshold("window", settings.window_seconds, "seconds", "how far back is counted"),
            ),
            required_fields=("dst_port", "conn_state"),
            techniques=(Attack.SCANNING_IP_BLOCKS.value,),
            measure="ports",
        )

    def observe(self, seen: Observation) -> Observed | None:
        if not seen.any(rows.TRIED):
            return None
        thresholds = np.full(len(seen), self._settings.ports, np.int64)
        out = self._episodes.count(
            seen,
            keys=seen.dst,
            members=(seen.dst_port << 8) | seen.protocol,
            weights=seen.mark(rows.TRIED_PORTS).astype(np.int64),
            thresholds=thresholds,
        )
        if out is None:
            return None
        out[~seen.mark(rows.TRIED), 0] = 0
        return evidence(
            out,
            measured=out[:, 0].astype(np.float64),
            thresholds=thresholds.astype(np.float64),
            level=np.full(len(seen), ThreatLevel.MEDIUM, np.uint8),
            technique=np.zeros(len(seen), np.uint8),
        )

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.destination(row), "", None)

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        return (
            f"{shown.measured:.0f} ports of {seen.destination(row)} were tried from outside and did not answer "
            f"within {self._settings.window_seconds / 3600:g} hours ({shown.threshold:.0f} are allowed)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._episodes.samples(shown.sample)

    def usage(self) -> Usage:
        return self._episodes.usage()
