"""A source guesses passwords of one service of one host.

Definition: at least 30 attempts within 30 minutes (Zeek's policy for SSH: 30 failed logins in 30 minutes).
Where the sensor judged the login, an attempt is what it judged to have failed: SSH logins without success, HTTP 401.
Elsewhere it is a short exchange with an authentication service that ended after the few packets of a refused login, and
the evidence is one level lower, since it rests on shape alone.

Ten attempts within two minutes are LOW: faster than a person types, but automation that logs in has that pace, too.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.episodes import Episodes, evidence
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.detector_settings import BruteForceSettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack, ThreatLevel

#: Columns by which sensors tell how a log-in went.
_JUDGING: Final = frozenset({"ssh_auth_success", "http_status_code"})
_UNAUTHORIZED: Final = 401

#: What happens in minutes needs little memory.
_BURST_ENTITIES: Final = 1 << 13

#: One connection does not stand for more attempts than this, whatever its log says.
_ATTEMPTS: Final = 100


class BruteForce:
    """Key: source, destination and port."""

    def __init__(self, settings: BruteForceSettings, state: StateSettings) -> None:
        self._settings = settings
        self._episodes = Episodes(entities=state.entities, members=0, window_ns=int(settings.window_seconds * 1e9))
        self._bursts = Episodes(
            entities=min(state.entities, _BURST_ENTITIES), members=0, window_ns=int(settings.burst_seconds * 1e9)
        )
        self.definition = Definition(
            name="brute-force",
            version="1",
            description="Failed logins, or short exchanges shaped like one, with one service; measured in attempts.",
            analytic_type=AnalyticType.BEHAVIORAL,
            thresholds=(
                Threshold("attempts", settings.attempts, "attempts", "failed logins at one service of one host"),
                Threshold("window", settings.window_seconds, "seconds", "how far back is counted"),
                Threshold("burst_attempts", settings.burst_attempts, "attempts", "within burst_window, for LOW"),
                Threshold("burst_window", settings.burst_seconds, "seconds", "how far back a burst is counted"),
                Threshold("max_duration", settings.max_duration_seconds, "seconds", "longest exchange that counts"),
                Threshold("max_bytes", settings.max_bytes, "bytes", "largest payload of either side that counts"),
            ),
            required_fields=("dst_port", "orig_bytes", "resp_bytes"),
            techniques=(Attack.PASSWORD_GUESSING.value,),
            measure="attempts",
        )

    def observe(self, seen: Observation) -> Observed | None:
        if not may_attempt(seen) and self._episodes.silent and self._bursts.silent:
            return None
        weights, judged = attempts(seen, self._settings)
        keys = seen.number(rows.PORT_PAIR)
        found = [
            (limit, episodes.count(seen, keys=keys, members=seen.dst, weights=weights, graded=judged, thresholds=limit))
            for limit, episodes in (
                (np.full(len(seen), self._settings.attempts, np.int64), self._episodes),
                (np.full(len(seen), self._settings.burst_attempts, np.int64), self._bursts),
            )
        ]
        (thresholds, out), (fewer, burst) = found
        if out is None and burst is None:
            return None
        level = np.full(len(seen), ThreatLevel.LOW, np.uint8)
        if out is not None:
            level[out[:, 0] > 0] = ThreatLevel.MEDIUM
            level[out[:, 6] >= thresholds] = ThreatLevel.HIGH
        else:
            out = np.zeros_like(burst)
        if burst is not None:
            alone = out[:, 0] == 0
            out[alone], thresholds[alone], level[alone] = burst[alone], fewer[alone], ThreatLevel.LOW
        return evidence(
            out,
            measured=out[:, 0].astype(np.float64),
            thresholds=thresholds.astype(np.float64),
            level=level,
            technique=np.zeros(len(seen), np.uint8),
        )

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), seen.destination(row), int(seen.dst_port[row]))

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        judged = shown.certain >= shown.threshold
        what = "failed to log in" if judged else "made short exchanges that look like refused logins"
        burst = shown.level == ThreatLevel.LOW
        seconds = self._settings.burst_seconds if burst else self._settings.window_seconds
        return (
            f"{seen.source(row)} {what} {shown.measured:.0f} times at {seen.service(row)} of "
            f"{seen.destination(row)} within {seconds / 60:g} minutes ({shown.threshold:.0f} are allowed)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        episodes = self._bursts if shown.level == ThreatLevel.LOW else self._episodes
        return episodes.samples(shown.sample)

    def usage(self) -> Usage:
        return self._episodes.usage() + self._bursts.usage()


def may_attempt(seen: Observation) -> bool:
    """Whether any row may stand for an attempt to log in."""
    return seen.any(rows.LOGINS) or not _JUDGING.isdisjoint(seen.batch.numeric)


def attempts(seen: Observation, settings: BruteForceSettings) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """int64 (n,) attempts that each row stands for, and which rows the sensor judged to have failed."""
    batch = seen.batch
    sent, received = batch.number("orig_bytes").astype(np.int64), batch.number("resp_bytes").astype(np.int64)
    limit = settings.max_bytes
    # Both sides spoke, so it was no scan; little and briefly, so nobody worked there.
    short = (sent > 0) & (received > 0) & (sent <= limit) & (received <= limit)
    if "duration_ns" in batch.numeric:
        short &= batch.number("duration_ns").astype(np.int64) <= int(settings.max_duration_seconds * 1e9)
    weights = (seen.mark(rows.LOGINS) & short).astype(np.int64)
    judged = np.zeros(len(seen), np.bool_)
    if "ssh_auth_success" in batch.numeric:
        verdict, success = batch.has("ssh_auth_success"), batch.number("ssh_auth_success")
        judged = verdict & (success == 0)
        attempts = np.clip(batch.number("ssh_auth_attempts").astype(np.int64), 1, _ATTEMPTS)
        weights = np.where(judged, attempts, np.where(verdict, 0, weights))
    if "http_status_code" in batch.numeric:
        refused = batch.has("http_status_code") & (batch.number("http_status_code") == _UNAUTHORIZED)
        judged = judged | refused
        weights = np.where(refused, 1, weights)
    return weights, judged
