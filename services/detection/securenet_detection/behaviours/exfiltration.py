"""A host sends far more to one place outside than it gets back.

Definition: at least 500 MB within an hour from one source to one destination outside, of which (out − in) / (out + in)
is at least 0.8; or at least 50 MB and eight times what the source hardly ever passes in an hour. A source's usual is
the 99 % quantile of its bytes out an hour over the hours in which it sent anything, known from 24 such hours on; it is
kept as a histogram by powers of two, so it is right to a factor of two. ATT&CK T1041 and T1048; the asymmetry is the
producer-consumer ratio of C. Bullard, "Argus", FloCon 2014.

A backup looks the same the first time: it is MEDIUM then, and LOW once a source is known to send that much. HIGH needs
both, 500 MB and far more than usual. Flows that send less than 4 KiB add to nothing but what came back, flows that
nobody answered carry nothing away (those are a flood's), and flows that last longer than the window count by the share
of them that fits. Evidence fades after the last upload that made it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from securenet_detection.behaviours import exfiltration_kernels as loops
from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours import tables
from securenet_detection.behaviours.entities import Entities, evidence, outputs, within
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.detector_settings import ExfiltrationSettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack

#: Ports on which command and control comes; what leaves on others leaves by another protocol.
_WEB: Final = (80, 443, 8080, 8443)


class Exfiltration:
    """Key: source and destination."""

    def __init__(self, settings: ExfiltrationSettings, state: StateSettings) -> None:
        self._settings = settings
        self._window = int(settings.window_seconds * 1000)
        self._limits = np.array(
            [settings.bytes, settings.unusual_bytes, settings.unusual_times, settings.history_hours], np.int64
        )
        self._pairs = Entities(state.entities, loops.UPLOAD_WIDTH)
        self._source_index = np.zeros((state.sources, 2), np.int64)
        self._source_rows = np.zeros((state.sources, loops.SOURCE_WIDTH), np.int64)
        self._source_counters = np.zeros(tables.COUNTERS, np.int64)
        self.definition = Definition(
            name="exfiltration",
            version="1",
            description="Bytes that a host sent to one place outside without getting much back; measured in bytes.",
            analytic_type=AnalyticType.BEHAVIORAL,
            thresholds=(
                Threshold("bytes", settings.bytes, "bytes", "whoever sends them"),
                Threshold("unusual_bytes", settings.unusual_bytes, "bytes", "fewest that stand out as unusual"),
                Threshold("unusual_times", settings.unusual_times, "ratio", "of what the source hardly ever passes"),
                Threshold("history_hours", settings.history_hours, "hours", "with traffic, to know what is usual"),
                Threshold("asymmetry", settings.asymmetry, "ratio", "(out − in) / (out + in)"),
                Threshold("window", settings.window_seconds, "seconds", "how far back is counted"),
            ),
            required_fields=("orig_bytes", "resp_bytes"),
            techniques=(Attack.EXFILTRATION_OVER_C2.value, Attack.EXFILTRATION_OVER_ALTERNATIVE.value),
            measure="bytes",
        )

    def observe(self, seen: Observation) -> Observed | None:
        window = self._settings.window_seconds
        if not seen.any(rows.CALLS) and self._pairs.silent:
            return None
        out, sampled = outputs(seen)
        taken, standing = loops.add_uploads(
            *self._pairs.table, self._source_index, self._source_rows, self._source_counters,
            seen.number(rows.HOSTS), seen.src, seen.mark(rows.CALLS),
            within(seen.number(rows.SENT), seen, window), within(seen.number(rows.RECEIVED), seen, window),
            self._limits, self._settings.asymmetry, seen.number(rows.TIMES), self._window, seen.ordinal, seen.learn,
            out, sampled,
        )  # fmt: skip
        self._pairs.keep(seen, sampled[:taken])
        if not standing:
            return None
        seen.claim(out)
        return evidence(out, technique=(~np.isin(seen.dst_port, _WEB)).astype(np.uint8))

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), seen.destination(row), None)

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        return (
            f"{seen.source(row)} sent {shown.measured / 1e6:.0f} MB to {seen.destination(row)} within "
            f"{self._settings.window_seconds / 60:g} minutes and got little back "
            f"({shown.threshold / 1e6:.0f} MB are allowed)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._pairs.samples(shown.sample)

    def usage(self) -> Usage:
        sources = Usage(
            entries=int(self._source_counters[tables.ENTRIES]),
            capacity=len(self._source_index),
            evictions=int(self._source_counters[tables.EVICTIONS]),
            bytes=self._source_index.nbytes + self._source_rows.nbytes,
        )
        return self._pairs.usage() + sources
