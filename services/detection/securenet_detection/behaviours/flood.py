"""A host is flooded: connections that come to nothing, or datagrams that nobody answers, faster than anybody talks.

Definition: within ten seconds at least 100 connections a second from at least 50 sources, or at least 5,000 packets a
second from however many, to one destination. Only what has a flood's shape counts: TCP without a byte either way that
was not closed in order (half-open, refused, reset), and datagrams without an answer. ATT&CK T1498 and T1499; the count
of sources tells it from a scan, which comes from one (Moore, Voelker, Savage, "Inferring Internet denial-of-service
activity", USENIX Security 2001, have floods of half-open connections from forged sources as their model).

The entity is the victim. Evidence is attached to flows of the flood's shape alone: what others talk about with the
victim meanwhile is theirs. Floods of requests that are answered are not seen: by their shape they are visitors.
Evidence fades after the last flow at which the victim was flooded.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import flood_kernels as loops
from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.entities import Entities, evidence, outputs
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import TCP, Observation
from securenet_detection.behaviours.outside import bits_of
from securenet_detection.detector_settings import FloodSettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack

_BITMAP: Final = 64
#: More sources than this the bitmap cannot tell apart.
_TOLD: Final = 150


class Flood:
    """Key: destination."""

    def __init__(self, settings: FloodSettings, state: StateSettings) -> None:
        self._settings = settings
        self._window = int(settings.window_seconds * 1000)
        self._hold = int(settings.hold_seconds * 1000)
        seconds = settings.window_seconds
        self._limits = np.array(
            [
                max(1, settings.connections_per_second * seconds),
                int(bits_of(np.array([settings.sources], np.float64), _BITMAP)[0]),
                max(1, settings.packets_per_second * seconds),
            ]
        ).astype(np.int64)
        self._victims = Entities(state.entities, loops.FLOOD_WIDTH, peers="src")
        self.definition = Definition(
            name="flood",
            version="1",
            description="Connections that come to nothing, or unanswered packets, a second; of one destination.",
            analytic_type=AnalyticType.BEHAVIORAL,
            thresholds=(
                Threshold("connections", settings.connections_per_second, "connections/s", "from many sources"),
                Threshold("sources", settings.sources, "sources", "that are many"),
                Threshold("packets", settings.packets_per_second, "packets/s", "from however many sources"),
                Threshold("window", settings.window_seconds, "seconds", "how far back is counted"),
                Threshold("hold", settings.hold_seconds, "seconds", "how long evidence lasts"),
            ),
            required_fields=("conn_state",),
            techniques=(Attack.NETWORK_DENIAL_OF_SERVICE.value, Attack.ENDPOINT_DENIAL_OF_SERVICE.value),
            measure="per_second",
        )

    def observe(self, seen: Observation) -> Observed | None:
        if not seen.any(rows.FLOODS):
            return None
        shaped = seen.mark(rows.FLOODS)
        out, sampled = outputs(seen)
        packets = self._packets(seen, shaped)
        taken, standing = loops.add_flood(
            *self._victims.table, seen.dst, seen.src, shaped, packets, seen.src_local & seen.dst_local, self._limits,
            seen.number(rows.TIMES), self._window, self._hold, seen.ordinal, seen.learn, out, sampled,
        )  # fmt: skip
        self._victims.keep(seen, sampled[:taken])
        if not standing:
            return None
        seen.claim(out)
        return evidence(
            out,
            unit=1 / self._settings.window_seconds,
            # Half-open connections exhaust the victim, datagrams the way to it.
            technique=(seen.protocol == TCP).astype(np.uint8),
        )

    def _packets(self, seen: Observation, shaped: NDArray[np.bool_]) -> NDArray[np.int64]:
        """int64 (n,): packets to the victim within a window; at least one a flow."""
        where = np.flatnonzero(shaped)
        packets = np.ones(len(seen), np.int64)
        sent = np.clip(seen.batch.number("orig_pkts")[where].astype(np.int64), 1, rows.MOST_OF_A_FLOW)
        lasts = seen.batch.number("duration_ns")[where].astype(np.float64) / (self._settings.window_seconds * 1e9)
        packets[where] = np.maximum(sent / np.maximum(lasts, 1.0), 1.0).astype(np.int64)
        return packets

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.destination(row), "", None)

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        beside = shown.certain
        what = "packets without an answer" if beside & 1 else "connections that come to nothing"
        bits = min(beside >> 1, _BITMAP - 1)
        number = round(-_BITMAP * math.log1p(-bits / _BITMAP))
        sources = (
            "one source" if number == 1 else f"about {number} sources" if number < _TOLD else f"over {_TOLD} sources"
        )
        return (
            f"{seen.destination(row)} gets {shown.measured:.0f} {what} a second from {sources} "
            f"({shown.threshold:.0f} a second are allowed)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._victims.samples(shown.sample)

    def usage(self) -> Usage:
        return self._victims.usage()
