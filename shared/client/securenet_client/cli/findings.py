"""`securenet findings`: incidents that detection keeps."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from math import isnan
from typing import Annotated, Any, Final

import typer

from securenet_client.cli import suppressions
from securenet_client.cli.analyze import show_findings
from securenet_client.cli.invocation import ExitCode, Invocation, Level, OutputFormat, add_command

_COLUMNS: Final = (
    "finding_id",
    "status",
    "threat_level",
    "risk",
    "entity",
    "detectors",
    "last_seen",
    "count",
    "summary",
)


def register(application: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="List, show, watch and update findings.", no_args_is_help=True)
    add_command(group, list_findings, "list", examples=("securenet findings list --level high --since 24h",))
    add_command(group, show, "show", examples=("securenet findings show 0f3a…",))
    add_command(group, watch, "watch", examples=("securenet findings watch --level medium --output jsonl",))
    add_command(
        group, update, "update", examples=("securenet findings update 0f3a… --status resolved --verdict true-positive",)
    )
    add_command(group, history, "history", examples=("securenet findings history 0f3a…",))
    add_command(group, export, "export", examples=("securenet findings export --format ocsf > findings.jsonl",))
    add_command(group, labels, "labels", examples=("securenet findings labels --output jsonl > labels.json",))
    suppressions.add_to(group)
    application.add_typer(group, name="findings")


LevelOption = Annotated[Level | None, typer.Option(help="Only at or above.")]


def list_findings(
    run: Invocation,
    *,
    level: LevelOption = None,
    status: Annotated[
        list[str] | None, typer.Option(help="new, in-progress, suppressed or resolved; may be repeated.")
    ] = None,
    detector: Annotated[str, typer.Option(help="Only with its evidence.")] = "",
    entity: Annotated[str, typer.Option(help="Only about this address or network.")] = "",
    since: Annotated[str | None, typer.Option(help="Only seen after: ISO 8601, or 90m, 24h, 7d ago.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 100,
    fail_on: Annotated[Level | None, typer.Option(help="Exit with 1 where one is at or above.")] = None,
) -> int:
    """List findings, the latest change first."""
    from securenet_client.detection.records import ThreatLevel  # noqa: PLC0415 - start-up must be quick

    with run.net("detection") as net:
        found = net.detection.list_findings(
            min_threat_level=ThreatLevel(level.number if level else 0),
            statuses=status or (),
            detector=detector,
            entity=entity,
            seen_after=_since(since) if since else None,
            page_size=min(limit, 500),
        )
        records = [finding.as_dict() for finding in islice(found, limit)]
    run.out.records(records, _COLUMNS)
    worst = max((Level(record["threat_level"]).number for record in records), default=0)
    return ExitCode.FOUND if fail_on is not None and worst >= fail_on.number else ExitCode.CLEAN


def show(run: Invocation, finding: Annotated[str, typer.Argument(help="Its id.", metavar="ID")]) -> None:
    """Show a finding with its evidence."""
    from securenet_client.messages import plain  # noqa: PLC0415 - start-up must be quick

    with run.net("detection") as net:
        found = net.detection.get_finding(finding)
    if run.out.form != OutputFormat.TABLE:
        run.out.document(
            {
                **found.as_dict(),
                "evidence": plain(found.evidence),
                "flow_ids": list(found.flow_ids),
                "comment": found.comment,
            }
        )
        return
    record = {
        **found.as_dict(),
        "flow_ids": list(found.flow_ids),
        "comment": found.comment,
        "updated_by": found.updated_by,
    }
    run.out.table(list(record.items()), ("field", "value"))
    run.out.table(
        [
            (e.detector, e.analytic_type, str(e.level), e.confidence, e.measured, e.threshold, e.summary)
            for e in found.evidence
        ],
        ("detector", "type", "threat_level", "confidence", "measured", "threshold", "summary"),
        "Evidence",
    )
    for evidence in found.evidence:
        if evidence.contributions:
            run.out.table(
                [
                    (c.feature, _known(c.value), _known(c.baseline), f"{c.contribution:+.3f}")
                    for c in evidence.contributions
                ],
                ("feature", "value", "usual", "contribution"),
                f"What moved the {evidence.detector}'s score, in log-odds or votes",
            )


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def watch(
    run: Invocation,
    *,
    level: LevelOption = None,
    existing: Annotated[bool, typer.Option("--existing", help="Begin with what is there.")] = False,
    resume: Annotated[str, typer.Option(help="Go on after this resume_token of an earlier watch.")] = "",
) -> None:
    """Print findings as they are made and changed, until Ctrl-C."""
    import sys  # noqa: PLC0415 - for its flush alone

    from securenet_client.detection.records import ThreatLevel  # noqa: PLC0415 - start-up must be quick

    with run.net("detection") as net:
        changes = net.detection.watch_findings(
            min_threat_level=ThreatLevel(level.number if level else 0), include_existing=existing, resume_token=resume
        )
        for change in changes:
            if change.finding is None:
                continue
            record: dict[str, Any] = change.finding.as_dict()
            if run.out.form == OutputFormat.TABLE:
                show_findings(run, [record], title="")
            else:
                run.out.line({**record, "resume_token": change.resume_token})
            sys.stdout.flush()


def update(
    run: Invocation,
    *,
    finding: Annotated[str, typer.Argument(help="Its id.", metavar="ID")],
    status: Annotated[str | None, typer.Option(help="new, in-progress, suppressed or resolved.")] = None,
    verdict: Annotated[
        str | None, typer.Option(help="true-positive, false-positive or benign; kept as a label.")
    ] = None,
    comment: Annotated[str | None, typer.Option(help="What to write beside it.")] = None,
    revision: Annotated[int, typer.Option(help="Revision that was seen; 0 does not check.", min=0)] = 0,
) -> None:
    """Set a finding's status, verdict or comment."""
    with run.net("detection") as net:
        found = net.detection.update_finding(
            finding, status=status, analyst_verdict=verdict, comment=comment, expected_revision=revision
        )
    if run.out.form == OutputFormat.TABLE:
        run.out.records(
            [found.as_dict()], ("finding_id", "status", "analyst_verdict", "threat_level", "entity", "revision")
        )
    else:
        run.out.document(found.as_dict())


def history(run: Invocation, finding: Annotated[str, typer.Argument(help="Its id.", metavar="ID")]) -> None:
    """Show who changed a finding, how and when, the latest first."""
    with run.net("detection") as net:
        records = [entry.as_dict() for entry in net.detection.list_finding_events(finding)]
    run.out.records(
        records, ("event_time", "action", "actor", "status_before", "status_after", "analyst_verdict_after", "comment")
    )


class ExportFormat(StrEnum):
    """In whose words findings are exported."""

    OCSF = "ocsf"
    PLAIN = "plain"


def export(
    run: Invocation,
    *,
    form: Annotated[ExportFormat, typer.Option("--format", help="ocsf or plain.")] = ExportFormat.OCSF,
    level: LevelOption = None,
    since: Annotated[str | None, typer.Option(help="Only seen after: ISO 8601, or 90m, 24h, 7d ago.")] = None,
    suppressed: Annotated[bool, typer.Option("--suppressed", help="Also what is suppressed.")] = False,
) -> None:
    """Write findings as JSON lines: OCSF Detection Finding events (class 2004), or as `list` does."""
    from securenet_client.detection.ocsf import detection_finding  # noqa: PLC0415 - start-up must be quick
    from securenet_client.detection.records import ThreatLevel  # noqa: PLC0415 - start-up must be quick

    with run.net("detection") as net:
        for finding in net.detection.list_findings(
            min_threat_level=ThreatLevel(level.number if level else 0),
            statuses=("new", "in-progress", "suppressed", "resolved") if suppressed else (),
            seen_after=_since(since) if since else None,
        ):
            run.out.line(detection_finding(finding) if form is ExportFormat.OCSF else finding.as_dict())


def labels(
    run: Invocation,
    *,
    since: Annotated[str | None, typer.Option(help="Only judged after: ISO 8601, or 90m, 24h, 7d ago.")] = None,
) -> None:
    """Write the flows that people judged, with their label, as JSON lines that `train --data` reads."""
    with run.net("detection") as net:
        for record in net.detection.export_labels(labeled_after=_since(since) if since else None):
            run.out.line(record)


def _since(text: str) -> datetime:
    from datetime import UTC  # noqa: PLC0415 - beside its only use

    from securenet_client.cli.invocation import CommandError  # noqa: PLC0415 - beside its only use
    from securenet_flows.simulation.settings import parse_duration  # noqa: PLC0415 - start-up must be quick

    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(text))
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"--since {text!r}: expected a time such as 2025-03-03T08:00:00, or 90m, 24h, 7d") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)
