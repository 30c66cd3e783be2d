"""`securenet hunt`: whom to look at first, over many stored logs."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from securenet_client.cli.invocation import CommandError, ExitCode, Invocation, Level, OutputFormat, add_command

_COLUMNS: Final = (
    "threat_level", "risk", "entity", "detectors", "techniques", "findings", "flows", "captures", "first_seen",
    "last_seen",
)  # fmt: skip
#: Of a table; the rest would not fit.
_SHOWN_COLUMNS: Final = ("threat_level", "risk", "entity", "detectors", "findings", "flows", "captures", "last_seen")
#: Captures that a tenant may have in work at once, by the service's default.
_MOST_JOBS: Final = 8
_SHOWN_CAPTURES: Final = 3


def register(application: typer.Typer) -> None:
    """Adds the command."""
    add_command(
        application,
        hunt,
        "hunt",
        examples=(
            "securenet hunt /var/log/zeek/2025-03-* --embedded --level medium",
            "securenet hunt logs/ --entity 10.1.0.0/16 --detector beacon --detector dns-tunnel --output jsonl",
        ),
    )


def hunt(
    run: Invocation,
    *,
    paths: Annotated[list[str], typer.Argument(help="Files and directories of flow logs.", metavar="PATH…")],
    level: Annotated[Level, typer.Option(help="Only findings at or above.")] = Level.LOW,
    detector: Annotated[list[str] | None, typer.Option(help="Only its findings; may be repeated.")] = None,
    entity: Annotated[str, typer.Option(help="Only about this address or network.")] = "",
    jobs: Annotated[
        int | None,
        typer.Option(help="Captures at once; as many as there are cores, if not given.", min=1, max=_MOST_JOBS),
    ] = None,
    findings: Annotated[Path | None, typer.Option(help="Also write every finding, a JSON line each.")] = None,
    fail_on: Annotated[Level | None, typer.Option(help="Exit with 1 where an entity is at or above.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first record that cannot be read.")] = False,
    model: Annotated[str, typer.Option(help="With --embedded: the model to serve; by default the last promoted.")] = "",
) -> int:
    """Rank hosts by what stored flow logs say of them, the gravest first.

    Every capture (a file, or a folder of logs that belong together) is analysed on its own, several at once, and looked
    at twice. What they say of one host is put together: its highest level and risk, by which detectors, in which
    captures, from when to when.
    """
    from securenet_client.cli.captures import Analyst, Reading  # noqa: PLC0415 - start-up must be quick

    network = _network(entity)
    if findings is not None:
        # A file that cannot be written is better known before the work than after it.
        findings.write_text("", encoding="utf-8")
    reading = Reading(run, strict=strict)
    captures = reading.find(paths)
    analyst = Analyst(run, captures, model=model)
    found: list[dict[str, Any]] = []
    flows, served = 0, ""
    with run.out.progress() as progress:
        task = progress.add_task("captures", total=len(captures), detail="")
        for capture, summary in analyst.summaries(jobs or min(_MOST_JOBS, os.cpu_count() or 1)):
            flows += summary.rows
            served = summary.model.name if summary.model else served
            found += [{**finding.as_dict(), "capture": capture.name} for finding in summary.findings]
            progress.update(task, advance=1, detail=f"{flows:,} flows, {len(found):,} findings")
    wanted = [one for one in found if _wanted(one, level, detector or (), network)]
    if findings is not None:
        findings.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in wanted), encoding="utf-8")
    ranked = rank(wanted)
    if run.out.form == OutputFormat.TABLE:
        ranked_rows = [{**record, "captures": _few(record["captures"])} for record in ranked]
        run.out.records(ranked_rows, _SHOWN_COLUMNS, "Whom to look at first")
    else:
        run.out.records(ranked, _COLUMNS)
    run.out.say(
        f"{flows:,} flows of {len(captures)} captures; {len(wanted):,} of {len(found):,} findings, "
        f"about {len(ranked):,} entities; model: {served or 'none'}"
    )
    reading.summarize()
    if reading.bad_files:
        return ExitCode.WRONG_USAGE
    worst = max((Level(record["threat_level"]).number for record in ranked), default=0)
    return ExitCode.FOUND if fail_on is not None and worst >= fail_on.number else ExitCode.CLEAN


def rank(findings: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What findings say of each entity, the gravest first: by risk, then by how many detectors agree."""
    by_entity: dict[str, list[dict[str, Any]]] = {}
    for finding in findings:
        by_entity.setdefault(finding["entity"], []).append(finding)
    records: list[dict[str, Any]] = [
        {
            "entity": entity,
            "threat_level": max((one["threat_level"] for one in group), key=lambda name: Level(name).number),
            "risk": max(one["risk"] for one in group),
            "detectors": sorted({name for one in group for name in one["detectors"]}),
            "techniques": sorted({technique for one in group for technique in one["techniques"]}),
            "findings": len(group),
            "flows": sum(one["count"] for one in group),
            "captures": sorted({one["capture"] for one in group}),
            "first_seen": min((one["first_seen"] for one in group if one["first_seen"]), default=None),
            "last_seen": max((one["last_seen"] for one in group if one["last_seen"]), default=None),
        }
        for entity, group in by_entity.items()
    ]
    return sorted(
        records,
        key=lambda one: (-Level(one["threat_level"]).number, -one["risk"], -len(one["detectors"]), one["entity"]),
    )


def _wanted(finding: dict[str, Any], level: Level, detectors: Iterable[str], network: Any) -> bool:
    if Level(finding["threat_level"]).number < level.number:
        return False
    names = set(detectors)
    if names and names.isdisjoint(finding["detectors"]):
        return False
    return network is None or _inside(finding["entity"], network)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if text else None
    except ValueError as error:
        raise CommandError(f"--entity {text!r}: expected an address or a network, such as 10.1.0.0/16") from error


def _inside(entity: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        address = ipaddress.ip_address(entity)
    except ValueError:
        return False
    return address.version == network.version and address in network


def _few(names: list[str]) -> list[str]:
    more = len(names) - _SHOWN_CAPTURES
    return names if more <= 0 else [*names[:_SHOWN_CAPTURES], f"and {more} more"]
