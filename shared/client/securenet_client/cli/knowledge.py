"""`securenet knowledge`: the advisories that the scanner knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from securenet_client.cli.invocation import CommandError, Invocation, OutputFormat, add_command

if TYPE_CHECKING:
    from securenet_client.scanner.records import Knowledge

_COLUMNS: Final = ("name", "data_time", "records", "records_rejected", "source")


def register(application: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="Import advisory feeds, and show what is known.", no_args_is_help=True)
    add_command(group, import_, "import", examples=("securenet knowledge import --from feeds/ --embedded",))
    add_command(group, show, "show", examples=("securenet knowledge show --output json",))
    application.add_typer(group, name="knowledge")


def import_(
    run: Invocation,
    *,
    from_: Annotated[
        Path, typer.Option("--from", help="Folder of feeds on the scanner's machine: OSV JSON lines or zip.")
    ],
    validate_only: Annotated[bool, typer.Option("--validate-only", help="Read and check, swap nothing in.")] = False,
) -> None:
    """Import feeds from a folder. A feed that is broken leaves everything as it was."""
    directory = from_.resolve() if from_.exists() else from_
    last: Knowledge | None = None
    rejected: tuple[int, tuple[str, ...]] = (0, ())
    with run.net("scanner") as net, run.out.progress() as progress:
        task = progress.add_task("importing", total=None, detail="")
        for step in net.scanner.update_knowledge(directory, validate_only=validate_only):
            progress.update(
                task, total=step.bytes_total, completed=step.bytes_read,
                detail=f"{step.feed}: {step.records_read:,} records",
            )  # fmt: skip
            rejected = (step.records_rejected, step.rejections or rejected[1])
            last = step.knowledge or last
    for rejection in rejected[1]:
        run.out.say(rejection)
    if rejected[0]:
        run.out.say(f"{rejected[0]:,} records could not be used")
    if last is not None:
        show_knowledge(run, last)


def show(run: Invocation) -> None:
    """Show feeds, dates, counts, and which ecosystems are covered."""
    with run.net("scanner") as net:
        knowledge = net.scanner.get_knowledge()
    if knowledge is None:
        if run.out.form != OutputFormat.TABLE:
            run.out.document(
                {"version": None, "data_time": None, "feeds": [], "covered_ecosystems": [], "uncovered_ecosystems": []}
            )
        raise CommandError("nothing has been imported; securenet knowledge import --from DIR does", 0)
    show_knowledge(run, knowledge)


def show_knowledge(run: Invocation, knowledge: Knowledge) -> None:
    """Feeds, and what is covered."""
    from securenet_client.messages import plain  # noqa: PLC0415 - start-up must be quick

    record: dict[str, Any] = plain(knowledge)
    if run.out.form in (OutputFormat.JSON, OutputFormat.JSONL):
        run.out.document(record)
        return
    run.out.records(record["feeds"], _COLUMNS, f"Knowledge {knowledge.version[:16]}")
    run.out.say(f"covered: {', '.join(knowledge.covered_ecosystems) or 'nothing'}")
    if knowledge.uncovered_ecosystems:
        run.out.say(f"there but not covered: {', '.join(knowledge.uncovered_ecosystems)}")
