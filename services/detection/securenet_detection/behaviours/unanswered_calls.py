"""A host calls one service outside again and again, and nobody answers.

Definition: at least 30 TCP connections of one of the network's own hosts to one port of one destination outside that
failed within an hour. Malware whose command server was taken down goes on calling it, for weeks and every few seconds;
honest programs wait longer each time, as TCP itself does (RFC 6298, 5.5), or give up.

Programs for the web and for what pushes do try again, and a firewall makes them fail: to their ports it is LOW. So it
is at calls of the same service that were answered. A partner's service that is down for long looks the same.
"""

from __future__ import annotations

import numpy as np

from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.episodes import Episodes, evidence
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import TCP, Observation
from securenet_detection.behaviours.outside import PUSHING
from securenet_detection.detector_settings import StateSettings, UnansweredCallsSettings
from securenet_detection.threats import AnalyticType, Attack, ThreatLevel


class UnansweredCalls:
    """Key: source, destination and port."""

    def __init__(self, settings: UnansweredCallsSettings, state: StateSettings) -> None:
        self._settings = settings
        self._episodes = Episodes(entities=state.entities, members=0, window_ns=int(settings.window_seconds * 1e9))
        self.definition = Definition(
            name="unanswered-calls",
            version="1",
            description="Connections to one service outside that nobody answered; measured in connections.",
            analytic_type=AnalyticType.BEHAVIORAL,
            thresholds=(
                Threshold("connections", settings.connections, "connections", "to one destination and port"),
                Threshold("window", settings.window_seconds, "seconds", "how far back is counted"),
            ),
            required_fields=("dst_port", "conn_state"),
            techniques=(Attack.APPLICATION_LAYER_PROTOCOL.value,),
            measure="connections",
            protocols=(TCP,),
        )

    def observe(self, seen: Observation) -> Observed | None:
        if not seen.any(rows.UNANSWERED) and self._episodes.silent:
            return None
        thresholds = np.full(len(seen), self._settings.connections, np.int64)
        out = self._episodes.count(
            seen,
            keys=seen.number(rows.PAIR),
            members=seen.dst,
            weights=seen.mark(rows.UNANSWERED).astype(np.int64),
            thresholds=thresholds,
        )
        if out is None:
            return None
        ordinary = ~seen.failed | PUSHING[seen.dst_port]
        return evidence(
            out,
            measured=out[:, 0].astype(np.float64),
            thresholds=thresholds.astype(np.float64),
            level=np.where(ordinary, ThreatLevel.LOW, ThreatLevel.MEDIUM).astype(np.uint8),
            technique=np.zeros(len(seen), np.uint8),
            # What was measured were flows, one each, and an episode that began again has their window still.
            flows=out[:, 0],
        )

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), seen.destination(row), int(seen.dst_port[row]))

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        return (
            f"{seen.source(row)} called {seen.service(row)} of {seen.destination(row)} {shown.measured:.0f} "
            f"times within {self._settings.window_seconds / 60:g} minutes without an answer "
            f"({shown.threshold:.0f} are allowed)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._episodes.samples(shown.sample)

    def usage(self) -> Usage:
        return self._episodes.usage()
