"""`securenet findings suppress` and what belongs to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from securenet_client.cli.invocation import CommandError, Invocation, OutputFormat, add_command

_COLUMNS: Final = (
    "suppression_id", "detector", "entity_cidr", "peer_cidr", "port", "expire_time", "reason", "created_by",
)  # fmt: skip


def add_to(group: typer.Typer) -> None:
    """Adds the commands to the group of findings."""
    add_command(
        group, suppress, "suppress",
        examples=(
            "securenet findings suppress --detector horizontal-scan --entity 10.1.2.3 --for 7d --reason 'our scanner'",
            "securenet findings suppress --entity 10.1.0.0/16 --preview",
        ),
    )  # fmt: skip
    add_command(group, suppressions, "suppressions", examples=("securenet findings suppressions --output json",))
    add_command(group, unsuppress, "unsuppress", examples=("securenet findings unsuppress 0f3a…",))


def suppress(
    run: Invocation,
    *,
    detector: Annotated[str, typer.Option(help="Only findings of it.")] = "",
    entity: Annotated[str, typer.Option(help="Only about this address or network.")] = "",
    peer: Annotated[str, typer.Option(help="Only where every peer lies in this network.")] = "",
    port: Annotated[int | None, typer.Option(help="Only about this port.", min=0, max=65535)] = None,
    lasting: Annotated[str, typer.Option("--for", help="How long: 90m, 24h, 7d; at most a year.")] = "7d",
    reason: Annotated[str, typer.Option(help="Why; required.")] = "",
    preview: Annotated[bool, typer.Option("--preview", help="Only show what it would hold back.")] = False,
) -> None:
    """Keep findings out of the list that match every given condition, those to come and those that are open."""
    from securenet_flows.simulation.settings import parse_duration  # noqa: PLC0415 - start-up must be quick

    if not preview and not reason.strip():
        raise CommandError("--reason is missing: say why, so that others know")
    try:
        expires = datetime.now(UTC) + timedelta(seconds=parse_duration(lasting))
    except ValueError as error:
        raise CommandError(f"--for {lasting!r}: expected 90m, 24h or 7d") from error
    with run.net("detection") as net:
        if preview:
            count, findings = net.detection.preview_suppression(
                expires=expires, detector=detector, entity_cidr=entity, peer_cidr=peer, port=port
            )
            run.out.records(
                [finding.as_dict() for finding in findings],
                ("finding_id", "status", "threat_level", "risk", "entity", "detectors", "summary"),
            )
            run.out.say(f"{count} findings would be held back")
            return
        made = net.detection.create_suppression(
            expires=expires, reason=reason, detector=detector, entity_cidr=entity, peer_cidr=peer, port=port
        )
    if run.out.form == OutputFormat.TABLE:
        run.out.records([made.as_dict()], _COLUMNS)
    else:
        run.out.document(made.as_dict())


def suppressions(run: Invocation) -> None:
    """List suppressions that have not ended."""
    with run.net("detection") as net:
        run.out.records([one.as_dict() for one in net.detection.list_suppressions()], _COLUMNS)


def unsuppress(run: Invocation, suppression: Annotated[str, typer.Argument(help="Its id.", metavar="ID")]) -> None:
    """End a suppression; what only it held back is as it was before."""
    with run.net("detection") as net:
        opened = net.detection.delete_suppression(suppression)
    run.out.say(f"{opened} findings are open again")
