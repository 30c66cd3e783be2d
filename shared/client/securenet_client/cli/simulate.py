"""`securenet simulate`: labelled traffic to check a pipeline with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from securenet_client.cli.invocation import CommandError, Invocation, OutputFormat, add_command


def register(application: typer.Typer) -> None:
    """Adds the command."""
    add_command(
        application,
        simulate,
        "simulate",
        examples=(
            "securenet simulate capture/ --duration 2h --scenario horizontal-scan@10m --scenario beacon@30m",
            "securenet simulate --list",
        ),
        connects=False,
    )


def simulate(
    run: Invocation,
    *,
    directory: Annotated[Path | None, typer.Argument(help="Folder for the logs; made if it is not there.")] = None,
    duration: Annotated[str, typer.Option(help="Simulated time, such as 90m, 1h30m or 2d.")] = "1h",
    scenario: Annotated[
        list[str] | None, typer.Option(help="An attack: name, name@offset or name@offset:key=value,…; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal traffic.")] = 1,
    hosts: Annotated[int, typer.Option(help="Internal hosts.")] = 50,
    rate: Annotated[float, typer.Option(help="Multiplies what people and programs do.")] = 1.0,
    start: Annotated[
        str | None, typer.Option(help="Time of the first moment, ISO 8601; a Monday morning by default.")
    ] = None,
    ipv6_share: Annotated[float, typer.Option(help="Share of internal hosts that use IPv6 too.")] = 0.3,
    format_: Annotated[str, typer.Option("--format", help="tsv, Zeek's own, or json.")] = "tsv",
    compress: Annotated[bool, typer.Option("--gzip", help="Write .log.gz files.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show the scenarios with their parameters.")] = False,
) -> None:
    """Write labelled Zeek logs of an office network, with attacks by scenario.

    conn, dns, http, ssl and ssh logs; labels stand in conn.log. To check that a pipeline sees an attack.
    """
    from securenet_flows.simulation import (  # noqa: PLC0415 - start-up must be quick
        DEFAULT_START,
        ScheduledScenario,
        SimulationError,
        SimulationSettings,
        parse_duration,
        write_zeek_logs,
    )

    if list_:
        _show_scenarios(run)
        return
    if directory is None:
        raise CommandError("DIRECTORY is missing: the folder for the logs (--list shows the scenarios)")
    if directory.exists() and not directory.is_dir():
        raise CommandError(f"{directory}: is a file; expected a folder")
    try:
        settings = SimulationSettings(
            seed=seed,
            start=_time(start) if start else DEFAULT_START,
            duration_s=parse_duration(duration),
            hosts=hosts,
            rate=rate,
            ipv6_share=ipv6_share,
            scenarios=tuple(ScheduledScenario.parse(text) for text in scenario or ()),
        )
        with run.out.progress() as progress:
            task = progress.add_task("simulating", total=1.0, detail="")
            summary = write_zeek_logs(
                settings,
                directory,
                format_,  # type: ignore[arg-type]  # checked by what is called
                compress=compress,
                progress=lambda step: progress.update(task, completed=step.share, detail=f"{step.flows:,} flows"),
            )
    except SimulationError as error:
        raise CommandError(str(error)) from error
    if run.out.form != OutputFormat.TABLE:
        run.out.document(summary.as_dict())
        return
    run.out.table(
        [(name, count, "malicious") for name, count in summary.scenarios.items()]
        + [(name, count, "benign") for name, count in summary.activities.items()],
        ("traffic", "flows", "label"),
    )
    run.out.say(f"{summary.flows:,} flows, {summary.malicious:,} malicious, in {directory}")


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"--start {text!r}: expected a time such as 2025-03-03T08:00:00+00:00") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _show_scenarios(run: Invocation) -> None:
    from securenet_flows.simulation import SCENARIOS  # noqa: PLC0415 - start-up must be quick

    records: list[dict[str, Any]] = [
        {
            "name": scenario.name,
            "description": scenario.summary,
            "techniques": list(scenario.techniques),
            "parameters": {parameter.name: parameter.default for parameter in scenario.parameters},
        }
        for scenario in SCENARIOS.values()
    ]
    if run.out.form == "table":
        for record in records:
            record["parameters"] = [
                f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
                for name, value in record["parameters"].items()
            ]
    run.out.records(records, ("name", "description", "techniques", "parameters"))
