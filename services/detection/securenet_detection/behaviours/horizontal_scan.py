"""One source tries one port on many hosts.

Definition: at least 25 distinct remote destinations (250 local ones, since a monitor or a printer driver asks its
own network) that did not answer on one port within five minutes. After Zeek's scan policy (Address_Scan: unique hosts
on one port within five minutes, 25 remote and 250 local) and NIST SP 800-94 on reconnaissance.
"""

from __future__ import annotations

import numpy as np

from securenet_detection.behaviours import kernels
from securenet_detection.behaviours.episodes import Episodes, evidence
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Threshold, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.settings import HorizontalScanSettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack, ThreatLevel


class HorizontalScan:
    """Key: source, protocol, port, and whether the destinations are local."""

    def __init__(self, settings: HorizontalScanSettings, state: StateSettings) -> None:
        self._settings = settings
        self._episodes = Episodes(
            entities=state.entities, members=state.members, window_ns=int(settings.window_seconds * 1e9)
        )
        self.definition = Definition(
            name="horizontal-scan",
            version="1",
            description="Distinct hosts that did not answer one source on one port; measured in destinations.",
            analytic_type=AnalyticType.BEHAVIORAL,
            thresholds=(
                Threshold("remote_destinations", settings.remote_destinations, "destinations", "outside the network"),
                Threshold("local_destinations", settings.local_destinations, "destinations", "inside the network"),
                Threshold("window", settings.window_seconds, "seconds", "how far back is counted"),
            ),
            required_fields=("dst_port", "conn_state"),
            techniques=(Attack.SERVICE_DISCOVERY.value, Attack.SCANNING_IP_BLOCKS.value),
            measure="destinations",
        )

    def observe(self, seen: Observation) -> Observed | None:
        service = (seen.dst_port << 9) | (seen.protocol << 1) | seen.dst_local
        thresholds = np.where(seen.dst_local, self._settings.local_destinations, self._settings.remote_destinations)
        out = self._episodes.count(
            seen,
            keys=kernels.combine(seen.src, service),
            members=seen.dst,
            weights=seen.failed.astype(np.int64),
            thresholds=thresholds,
        )
        if out is None:
            return None
        return evidence(
            out,
            measured=out[:, 0].astype(np.float64),
            thresholds=thresholds.astype(np.float64),
            # The Internet scans everybody all the time; a host of one's own that scans has been taken.
            level=np.where(seen.src_local, ThreatLevel.HIGH, ThreatLevel.MEDIUM).astype(np.uint8),
            technique=(~seen.src_local).astype(np.uint8),
            # What was measured were flows, one each, and an episode that began again has their window still.
            flows=out[:, 0],
        )

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), "local" if seen.dst_local[row] else "remote", int(seen.dst_port[row]))

    def summary(self, seen: Observation, row: int, observed: Observed) -> str:
        where = "local" if seen.dst_local[row] else "remote"
        return (
            f"{seen.source(row)} tried {seen.service(row)} on {observed.measured[row]:.0f} {where} hosts that did not "
            f"answer within {self._settings.window_seconds / 60:g} minutes ({observed.threshold[row]:.0f} are allowed)"
        )

    def samples(self, observed: Observed, row: int) -> tuple[Sample, ...]:
        return self._episodes.samples(int(observed.sample[row]))

    def usage(self) -> Usage:
        return self._episodes.usage()
