"""A host works for a mining pool.

Definition: an answered connection in which the sensor recognised a mining protocol (Stratum, Ethereum's getwork) by its
content, as nDPI and Suricata do; one is enough, since nobody speaks it by accident. MITRE ATT&CK T1496.001, Resource
Hijacking: Compute Hijacking. Zeek does not know the protocol; without a sensor that does, or inside TLS, a pool is a
long connection like others.
"""

from __future__ import annotations

import numpy as np

from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.episodes import Episodes, evidence
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import TCP, Observation
from securenet_detection.detector_settings import CryptominingSettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack, ThreatLevel


class Cryptomining:
    """Key: source, destination and port."""

    def __init__(self, settings: CryptominingSettings, state: StateSettings) -> None:
        self._episodes = Episodes(entities=state.entities, members=0, window_ns=int(settings.window_seconds * 1e9))
        self.definition = Definition(
            name="cryptomining",
            version="1",
            description="Connections in which a mining protocol was recognised; measured in flows.",
            analytic_type=AnalyticType.RULE,
            thresholds=(Threshold("window", settings.window_seconds, "seconds", "how long evidence lasts"),),
            required_fields=("service", "dst_port"),
            techniques=(Attack.COMPUTE_HIJACKING.value,),
            measure="flows",
            protocols=(TCP,),
        )

    def observe(self, seen: Observation) -> Observed | None:
        if not seen.any(rows.MINES) and self._episodes.silent:
            return None
        out = self._episodes.count(
            seen,
            keys=seen.number(rows.PORT_PAIR),
            members=seen.dst,
            weights=seen.mark(rows.MINES).astype(np.int64),
            thresholds=np.ones(len(seen), np.int64),
        )
        if out is None:
            return None
        return evidence(
            out,
            measured=out[:, 0].astype(np.float64),
            thresholds=np.ones(len(seen)),
            level=np.where(seen.src_local, ThreatLevel.HIGH, ThreatLevel.MEDIUM).astype(np.uint8),
            technique=np.zeros(len(seen), np.uint8),
        )

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), seen.destination(row), int(seen.dst_port[row]))

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        return (
            f"{seen.source(row)} mines at {seen.service(row)} of {seen.destination(row)} "
            f"({shown.measured:.0f} connections)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._episodes.samples(shown.sample)

    def usage(self) -> Usage:
        return self._episodes.usage()
