"""Two hosts talk through echo requests: payload volume or size out of shape.

Definition: RFC 792 has the receiver of an echo request return its data unchanged, and the programs that people ping
with send one size over and over (32 bytes Windows, 48 or 56 Unix, 64, up to 1472 to fill a frame; RFC 1122 leaves the
size to the sender). Data that is carried in echoes breaks both rules: sizes vary, and what comes back is not what was
sent. Flows show the sums only, so a flow is out of shape where its payload does not divide evenly by its packets, or
where the mean sizes of the two directions differ; what such flows of a pair carry beyond 64 bytes a packet is summed
over ten minutes. Echoes in shape count by their whole payload against a far higher limit: nobody pings by the megabyte.
Error messages quote the packet that they are about and are left out, as are neighbour discovery and multicast.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import kernels
from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.episodes import Episodes, evidence
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.detector_settings import IcmpTunnelSettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack, ThreatLevel

Int64 = NDArray[np.int64]

#: Echo requests and replies of both versions; sensors that record no type leave it at 0.
_ECHO: Final = (0, 8, 128, 129)

#: Payload of one packet that any ping may have.
_USUAL_BYTES: Final = 64

#: No flow counts for more, so that sums stay far from the end of their range whatever a log says.
_MOST: Final = 1 << 36

_ELSE, _IN_SHAPE, _OUT_OF_SHAPE = range(3)


class IcmpTunnel:
    """Key: source, destination, and whether the echoes are in shape."""

    def __init__(self, settings: IcmpTunnelSettings, state: StateSettings) -> None:
        self._settings = settings
        self._episodes = Episodes(entities=state.entities, members=0, window_ns=int(settings.window_seconds * 1e9))
        self.definition = Definition(
            name="icmp-tunnel",
            version="1",
            description="Payload that two hosts exchange in echo messages beyond what pings carry; measured in bytes.",
            analytic_type=AnalyticType.BEHAVIORAL,
            thresholds=(
                Threshold("irregular_bytes", settings.irregular_bytes, "bytes", "payload of echoes of varying size"),
                Threshold("regular_bytes", settings.regular_bytes, "bytes", "payload of echoes of one size"),
                Threshold("window", settings.window_seconds, "seconds", "how far back is counted"),
            ),
            required_fields=("orig_bytes", "orig_pkts"),
            techniques=(Attack.NON_APPLICATION_LAYER_PROTOCOL.value,),
            measure="bytes",
            protocols=(1, 58),
        )

    def observe(self, seen: Observation) -> Observed | None:
        if not seen.any(rows.ICMP):
            return None
        kind, weights, unequal = _shapes(seen, seen.mark(rows.ICMP))
        limits = np.array([1, self._settings.regular_bytes, self._settings.irregular_bytes], np.int64)
        thresholds = limits[kind]
        out = self._episodes.count(
            seen,
            keys=kernels.combine(seen.number(rows.HOSTS), kind),
            members=seen.dst,
            weights=weights,
            graded=unequal,
            thresholds=thresholds,
        )
        if out is None:
            return None
        # Varying sizes may be somebody who tries sizes; answers that are not the question are never a ping.
        answered = (kind == _OUT_OF_SHAPE) & (out[:, 6] >= thresholds)
        return evidence(
            out,
            measured=out[:, 0].astype(np.float64),
            thresholds=thresholds.astype(np.float64),
            level=np.where(answered, ThreatLevel.HIGH, ThreatLevel.MEDIUM).astype(np.uint8),
            technique=np.zeros(len(seen), np.uint8),
        )

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), seen.destination(row), None)

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        what = "whose answers differ from the requests" if shown.level == ThreatLevel.HIGH else "out of shape"
        return (
            f"{seen.source(row)} exchanged {shown.measured:.0f} bytes with {seen.destination(row)} in echo "
            f"messages {what} within {self._settings.window_seconds / 60:g} minutes "
            f"({shown.threshold:.0f} are allowed)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._episodes.samples(shown.sample)

    def usage(self) -> Usage:
        return self._episodes.usage()


def _shapes(seen: Observation, icmp: NDArray[np.bool_]) -> tuple[Int64, Int64, NDArray[np.bool_]]:
    """int64 (n,) kind of each row, int64 (n,) bytes that it counts for, and where the answers differ from requests."""
    # Few flows of a batch are echoes.
    at = np.flatnonzero(icmp & ~seen.dst_group)
    at = at[np.isin(seen.batch.number("src_port")[at], _ECHO)]
    sent, received, packets, answers = (
        np.clip(seen.batch.number(name)[at].astype(np.int64), 0, _MOST)
        for name in ("orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts")
    )
    known = (packets > 0) & (sent > 0)
    mean, mean_back = sent / np.maximum(packets, 1), received / np.maximum(answers, 1)
    differs = known & (answers > 0) & (mean != mean_back)
    irregular = (sent % np.maximum(packets, 1) != 0) | differs
    usual = _USUAL_BYTES
    beyond = np.maximum(sent - usual * packets, 0) + np.maximum(received - usual * answers, 0)
    kind, weights, unequal = np.full(len(seen), _ELSE), np.zeros(len(seen), np.int64), np.zeros(len(seen), np.bool_)
    kind[at] = np.where(known, np.where(irregular, _OUT_OF_SHAPE, _IN_SHAPE), _ELSE)
    weights[at] = np.minimum(np.where(known, np.where(irregular, beyond, sent + received), 0), _MOST)
    unequal[at] = differs
    return kind, weights, unequal
