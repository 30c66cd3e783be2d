"""A host calls one service outside again and again, as regularly as a program does.

Definition: the four subscores of RITA v5 (Active Countermeasures), a quarter each. Each is 0 to 1.

- Timestamps: Bowley's skewness and median absolute deviation of the gaps between calls. RITA takes the value itself,
  which sixteen calls at random times reach now and then; here it is the share of series of as many calls at random
  (a Poisson process) that are less regular, and evidence needs a share of at least `percentile`.
- Sizes: skewness and deviation of what is sent, and how little that is (as RITA up to v4).
- Duration: how much of the observed time, a day at most, the pair has been meeting, or how many consecutive hours of
  twelve.
- Histogram: how level the hours of the pair's life are, or whether they have two heights; in its first six hours, how
  level the quarters of what is remembered are, with more calls the eighths.

Calls that failed are left out, and what came within a second of another call of the pair is the same call. Only what
the network's own hosts ask of others counts: inside, monitoring and clocks are regular on purpose.

A regular call is not yet an attacker's. Clocks are left out: what goes to udp/123 in NTP's own sizes (RFC 5905).
Evidence is LOW, however regular, for name services, which every program asks, and for destinations that many of the
network's hosts use (:mod:`.outside`): mail, updates, certificate status and telemetry are asked by everybody's
programs, a command server by few. Where too few hosts are known to tell, calls of encrypted services that push or
update are LOW as well: every ordinary host has one or two a day that are as regular as any malware. It is HIGH only
where the destination is known to be rare and the score high, which takes hours.

Evidence fades after the last call that was answered, as those that fail show while a command server is gone.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import beacon_kernels as loops
from securenet_detection.behaviours import beacon_null, tables
from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.entities import Entities, evidence, outputs
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.behaviours.outside import PUSHING, Outside
from securenet_detection.behaviours.prevalence_kernels import UNKNOWN
from securenet_detection.detector_settings import BeaconSettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack

#: What pushes in clear is rare by now, and is what command servers speak that need no certificate.
_ENCRYPTED: Final = PUSHING.copy()
_ENCRYPTED[[80, 8080]] = False


class Beacon:
    """Key: source, destination and port.

    A pair that comes back for the third time gets a ring of its last times and sizes; a flood of pairs that meet once
    or twice fills the table of candidates and pushes no ring out.
    """

    def __init__(self, settings: BeaconSettings, state: StateSettings, outside: Outside) -> None:
        self._outside = outside
        self._window = int(settings.window_seconds * 1000)
        self._limits = np.array(
            [round(settings.score * 1000), round(settings.high_score * 1000), round(settings.percentile * 1e6)],
            np.int64,
        )
        self._pairs = Entities(state.rings, loops.WIDTH)
        self._rings = np.zeros((state.rings, 2, loops.RING), np.int64)
        self._candidates = np.zeros((state.entities, 2), np.int64)
        self._kept = np.zeros((state.entities, loops.CANDIDATE_WIDTH), np.int64)
        self._candidate_counters = np.zeros(tables.COUNTERS, np.int64)
        self._clock = np.zeros(1, np.int64)
        self._null, self._shares, self._counts = beacon_null.table()
        self.definition = Definition(
            name="beacon",
            version="1",
            description="Calls of one service outside, as regular as a program's; measured as a score of 0 to 1.",
            analytic_type=AnalyticType.STATISTICAL,
            thresholds=(
                Threshold("calls", float(beacon_null.COUNTS[0]), "calls", "fewest that are judged"),
                Threshold("score", settings.score, "score", "mean of the four subscores"),
                Threshold("percentile", settings.percentile, "probability", "of random series that are less regular"),
                Threshold("high_score", settings.high_score, "score", "from which it is HIGH, to rare destinations"),
                Threshold("window", settings.window_seconds, "seconds", "silence after which a pair begins anew"),
            ),
            required_fields=("dst_port", "orig_bytes", "resp_bytes"),
            techniques=(Attack.APPLICATION_LAYER_PROTOCOL.value, Attack.SCHEDULED_TRANSFER.value),
            measure="score",
        )

    def observe(self, seen: Observation) -> Observed | None:
        # Every batch is counted, also one in which nothing calls as a beacon does.
        prevalence = self._outside.prevalence(seen)
        if not seen.any(rows.CONVERSES) and self._pairs.silent:
            return None
        out, sampled = outputs(seen)
        taken, standing = loops.follow_pairs(
            self._candidates, self._kept, self._candidate_counters, *self._pairs.table, self._rings, self._clock,
            seen.number(rows.PAIR),
            # Without an answer there was no call; this leaves out multicast, too, which nobody answers.
            seen.mark(rows.CONVERSES),
            seen.number(rows.SENT), seen.number(rows.RECEIVED), _ordinary(seen, prevalence), prevalence,
            self._limits, self._null, self._shares, self._counts,
            seen.number(rows.TIMES), self._window, seen.ordinal, seen.learn, out, sampled,
        )  # fmt: skip
        self._pairs.keep(seen, sampled[:taken])
        if not standing:
            return None
        seen.claim(out)
        return evidence(out, unit=0.001, technique=(out[:, 7] & 1).astype(np.uint8))

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), seen.destination(row), int(seen.dst_port[row]))

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        return (
            f"{seen.source(row)} calls {seen.service(row)} of {seen.destination(row)} as regularly as a program: "
            f"{shown.certain >> 1} calls score {shown.measured:.2f} "
            f"({shown.threshold:.2f} is allowed)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._pairs.samples(shown.sample)

    def usage(self) -> Usage:
        candidates = Usage(
            entries=int(self._candidate_counters[tables.ENTRIES]),
            capacity=len(self._candidates),
            evictions=int(self._candidate_counters[tables.EVICTIONS]),
            bytes=self._candidates.nbytes + self._kept.nbytes + self._rings.nbytes,
        )
        return self._pairs.usage() + candidates + self._outside.usage()


def _ordinary(seen: Observation, prevalence: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Boolean (n,): services that are called regularly by programs of all kinds, as far as is known."""
    names = seen.mark(rows.NAME_PORT)
    pushing: NDArray[np.bool_] = _ENCRYPTED.take(seen.dst_port)
    return names | (pushing & (prevalence == UNKNOWN)) if np.count_nonzero(pushing) else names
