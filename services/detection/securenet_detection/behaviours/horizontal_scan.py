"""One source tries one port on many hosts.

Definition: at least 25 distinct remote destinations (250 local ones, since a monitor or a printer driver asks its
own network) that did not answer on one port within five minutes. After Zeek's scan policy (Address_Scan: unique hosts
on one port within five minutes, 25 remote and 250 local) and NIST SP 800-94 on reconnaissance.

Ten destinations within ten seconds are LOW: a sweep that is small, or programs that start while the network is away. Of
echo requests those count that are answered, too: they ask who is there (T1018), as monitoring does.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.episodes import Episodes, evidence
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.detector_settings import HorizontalScanSettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack, ThreatLevel

#: What happens in seconds needs little memory.
_BURST_ENTITIES: Final = 1 << 13
_BURST_MEMBERS: Final = 1 << 15


class HorizontalScan:
    """Key: source, protocol, port, and whether the destinations are local."""

    def __init__(self, settings: HorizontalScanSettings, state: StateSettings) -> None:
        self._settings = settings
        self._episodes = Episodes(
            entities=state.entities, members=state.members, window_ns=int(settings.window_seconds * 1e9)
        )
        self._bursts = Episodes(
            entities=min(state.entities, _BURST_ENTITIES),
            members=min(state.members, _BURST_MEMBERS),
            window_ns=int(settings.burst_seconds * 1e9),
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
                Threshold("burst_destinations", settings.burst_destinations, "destinations", "in a burst, for LOW"),
                Threshold("burst_window", settings.burst_seconds, "seconds", "how far back a burst is counted"),
            ),
            required_fields=("dst_port", "conn_state"),
            techniques=(
                Attack.SERVICE_DISCOVERY.value,
                Attack.SCANNING_IP_BLOCKS.value,
                Attack.REMOTE_SYSTEM_DISCOVERY.value,
            ),
            measure="destinations",
        )

    def observe(self, seen: Observation) -> Observed | None:
        if not (seen.any(rows.FAILED) or seen.any(rows.ASKS)) and self._episodes.silent and self._bursts.silent:
            return None
        keys = seen.number(rows.SERVICE_KEY)
        thresholds = np.where(seen.dst_local, self._settings.local_destinations, self._settings.remote_destinations)
        counted = seen.failed | seen.mark(rows.ASKS)
        fewer = np.full(len(seen), self._settings.burst_destinations, np.int64)
        out, burst = (
            episodes.count(seen, keys=keys, members=seen.dst, weights=flows.astype(np.int64), thresholds=limits)
            for episodes, flows, limits in (
                (self._episodes, seen.failed, thresholds),
                (self._bursts, counted, fewer),
            )
        )
        if out is None and burst is None:
            return None
        # The Internet scans everybody all the time; a host of one's own that scans has been taken.
        level = np.where(seen.src_local, ThreatLevel.HIGH, ThreatLevel.MEDIUM).astype(np.uint8)
        if out is None:
            out = np.zeros_like(burst)
        if burst is not None:
            alone = out[:, 0] == 0
            # A sweep says nothing of what else the source does at that port.
            burst[~counted, :2] = 0
            out[alone], thresholds[alone], level[alone] = burst[alone], fewer[alone], ThreatLevel.LOW
        return evidence(
            out,
            measured=out[:, 0].astype(np.float64),
            thresholds=thresholds.astype(np.float64),
            level=level,
            technique=np.where(seen.src_local, np.where(seen.mark(rows.ICMP), 2, 0), 1).astype(np.uint8),
            # What was measured were flows, one each, and an episode that began again has their window still.
            flows=out[:, 0],
        )

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), "local" if seen.dst_local[row] else "remote", int(seen.dst_port[row]))

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        where = "local" if seen.dst_local[row] else "remote"
        tried = f"{seen.source(row)} tried {seen.service(row)} on {shown.measured:.0f} {where} hosts"
        allowed = f"({shown.threshold:.0f} are allowed)"
        if shown.level == ThreatLevel.LOW:
            return f"{tried} within {self._settings.burst_seconds:g} seconds {allowed}"
        return f"{tried} that did not answer within {self._settings.window_seconds / 60:g} minutes {allowed}"

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        episodes = self._bursts if shown.level == ThreatLevel.LOW else self._episodes
        return episodes.samples(shown.sample)

    def usage(self) -> Usage:
        return self._episodes.usage() + self._bursts.usage()
