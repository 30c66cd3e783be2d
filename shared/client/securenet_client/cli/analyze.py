"""`securenet analyze`: a verdict for each flow of each capture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from securenet_client.cli.invocation import ExitCode, Invocation, Level, add_command

if TYPE_CHECKING:
    from securenet_client.analysis.capture import AnalysisSummary
    from securenet_client.analysis.rows import AnalyzedRows, DetectorNames

COLUMNS: Final = (
    "flow_id", "start_time", "src_ip", "src_port", "dst_ip", "dst_port", "protocol", "threat_level", "score",
    "detectors", "label",
)  # fmt: skip
_FINDING_COLUMNS: Final = (
    "threat_level",
    "risk",
    "entity",
    "detectors",
    "techniques",
    "peers",
    "port",
    "count",
    "summary",
)

#: Rows of a table on the screen: the gravest. Other forms write every row.
_SHOWN_ROWS: Final = 30
_SHOWN_PEERS: Final = 3
#: Rows that are turned into text at once.
_PIECE: Final = 4096


def register(application: typer.Typer) -> None:
    """Adds the command."""
    add_command(
        application,
        analyze,
        "analyze",
        examples=(
            "securenet analyze conn.log --embedded",
            "securenet analyze /var/log/zeek/2025-03-03 --output jsonl --findings findings.jsonl --fail-on high",
            "zcat eve.json.gz | securenet analyze - --output csv",
        ),
    )


def analyze(
    run: Invocation,
    *,
    paths: Annotated[list[str], typer.Argument(help="Files, directories, or - for standard input.", metavar="PATH…")],
    findings: Annotated[
        Path | None, typer.Option(help="Also write the findings of this run, a JSON line each.")
    ] = None,
    fail_on: Annotated[Level | None, typer.Option(help="Exit with 1 where a flow or finding is at or above.")] = None,
    once: Annotated[bool, typer.Option("--once", help="The streaming answer; do not look twice.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first record that cannot be read.")] = False,
    model: Annotated[str, typer.Option(help="With --embedded: the model to serve; by default the last promoted.")] = "",
) -> int:
    """Give a verdict for each flow of flow logs and packet captures.

    Reads Zeek (TSV, JSON), Suricata EVE, NetFlow, Argus, CICFlowMeter, UNSW-NB15 and NSL-KDD CSV, and pcap, whatever
    the file's name. Flows that turn out to belong to a finding carry its level even where they came before the
    threshold.
    """
    from securenet_client.cli.captures import Analyst, Reading  # noqa: PLC0415 - start-up must be quick

    reading = Reading(run, strict=strict)
    analyst = Analyst(run, reading.find(paths), model=model, once=once)
    report = _Report(analyst.names)
    written = None if findings is None else findings.open("w", encoding="utf-8")
    try:
        rows = report.follow(run, analyst)
        if run.out.form == "table":
            _exhaust(rows)
        else:
            run.out.records(rows, COLUMNS)
        if written is not None:
            for finding in report.findings:
                written.write(json.dumps(finding, ensure_ascii=False) + "\n")
    finally:
        if written is not None:
            written.close()
    if run.out.form == "table":
        report.show(run)
    report.summarize(run)
    reading.summarize()
    if reading.bad_files:
        return ExitCode.WRONG_USAGE
    return ExitCode.FOUND if fail_on is not None and report.worst >= fail_on.number else ExitCode.CLEAN


class _Report:
    """What is known of all captures so far."""

    def __init__(self, names: DetectorNames) -> None:
        self._names = names
        self.rows = 0
        self.levels = [0] * 5
        self.findings: list[dict[str, Any]] = []
        self.gravest: list[dict[str, Any]] = []
        self.model = ""
        self.skipped: set[str] = set()
        self.failed = 0

    @property
    def worst(self) -> int:
        """The highest level of a flow or finding, as a number."""
        of_flows = max((level for level, count in enumerate(self.levels) if count), default=0)
        return max([of_flows, *(Level(finding["threat_level"]).number for finding in self.findings)])

    def follow(self, run: Invocation, analyst: Any) -> Iterator[dict[str, Any]]:
        """Every row of every capture; in a table's case only the gravest are made and kept."""
        with run.out.progress() as progress:
            for capture, analysis in analyst:
                task = progress.add_task(capture.name, total=None, detail="")
                for rows in analysis:
                    progress.update(task, detail=f"{analysis.summary.rows:,} flows")
                    if run.out.form == "table":
                        self._keep_gravest(rows)
                    else:
                        yield from rows.records(self._names)
                progress.remove_task(task)
                self._add(capture.name, analysis.summary)

    def _keep_gravest(self, rows: AnalyzedRows) -> None:
        marked = rows.at_or_above(2).nonzero()[0].tolist()  # type: ignore[arg-type]  # MEDIUM
        if marked:
            kept = [*self.gravest, *rows.records(self._names, marked)]
            self.gravest = sorted(kept, key=lambda row: (-Level(row["threat_level"]).number, -row["score"]))[
                :_SHOWN_ROWS
            ]

    def _add(self, capture: str, summary: AnalysisSummary) -> None:
        self.rows += summary.rows
        self.levels = [a + b for a, b in zip(self.levels, summary.levels, strict=True)]
        self.findings += [{**finding.as_dict(), "capture": capture} for finding in summary.findings]
        self.model = summary.model.name if summary.model else self.model
        self.skipped |= {f"{skipped.detector}: {skipped.reason}" for skipped in summary.skipped}

    def show(self, run: Invocation) -> None:
        """Tables: the gravest flows, then the findings."""
        if self.gravest:
            columns = [column for column in COLUMNS if column != "label" or any(row["label"] for row in self.gravest)]
            run.out.records(self.gravest, columns, "The gravest flows")
        show_findings(run, self.findings)

    def summarize(self, run: Invocation) -> None:
        """Counts on stderr."""
        counts = ", ".join(
            f"{count:,} {level.value}" for level, count in zip(Level, self.levels[1:], strict=True) if count
        )
        run.out.say(
            f"{self.rows:,} flows: {counts or 'none'}; {len(self.findings)} findings; model: {self.model or 'none'}"
        )
        if self.levels[0]:
            run.out.say(f"{self.levels[0]:,} flows could not be scored; their records say why")
        for skipped in sorted(self.skipped):
            run.out.say(f"not judged somewhere by {skipped}")


def show_findings(run: Invocation, findings: list[dict[str, Any]], title: str = "Findings") -> None:
    """A table of findings, with a few of their peers."""
    if not findings:
        return
    rows = [
        {
            **finding,
            "peers": [*finding["peers"][:_SHOWN_PEERS], *(["…"] if len(finding["peers"]) > _SHOWN_PEERS else [])],
        }
        for finding in findings
    ]
    columns = (
        ("capture", *_FINDING_COLUMNS)
        if len({finding.get("capture") for finding in findings}) > 1
        else _FINDING_COLUMNS
    )
    run.out.records(rows, columns, title)


def _exhaust(rows: Iterator[Any]) -> None:
    for _ in rows:
        pass
