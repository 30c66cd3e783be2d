"""A host opens connection after connection to one service outside.

Definition: at least 86,400 connections a day, one a second on average, to one destination and port: the strobes of
RITA v5 (Active Countermeasures). Failed connections count: a program whose server is gone strobes as well.

Resolvers ask their name servers that often, so name service and clocks are LOW. Inside the network applications ask
their databases that often, so only what leaves it counts.

Evidence fades after the last connection that was one too many.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.episodes import Episodes, evidence
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.detector_settings import StateSettings, StrobeSettings
from securenet_detection.threats import AnalyticType, Attack, ThreatLevel

_CLOCKED: Final = (53, 123, 853)


class Strobe:
    """Key: source, destination and port."""

    def __init__(self, settings: StrobeSettings, state: StateSettings) -> None:
        self._settings = settings
        self._episodes = Episodes(entities=state.entities, members=0, window_ns=int(settings.window_seconds * 1e9))
        self.definition = Definition(
            name="strobe",
            version="1",
            description="Connections to one service outside, about one a second for a day; measured in connections.",
            analytic_type=AnalyticType.BEHAVIORAL,
            thresholds=(
                Threshold("connections", settings.connections, "connections", "to one destination and port"),
                Threshold("window", settings.window_seconds, "seconds", "how far back is counted"),
            ),
            required_fields=("dst_port",),
            techniques=(Attack.APPLICATION_LAYER_PROTOCOL.value,),
            measure="connections",
        )

    def observe(self, seen: Observation) -> Observed | None:
        if not seen.any(rows.STROBES) and self._episodes.silent:
            return None
        thresholds = np.full(len(seen), self._settings.connections, np.int64)
        out = self._episodes.count(
            seen,
            keys=seen.number(rows.PAIR),
            members=seen.dst,
            weights=seen.mark(rows.STROBES).astype(np.int64),
            thresholds=thresholds,
        )
        if out is None:
            return None
        port = seen.dst_port
        clocked = (port == _CLOCKED[0]) | (port == _CLOCKED[1]) | (port == _CLOCKED[2])
        return evidence(
            out,
            measured=out[:, 0].astype(np.float64),
            thresholds=thresholds.astype(np.float64),
            level=np.where(clocked, ThreatLevel.LOW, ThreatLevel.MEDIUM).astype(np.uint8),
            technique=np.zeros(len(seen), np.uint8),
            # What was measured were flows, one each, and an episode that began again has their window still.
            flows=out[:, 0],
        )

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), seen.destination(row), int(seen.dst_port[row]))

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        return (
            f"{seen.source(row)} opened {shown.measured:.0f} connections to {seen.service(row)} of "
            f"{seen.destination(row)} within {self._settings.window_seconds / 3600:g} hours "
            f"({shown.threshold:.0f} are allowed)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._episodes.samples(shown.sample)

    def usage(self) -> Usage:
        return self._episodes.usage()
