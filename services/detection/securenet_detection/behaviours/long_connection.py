"""A host stays connected with one service outside for hours.

Definition: total connected time of a source, destination and port within a day: one hour LOW, four hours MEDIUM, twelve
HIGH, after RITA v5 (Active Countermeasures), which grades 1, 4, 8 and 12 hours. RITA adds durations up; so it
is here, but no quarter of an hour counts for more, so that a browser's six connections do not make a long one.

Services that push messages (web, mail, chat) hold a connection for as long as a computer is on, so to their ports it
takes 4 hours to be LOW and 12 to be MEDIUM, and nothing makes it HIGH. A destination that many of the network's hosts
use (:mod:`.outside`) stays LOW, as does one that pushes where too few hosts are known to tell; only one that is known
to be rare is HIGH. Inside the network file shares, backups and monitoring stay connected all day, so only what leaves
it counts.

Evidence fades after the end of the pair's last stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from securenet_detection.behaviours import long_connection_kernels as loops
from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.entities import Entities, evidence, outputs
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.behaviours.outside import PUSHING, Outside
from securenet_detection.behaviours.prevalence_kernels import UNKNOWN
from securenet_detection.detector_settings import LongConnectionSettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack

_HOUR_MS: Final = 3_600_000
#: More than a window holds.
_NEVER_HOURS: Final = 1e6


class LongConnection:
    """Key: source, destination and port."""

    def __init__(self, settings: LongConnectionSettings, state: StateSettings, outside: Outside) -> None:
        self._outside = outside
        self._window = int(settings.window_seconds * 1000)
        hours = np.array(
            [
                [settings.low_hours, settings.medium_hours, settings.high_hours],
                [settings.web_low_hours, settings.web_medium_hours, _NEVER_HOURS],
                [settings.web_low_hours, _NEVER_HOURS, _NEVER_HOURS],
            ]
        )
        self._steps = np.maximum((hours * _HOUR_MS).astype(np.int64), 1)
        self._pairs = Entities(state.entities, loops.CONNECTED_WIDTH)
        self._parts = np.zeros((state.entities, loops.PARTS), np.int16)
        self.definition = Definition(
            name="long-connection",
            version="1",
            description="Time in which a host was connected with one service outside; measured in hours.",
            analytic_type=AnalyticType.BEHAVIORAL,
            thresholds=(
                Threshold("low_hours", settings.low_hours, "hours", "connected time that is LOW"),
                Threshold("medium_hours", settings.medium_hours, "hours", "MEDIUM, but to popular destinations"),
                Threshold("high_hours", settings.high_hours, "hours", "HIGH, to destinations known to be rare"),
                Threshold("web_low_hours", settings.web_low_hours, "hours", "LOW to services that push"),
                Threshold("web_medium_hours", settings.web_medium_hours, "hours", "MEDIUM to services that push"),
                Threshold("window", settings.window_seconds, "seconds", "how far back is counted"),
            ),
            required_fields=("dst_port", "duration_ns"),
            techniques=(Attack.PROTOCOL_TUNNELING.value,),
            measure="hours",
        )

    def observe(self, seen: Observation) -> Observed | None:
        prevalence = self._outside.prevalence(seen)
        # Multicast outlives every conversation, but nobody answers it, so it is no stay.
        if not seen.any(rows.STAYS) and self._pairs.silent:
            return None
        durations = np.minimum(seen.number(rows.DURATION_MS), self._window)
        pushing = PUSHING[seen.dst_port].astype(np.int64)
        steps = self._steps[pushing + pushing * (prevalence == UNKNOWN)]
        out, sampled = outputs(seen)
        taken, standing = loops.add_connected_time(
            *self._pairs.table, self._parts, seen.number(rows.PAIR), seen.mark(rows.STAYS), durations, steps,
            prevalence, seen.number(rows.TIMES), self._window, seen.ordinal, seen.learn, out, sampled,
        )  # fmt: skip
        self._pairs.keep(seen, sampled[:taken])
        if not standing:
            return None
        seen.claim(out)
        return evidence(out, unit=1 / _HOUR_MS, technique=np.zeros(len(seen), np.uint8))

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), seen.destination(row), int(seen.dst_port[row]))

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        return (
            f"{seen.source(row)} was connected with {seen.service(row)} of {seen.destination(row)} for "
            f"{shown.measured:.1f} hours of a day ({shown.threshold:g} are allowed)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._pairs.samples(shown.sample)

    def usage(self) -> Usage:
        return replace(self._pairs.usage(), bytes=self._pairs.usage().bytes + self._parts.nbytes)
