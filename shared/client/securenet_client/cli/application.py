"""The application: its commands, and the options that may stand before any of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from securenet_client.cli import (
    analyze,
    baseline,
    bench,
    certs,
    demo,
    doctor,
    evaluate,
    findings,
    hunt,
    intel,
    knowledge,
    match,
    models,
    scan,
    simulate,
    train,
    up,
)
from securenet_client.cli.invocation import OutputFormat

_GROUPS = (
    up,
    analyze,
    hunt,
    simulate,
    evaluate,
    train,
    baseline,
    models,
    findings,
    scan,
    match,
    knowledge,
    intel,
    certs,
    doctor,
    bench,
    demo,
)


def make_application() -> typer.Typer:
    """The command line with all of its commands."""
    application = typer.Typer(
        name="securenet",
        help="SecureNet: threat detection on flows, vulnerability scanning, and the models behind them.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        # Rich help loads Markdown, syntax highlighting and more, which takes longer than most commands.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Exit: 0 clean · 1 found at or above --fail-on · 2 wrong usage or unreadable input · 3 unreachable.",
    )
    application.callback()(_before_commands)
    for group in _GROUPS:
        group.register(application)
    return application


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - start-up must be quick

        print(f"securenet {version('securenet-client')}")
        raise typer.Exit


def _before_commands(
    context: typer.Context,
    *,
    server: Annotated[str | None, typer.Option(help="See the commands.", hidden=True)] = None,
    ca: Annotated[Path | None, typer.Option(hidden=True)] = None,
    cert: Annotated[Path | None, typer.Option(hidden=True)] = None,
    key: Annotated[Path | None, typer.Option(hidden=True)] = None,
    token: Annotated[str | None, typer.Option(hidden=True)] = None,
    embedded: Annotated[bool | None, typer.Option("--embedded", hidden=True)] = None,
    data_dir: Annotated[Path | None, typer.Option(hidden=True)] = None,
    output: Annotated[OutputFormat | None, typer.Option(hidden=True)] = None,
    quiet: Annotated[bool | None, typer.Option("--quiet", "-q", hidden=True)] = None,
    debug: Annotated[bool | None, typer.Option("--debug", hidden=True)] = None,
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool | None, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = None,
) -> None:
    context.obj = {
        "server": server, "ca": ca, "cert": cert, "key": key, "token": token, "embedded": embedded,
        "data_dir": data_dir, "output": output, "quiet": quiet, "debug": debug,
    }  # fmt: skip
