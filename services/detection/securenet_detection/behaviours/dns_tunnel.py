"""A source carries data in DNS queries under one registered domain, or to one server.

Definition, per source and registered domain (by the Public Suffix List, its private part included, so that what tenants
of one provider ask for is not added up):
- 15 distinct names in five minutes whose part before the domain is 50 characters long or longer, or is long enough to
  tell and has the entropy of encoded bytes. A hexadecimal digit carries at most 4 bits, a base-32 digit 5; host names
  of people and providers stay below 4 (K. Born, D. Gustafson, "Detecting DNS tunnels using character frequency
  analysis", 2010; SANS, G. Farnham, "Detecting DNS Tunneling", 2013: names over 52 characters).
- 100, 500, 800, 1,000 distinct names in a day for the four levels (RITA v5, exploded DNS).
Where each conversation's first name is all that is known, or none, the requests themselves tell: 150 of them in five
minutes to one server, longer than names of that many characters make them (MITRE ATT&CK T1071.004 and T1048.003).

Names of one's own network, reverse lookups, multicast and NetBIOS names do not count; neither do services that are
asked by checksums or addresses in names (reputation of files, mail, web): the tables stand in :mod:`.names`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import kernels
from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.episodes import Episodes, evidence
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.name_kernels import APEX, APEX_START, ENTROPY, LENGTH, LOCAL, NAME, REPUTATION
from securenet_detection.behaviours.names import QueriedNames, registered
from securenet_detection.behaviours.observation import TCP, UDP, Observation
from securenet_detection.detector_settings import DnsTunnelSettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack, ThreatLevel

Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

#: NetBIOS, multicast DNS and LLMNR: names of neighbours.
_NEIGHBOURS: Final = (137, 5353, 5355)

_SHAPE, _NUMBER, _VOLUME = range(3)


class DnsTunnel:
    """Key: source and registered domain; source and server where no name is known."""

    def __init__(self, settings: DnsTunnelSettings, state: StateSettings) -> None:
        self._settings = settings
        window, day = int(settings.window_seconds * 1e9), int(settings.day_seconds * 1e9)
        self._episodes = (
            Episodes(entities=state.entities, members=state.members, window_ns=window),
            Episodes(entities=state.entities, members=state.members, window_ns=day),
            Episodes(entities=state.entities, members=0, window_ns=window),
        )
        self._steps = (
            settings.low_names, settings.medium_names, settings.high_names, settings.critical_names
        )  # fmt: skip
        self.definition = Definition(
            name="dns-tunnel",
            version="1",
            description="Data in the names that a source asks for under one domain; measured in distinct queries.",
            analytic_type=AnalyticType.BEHAVIORAL,
            thresholds=(
                Threshold("long_names", settings.long_names, "queries", "distinct names shaped like data, for HIGH"),
                Threshold("length", settings.length, "characters", "before the registered domain: shaped like data"),
                Threshold("entropy", settings.entropy, "bits", "per character: shaped like data"),
                Threshold("low_names", settings.low_names, "queries", "distinct names of one domain in a day"),
                Threshold("medium_names", settings.medium_names, "queries", "likewise, for MEDIUM"),
                Threshold("high_names", settings.high_names, "queries", "likewise, for HIGH"),
                Threshold("critical_names", settings.critical_names, "queries", "likewise, for CRITICAL"),
                Threshold("long_queries", settings.long_queries, "queries", "long requests to one server, for MEDIUM"),
                Threshold("window", settings.window_seconds, "seconds", "how far back names shaped like data count"),
            ),
            required_fields=("dns_query",),
            techniques=(Attack.DNS.value, Attack.EXFILTRATION_OVER_DNS.value),
            measure="queries",
            protocols=(TCP, UDP),
            ports=(53,),
        )

    def observe(self, seen: Observation) -> Observed | None:
        pieces: list[tuple[Int64, NDArray[np.uint8], Int64, int]] = []
        if seen.names is not None:
            pieces += self._by_names(seen)
        if seen.any(rows.SERVED):
            thresholds = np.full(len(seen), self._settings.long_queries, np.int64)
            out = self._episodes[_VOLUME].count(
                seen,
                keys=kernels.combine(seen.number(rows.HOSTS), seen.mark(rows.SERVED).astype(np.int64)),
                members=seen.dst,
                weights=seen.number(rows.LONG_QUERIES),
                thresholds=thresholds,
            )
            if out is not None:
                pieces.append((out, np.full(len(seen), ThreatLevel.MEDIUM, np.uint8), thresholds, _VOLUME))
        return _gravest(seen, pieces)

    def _by_names(self, seen: Observation) -> list[tuple[Int64, NDArray[np.uint8], Int64, int]]:
        names, settings = seen.names, self._settings
        if names is None:
            return []
        length = names.column(LENGTH)
        counted = asks_of_others(seen, names) & (length > 0)
        encoded = names.column(ENTROPY) >= round(settings.entropy * 1000)
        shaped = counted & ((length >= settings.length) | encoded)
        keys = kernels.combine(seen.src, names.column(APEX))
        found: list[tuple[Int64, NDArray[np.uint8], Int64, int]] = []
        for which, weights, threshold in ((_SHAPE, shaped, settings.long_names), (_NUMBER, counted, self._steps[0])):
            thresholds = np.full(len(seen), threshold, np.int64)
            out = self._episodes[which].count(
                seen,
                keys=keys,
                members=names.column(NAME),
                weights=weights.astype(np.int64),
                thresholds=thresholds,
            )
            if out is None:
                continue
            level = np.full(len(seen), ThreatLevel.HIGH, np.uint8)
            if which == _NUMBER:
                position = np.searchsorted(self._steps, out[:, 0], side="right")
                level = position.astype(np.uint8)
                thresholds = np.array(self._steps)[np.maximum(position, 1) - 1]
            found.append((out, level, thresholds, which))
        return found

    def scope(self, seen: Observation, row: int) -> Scope:
        # Nothing is read of rows without names: an absent column is made anew whenever somebody asks for it.
        name = None if seen.names is None else seen.batch.texts("dns_query")[row]
        if seen.names is not None and name is not None and asks_of_others(seen, seen.names)[row]:
            return Scope(seen.source(row), registered(name, seen.names.known.item(row, APEX_START)), 53)
        return Scope(seen.source(row), seen.destination(row), 53)

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        which = shown.certain
        source, count, allowed = seen.source(row), f"{shown.measured:.0f}", f"{shown.threshold:.0f}"
        domain = self.scope(seen, row).peers
        minutes = f"{self._settings.window_seconds / 60:g} minutes"
        if which == _VOLUME:
            where = seen.destination(row)
            return f"{source} sent {count} long DNS requests to {where} within {minutes} ({allowed} are allowed)"
        if which == _NUMBER:
            hours = f"{self._settings.day_seconds / 3600:g} hours"
            return f"{source} asked for {count} distinct names under {domain} within {hours} ({allowed} are allowed)"
        return (
            f"{source} asked for {count} distinct names under {domain} that look like encoded data within {minutes} "
            f"({allowed} are allowed)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._episodes[shown.certain].samples(shown.sample)

    def usage(self) -> Usage:
        shape, number, volume = (episodes.usage() for episodes in self._episodes)
        return shape + number + volume


def asks_of_others(seen: Observation, names: QueriedNames) -> Bool:
    """Boolean (n,): rows that ask for a name under a registered domain of somebody else."""
    asking: Bool = (names.known[:, APEX] != 0) & ~names.has(LOCAL | REPUTATION)
    for port in _NEIGHBOURS:
        asking &= seen.dst_port != port
    return asking


def _gravest(seen: Observation, pieces: list[tuple[Int64, NDArray[np.uint8], Int64, int]]) -> Observed | None:
    """Of what several tables say of a row, the gravest; news of any is news. `certain` says which table spoke."""
    if not pieces:
        return None
    levels = np.stack([np.where(out[:, 0] > 0, level, 0) for out, level, _, _ in pieces])
    chosen, where = levels.argmax(axis=0), np.arange(len(seen))
    out = np.stack([out for out, _, _, _ in pieces])[chosen, where]
    events = np.stack([out[:, 1] for out, _, _, _ in pieces])
    out[:, 1] = np.where(out[:, 1] > 0, out[:, 1], events.max(axis=0))
    out[:, 6] = np.array([which for _, _, _, which in pieces])[chosen]
    thresholds = np.stack([threshold for _, _, threshold, _ in pieces])[chosen, where].astype(np.float64)
    return evidence(
        out,
        measured=out[:, 0].astype(np.float64),
        thresholds=thresholds,
        level=levels[chosen, where],
        # What leaves in names that look like data leaves the network; the mere number of names is a channel.
        technique=(out[:, 6] == _SHAPE).astype(np.uint8),
    )
