"""One capture through the detection service, in one look or in two."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from securenet_client.analysis.rows import AnalyzedRows, DetectorNames
from securenet_client.analysis.second_look import SecondLook
from securenet_client.analysis.spill import RowSpill
from securenet_client.detection.convert import Verdicts
from securenet_client.detection.records import Detector, Finding, ModelRef, SkippedDetector
from securenet_flows.batch import FlowBatch

#: Findings of other callers that may have changed since this run's.
_OTHER_FINDINGS: Final = 10_000


def capture_scope(paths: Iterable[str]) -> str:
    """A name for the state of one capture's flows: the same for the same files, so that their findings are too.

    What is no file, standard input say, and no file at all, is another capture each time.
    """
    files = [Path(path) for path in paths]
    if not files or not all(file.exists() for file in files):
        return f"capture-{secrets.token_hex(16)}"
    text = "\0".join(str(file.resolve()) for file in files)
    return f"capture-{blake2b(text.encode('utf-8', 'surrogateescape'), digest_size=16).hexdigest()}"


class DetectionPort(Protocol):
    """What an analysis asks of a detection client."""

    def analyze_batches(
        self, batches: Iterable[FlowBatch], *, state_scope: str = ""
    ) -> Iterator[tuple[FlowBatch, Verdicts]]:
        """Each batch, as it was cut, with its verdicts, in order."""

    def list_detectors(self) -> tuple[Detector, ...]:
        """Every detector."""

    def list_findings(self) -> Iterator[Finding]:
        """Findings, the latest change first."""


@dataclass(slots=True)
class AnalysisSummary:
    """What came of it; complete when the rows are exhausted.

    Attributes:
        rows: flows analysed.
        levels: flows by ThreatLevel number, 0 for those that could not be scored.
        findings: those that the capture's flows belong to, the gravest first.
        model: what scored last.
        skipped: detectors that judged no row of a batch, with the reason.
    """

    rows: int = 0
    levels: list[int] = field(default_factory=lambda: [0] * 5)
    findings: tuple[Finding, ...] = ()
    model: ModelRef | None = None
    skipped: set[SkippedDetector] = field(default_factory=set)


class CaptureAnalysis:
    """Iterate once for the rows in their order; `summary` is complete after that.

    Args:
        client: of the detection service.
        batches: the capture.
        scope: names the state that its flows build up and are judged by; the tenant's own by default.
        once: the streaming answer; else rows come after the whole capture was read, with what was learned later.
        names: of detectors; several analyses may share them.
    """

    def __init__(
        self,
        client: DetectionPort,
        batches: Iterable[FlowBatch],
        *,
        scope: str = "",
        once: bool = False,
        names: DetectorNames | None = None,
    ) -> None:
        self.summary = AnalysisSummary()
        self.names = names or DetectorNames()
        self._client = client
        self._batches = batches
        self._scope = scope
        self._once = once

    def __iter__(self) -> Iterator[AnalyzedRows]:
        look = SecondLook(self._client.list_detectors())
        with RowSpill() as spill:
            for batch, verdicts in self._client.analyze_batches(self._batches, state_scope=self._scope):
                rows = AnalyzedRows.of(batch, verdicts, self.names)
                look.observe(rows, verdicts)
                self.summary.model = verdicts.model or self.summary.model
                self.summary.skipped.update(verdicts.skipped)
                if self._once:
                    yield self._counted(rows)
                else:
                    spill.append(rows)
            findings = self._findings(look.finding_ids)
            self.summary.findings = tuple(sorted(findings.values(), key=lambda f: (-f.risk, f.entity, f.name)))
            if not self._once:
                look.resolve(findings, self.names)
                for rows in spill:
                    yield self._counted(look.apply(rows))

    def _counted(self, rows: AnalyzedRows) -> AnalyzedRows:
        self.summary.rows += len(rows)
        for level in rows.level.tolist():
            self.summary.levels[level] += 1
        return rows

    def _findings(self, wanted: frozenset[str]) -> dict[str, Finding]:
        """The findings of the given ids. This run changed them, so they stand at the head of the list.

        Those that are held back are not listed, so the search ends some way after as many as are wanted.
        """
        found: dict[str, Finding] = {}
        if not wanted:
            return found
        for finding in islice(self._client.list_findings(), len(wanted) + _OTHER_FINDINGS):
            if finding.id in wanted:
                found[finding.id] = finding
                if len(found) == len(wanted):
                    break
        return found
