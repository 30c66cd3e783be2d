"""The second look over a capture that has been read: flows that turned out to belong to a finding carry its evidence.

A behaviour stands out when its threshold is reached; the flows before that made it, and in a stream they have had their
verdict already. What is known after the stream: which rows bore the finding's evidence, and the finding itself. A row
belongs to it if it has the finding's entity on the same side, its peer (where there is only one) and its port, and lies
between the detector's window before the evidence began and the end of the evidence. Of a finding about a whole host,
without one peer or port, nothing more is known: what else the host did, or what else came to it, keeps its answer.

It carries the level that the evidence has by itself: the finding may be graver for what else spoke against one flow.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from securenet_client.analysis.rows import AnalyzedRows, DetectorNames, address_bytes, as_void
from securenet_client.detection.convert import Verdicts
from securenet_client.detection.records import Detector, Finding
from securenet_flows.batch import Bool, Int8

#: How far back a behaviour reaches whose detector does not say.
_DEFAULT_WINDOW_NS: Final = 1800 * 10**9

#: Only what entities did over time reaches back; a rule or a model judges each flow alone.
_REACH_BACK: Final = frozenset({"behavioral", "statistical"})

#: Findings of one capture whose rows are traced; later ones keep their streaming answer.
_MOST_FINDINGS: Final = 100_000
#: Episodes of one finding; where there are more the last one grows.
_MOST_EPISODES: Final = 1_000


@dataclass(slots=True)
class _Trace:
    """Where a finding's evidence was seen.

    Attributes:
        detector: whose evidence.
        src, dst: addresses of the first row that bore it.
        protocol: of that row.
        level: the gravest that the evidence had by itself.
        score: the mildest of a row that bore it at that level.
        episodes: [first, last] start times in nanoseconds, apart by more than the detector's window.
    """

    detector: str
    src: bytes
    dst: bytes
    protocol: int
    level: int = 0
    score: float = 1.0
    episodes: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Pattern:
    """Which rows belong to a finding whose entity is on the given side."""

    other: bytes | None
    other_is_local: bool | None
    port: int | None
    protocol: int
    episodes: tuple[tuple[int, int], ...]
    level: int
    score: float
    bit: int


class SecondLook:
    """Gathers evidence while a capture is streamed, then raises the rows that belong to its findings.

    Args:
        detectors: as the service describes them.
    """

    def __init__(self, detectors: Iterable[Detector]) -> None:
        self._windows = {
            detector.name: int((detector.threshold("window") or 0) * 1e9) or _DEFAULT_WINDOW_NS
            for detector in detectors
            if detector.analytic_type in _REACH_BACK
        }
        self._traces: dict[str, _Trace] = {}
        self._seen: set[str] = set()
        self._by_source: dict[bytes, list[_Pattern]] = {}
        self._by_destination: dict[bytes, list[_Pattern]] = {}

    @property
    def finding_ids(self) -> frozenset[str]:
        """Findings whose evidence the capture's rows bore."""
        return frozenset(self._seen)

    def observe(self, rows: AnalyzedRows, verdicts: Verdicts) -> None:
        """Takes the evidence of a batch in."""
        for row, finding_id, detector, level in verdicts.evidence():
            self._seen.add(finding_id)
            if detector not in self._windows:
                continue
            trace = self._traces.get(finding_id)
            if trace is None:
                if len(self._traces) >= _MOST_FINDINGS:
                    continue
                src, dst = rows.src_addr[row].tobytes(), rows.dst_addr[row].tobytes()
                trace = self._traces[finding_id] = _Trace(detector, src, dst, int(rows.protocol[row]))
            if level > trace.level:
                trace.level, trace.score = level, 1.0
            if level == trace.level:
                trace.score = min(trace.score, float(rows.score[row]))
            _extend(trace.episodes, int(rows.start_time_ns[row]), self._windows[detector])

    def resolve(self, findings: Mapping[str, Finding], names: DetectorNames) -> None:
        """Makes patterns of the findings, by id. One that is not there (suppressed, say) raises nothing."""
        for finding_id, trace in self._traces.items():
            finding = findings.get(finding_id)
            if finding is None:
                continue
            entity = address_bytes(finding.entity)
            peers = {address_bytes(peer) for peer in finding.peers if "/" not in peer}
            window = self._windows[trace.detector]
            for side, here, there in (
                (self._by_source, trace.src, trace.dst),
                (self._by_destination, trace.dst, trace.src),
            ):
                if here != entity:
                    continue
                other = there if peers == {there} else None
                if other is None and finding.port is None:
                    break
                pattern = _Pattern(
                    other=other,
                    other_is_local=_common_locality(peers),
                    port=finding.port,
                    protocol=trace.protocol,
                    episodes=tuple((first - window, last) for first, last in trace.episodes),
                    level=min(trace.level, int(finding.threat_level)),
                    score=trace.score,
                    bit=names.bit(trace.detector),
                )
                side.setdefault(entity, []).append(pattern)
                break

    def apply(self, rows: AnalyzedRows) -> AnalyzedRows:
        """The rows with the level, score and detectors of the findings that they belong to."""
        level, score, detectors = rows.level.copy(), rows.score.copy(), rows.detectors.copy()
        scored = rows.level > 0
        for side, patterns, others in (
            (rows.src_addr, self._by_source, rows.dst_addr),
            (rows.dst_addr, self._by_destination, rows.src_addr),
        ):
            if not patterns:
                continue
            distinct, codes = np.unique(as_void(side), return_inverse=True)
            for code, value in enumerate(distinct):
                for pattern in patterns.get(value.tobytes(), ()):
                    at = np.flatnonzero((codes == code) & scored)
                    at = at[_belongs(pattern, rows, others, at)]
                    level[at] = np.maximum(level[at], pattern.level)
                    score[at] = np.maximum(score[at], np.float32(pattern.score))
                    detectors[at] |= np.uint64(pattern.bit)
        return replace(rows, level=level, score=score, detectors=detectors)


def _extend(episodes: list[list[int]], time: int, window: int) -> None:
    """Puts a time into the episode that it lies near to, or begins one."""
    for episode in reversed(episodes[-4:]):
        if episode[0] - window <= time <= episode[1] + window:
            episode[0] = min(episode[0], time)
            episode[1] = max(episode[1], time)
            return
    if len(episodes) < _MOST_EPISODES:
        episodes.append([time, time])
    else:
        episodes[-1][1] = max(episodes[-1][1], time)


def _belongs(
    pattern: _Pattern, rows: AnalyzedRows, others: Int8, at: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> Bool:
    """Boolean over the positions `at`."""
    times = rows.start_time_ns[at]
    inside = np.zeros(len(at), dtype=np.bool_)
    for first, last in pattern.episodes:
        inside |= (times >= first) & (times <= last)
    if pattern.other is not None:
        inside &= as_void(others[at]) == np.void(pattern.other)
    elif pattern.other_is_local is not None:
        inside &= _local(others[at]) == pattern.other_is_local
    if pattern.port is not None:
        # The port of ICMP is 0 in a finding; its type and code stand in the row's ports.
        inside &= rows.protocol[at] == pattern.protocol
        if pattern.port:
            inside &= rows.dst_port[at] == pattern.port
    return inside


def _common_locality(peers: set[bytes]) -> bool | None:
    """Whether all peers are private addresses, or none of them; None where they differ or there are none."""
    kinds = {bool(kind) for kind in _local(np.frombuffer(b"".join(peers), dtype=np.uint8).reshape(-1, 16))}
    return kinds.pop() if len(kinds) == 1 else None


def _local(addresses: Int8) -> Bool:
    distinct, codes = np.unique(as_void(addresses), return_inverse=True)
    kinds = []
    for value in distinct:
        address = ipaddress.IPv6Address(value.tobytes())
        kinds.append((address.ipv4_mapped or address).is_private)
    return np.array(kinds, dtype=np.bool_)[codes]
