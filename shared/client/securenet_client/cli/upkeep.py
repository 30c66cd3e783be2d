"""`securenet models compare`, `serving`, `delete`, `audit` and `gc`: who serves what, what goes, who did it."""

from __future__ import annotations

import math
from itertools import islice
from typing import Annotated, Any

import typer

from securenet_client.cli.invocation import CommandError, ExitCode, Invocation, OutputFormat, add_command

Name = Annotated[str, typer.Argument(help="Model.", metavar="NAME")]
Alias = Annotated[str, typer.Option(help="champion or challenger.")]


def add_to(group: typer.Typer) -> None:
    """Adds the commands to the group of models."""
    add_command(
        group, compare, "compare",
        examples=("securenet models compare flow-threat 3 champion", "securenet models compare flow-threat 1 2 3"),
    )  # fmt: skip
    add_command(group, serving, "serving", examples=("securenet models serving flow-threat",))
    add_command(
        group, delete, "delete",
        examples=(
            "securenet models delete flow-threat 2 --reason 'trained on wrong labels'",
            "securenet models delete old-model",
        ),
    )  # fmt: skip
    add_command(
        group, audit, "audit",
        examples=("securenet models audit --resource models/flow-threat", "securenet models audit --verify"),
    )  # fmt: skip
    add_command(group, gc, "gc", examples=("securenet models gc --dry-run", "securenet models gc --grace 0s"))


def compare(
    run: Invocation,
    *,
    name: Name,
    versions: Annotated[
        list[str], typer.Argument(help="2 to 16 numbers, aliases or sha256:digests.", metavar="VERSION…")
    ],
) -> None:
    """Set what was measured of versions side by side; versions that were measured on other data share no row."""
    with run.net("registry") as net:
        found = net.registry.compare_model_versions(name, versions)
    titles = [f"version {version.version}" for version in found.model_versions]
    records: list[dict[str, Any]] = []
    for metric in found.metrics:
        values = [None if math.isnan(value) else value for value in metric.values]
        records.append({"metric": metric.name, "dataset": metric.dataset, **dict(zip(titles, values, strict=True))})
    run.out.records(records, ("metric", "dataset", *titles), name)


def serving(run: Invocation, *, name: Name, alias: Alias = "champion") -> int:
    """Show who follows an alias and which version each serves; exit with 1 where one does not follow."""
    from securenet_client.messages import plain  # noqa: PLC0415 - start-up must be quick

    with run.net("registry") as net:
        found = net.registry.get_convergence(name, alias=alias)
    if run.out.form == OutputFormat.TABLE:
        columns = ("consumer", "version", "generation", "state", "detail", "report_time")
        run.out.records([plain(report) for report in found.reports], columns)
        run.out.say(
            f"{alias} of {name}: generation {found.generation}, "
            + ("followed by all" if found.converged else "not followed by all")
        )
    else:
        run.out.document(plain(found))
    return ExitCode.CLEAN if found.converged else ExitCode.FOUND


def delete(
    run: Invocation,
    *,
    name: Name,
    version: Annotated[int | None, typer.Argument(help="Number; the model with every version if not given.")] = None,
    reason: Annotated[str, typer.Option(help="Why; the audit log keeps it.")] = "",
) -> None:
    """Remove a version, or a model. Refused while an alias points at it or a rollback would need it."""
    with run.net("registry") as net:
        if version is None:
            count = net.registry.delete_model(name, reason=reason)
            run.out.say(f"{name}: removed with {count} versions")
        else:
            net.registry.delete_model_version(name, version, reason=reason)
            run.out.say(f"{name}: version {version} removed")


def audit(
    run: Invocation,
    *,
    resource: Annotated[str, typer.Option(help="Only on this resource, such as models/flow-threat.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 100,
    verify: Annotated[
        bool, typer.Option("--verify", help="Walk along the hashes instead; exit with 1 where they do not hold.")
    ] = False,
) -> int:
    """Show who did what to models, the latest first."""
    from securenet_client.messages import plain  # noqa: PLC0415 - start-up must be quick

    with run.net("registry") as net:
        if verify:
            found = net.registry.verify_audit()
            run.out.records([plain(found)], ("valid", "entries", "first_invalid_sequence", "detail", "head_hash"))
            return ExitCode.CLEAN if found.valid else ExitCode.FOUND
        events = islice(net.registry.list_audit_events(resource=resource, page_size=min(limit, 1000)), limit)
        records = [plain(event) for event in events]
    run.out.records(records, ("sequence", "create_time", "actor", "action", "resource", "detail"))
    return ExitCode.CLEAN


def gc(
    run: Invocation,
    *,
    grace: Annotated[
        str | None, typer.Option(help="Least age of what goes, such as 12h or 2d; the registry's own if not given.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go and remove nothing.")] = False,
) -> None:
    """Remove bytes that no version refers to any more. Those of a version that an alias or a rollback needs stay."""
    from securenet_client.messages import plain  # noqa: PLC0415 - start-up must be quick
    from securenet_flows.simulation.settings import parse_duration  # noqa: PLC0415 - likewise

    try:
        seconds = None if grace is None else parse_duration(grace, "--grace")
    except ValueError as error:
        raise CommandError(str(error)) from error
    with run.net("registry") as net:
        found = net.registry.collect_garbage(grace=seconds, validate_only=dry_run)
    if run.out.form == OutputFormat.TABLE:
        run.out.records([plain(found)], ("blobs", "bytes", "grace"))
        run.out.say("nothing was removed" if dry_run else "removed")
    else:
        run.out.document(plain(found))
