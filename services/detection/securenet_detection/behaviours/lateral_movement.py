"""A source administers internal hosts that it never administered before.

Definition: an answered connection from one internal host to another on an administrators' service (SMB, RDP, WinRM,
SSH) that is the first of its kind between the two, with a host that few others administer: file servers and directories
are everybody's. MITRE ATT&CK T1021, Remote Services; the idea that movement shows in who newly reaches whom, and that
it must be learnt who does, is that of G. Ho et al., "Hopper: Modeling and Detecting Lateral Movement", USENIX Security
2021. What a source does in its first half hour, or before it was seen in fifty flows, is at most LOW, and only if it
goes to several hosts at once. Afterwards one new host is worth a note; several within half an hour raise the level.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from securenet_detection.behaviours import contact_kernels, kernels, tables
from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.episodes import Episodes, evidence
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import TCP, Observation
from securenet_detection.detector_settings import LateralMovementSettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack, ThreatLevel

#: Services by position, here and in the techniques; see :mod:`.services`.
_NAMES: Final = ("RDP", "SMB", "SSH", "WinRM")


class LateralMovement:
    """Key: source, over its administrative connections."""

    def __init__(self, settings: LateralMovementSettings, state: StateSettings) -> None:
        self._settings = settings
        self._episodes = Episodes(
            entities=state.entities, members=state.members, window_ns=int(settings.window_seconds * 1e9)
        )
        self._sources = np.zeros((state.entities, 4), np.int64)
        self._source_counters = np.zeros(tables.COUNTERS, np.int64)
        self._contacts = np.zeros((state.members, 2), np.int64)
        self._contact_counters = np.zeros(tables.COUNTERS, np.int64)
        self._targets = np.zeros((state.entities, 3), np.int64)
        self._target_counters = np.zeros(tables.COUNTERS, np.int64)
        self.definition = Definition(
            name="lateral-movement",
            version="1",
            description="First administrative connections between internal hosts; measured in new destinations.",
            analytic_type=AnalyticType.BEHAVIORAL,
            thresholds=(
                Threshold("medium_destinations", settings.medium_destinations, "destinations", "new ones for MEDIUM"),
                Threshold("high_destinations", settings.high_destinations, "destinations", "new ones for HIGH"),
                Threshold(
                    "learning_destinations", settings.learning_destinations, "destinations", "new ones while learning"
                ),
                Threshold("popular_sources", settings.popular_sources, "sources", "from which a host is everybody's"),
                Threshold("learning", settings.learning_seconds, "seconds", "history of a source before it is judged"),
                Threshold("learning_flows", settings.learning_flows, "flows", "likewise"),
                Threshold("window", settings.window_seconds, "seconds", "how far back is counted"),
            ),
            required_fields=("dst_port",),
            techniques=tuple(
                technique.value
                for technique in (
                    Attack.REMOTE_DESKTOP,
                    Attack.WINDOWS_ADMIN_SHARES,
                    Attack.SSH,
                    Attack.WINDOWS_REMOTE_MANAGEMENT,
                )
            ),
            measure="destinations",
            protocols=(TCP,),
        )

    def observe(self, seen: Observation) -> Observed | None:
        fresh, mature = np.zeros(len(seen), np.bool_), np.zeros(len(seen), np.bool_)
        contact_kernels.first_contacts(
            self._sources, self._source_counters, self._contacts, self._contact_counters, self._targets,
            self._target_counters, seen.src, seen.number(rows.ADMIN_PEER), seen.mark(rows.ADMINISTERED),
            seen.start_time_ns, int(self._settings.learning_seconds * 1e9), self._settings.learning_flows,
            self._settings.popular_sources, seen.ordinal, seen.learn,
            fresh, mature,
        )  # fmt: skip
        if not seen.any(rows.ADMINISTERS):
            return None
        thresholds = np.where(mature, 1, self._settings.learning_destinations)
        out = self._episodes.count(
            seen,
            keys=kernels.combine(seen.src, seen.mark(rows.ADMINISTERS).astype(np.int64)),
            members=seen.dst,
            weights=fresh.astype(np.int64),
            graded=mature,
            thresholds=thresholds,
        )
        if out is None:
            return None
        judged = np.minimum(out[:, 6], out[:, 0])
        level = np.full(len(seen), ThreatLevel.LOW, np.uint8)
        level[judged >= self._settings.medium_destinations] = ThreatLevel.MEDIUM
        level[judged >= self._settings.high_destinations] = ThreatLevel.HIGH
        return evidence(
            out,
            measured=out[:, 0].astype(np.float64),
            thresholds=thresholds.astype(np.float64),
            level=level,
            technique=np.maximum(seen.number(rows.ADMIN), 0).astype(np.uint8),
        )

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), "local", None)

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        return (
            f"{seen.source(row)} administered {shown.measured:.0f} internal hosts for the first time within "
            f"{self._settings.window_seconds / 60:g} minutes, with {_NAMES[shown.technique]} "
            f"{seen.destination(row)} ({shown.certain} of them after its ways had been learnt)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._episodes.samples(shown.sample)

    def usage(self) -> Usage:
        held = self._episodes.usage()
        for table, counters in (
            (self._sources, self._source_counters),
            (self._contacts, self._contact_counters),
            (self._targets, self._target_counters),
        ):
            entries, evictions = int(counters[tables.ENTRIES]), int(counters[tables.EVICTIONS])
            held += Usage(entries, len(table), evictions, table.nbytes)
        return held
