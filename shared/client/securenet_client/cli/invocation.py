"""What every command shares: its common options, how it reaches services, how errors become messages and exit codes."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from securenet_client.cli.output import Output

if TYPE_CHECKING:
    from securenet_client.connection import ConnectionSettings
    from securenet_client.embedded import EmbeddedSuite
    from securenet_client.suite import SecureNet


class ExitCode(IntEnum):
    """How a command ends."""

    CLEAN = 0
    FOUND = 1
    """Something at or above --fail-on."""
    WRONG_USAGE = 2
    """Wrong usage, unreadable input, or a request that the service refused."""
    UNREACHABLE = 3
    """A service did not answer."""
    FAULT = 70
    """A mistake of this program."""
    INTERRUPTED = 130


class OutputFormat(StrEnum):
    """Forms of output."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


class Level(StrEnum):
    """Threat levels, as options name them."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def number(self) -> int:
        """The contract's number."""
        return list(Level).index(self) + 1


class CommandError(Exception):
    """Ends a command with a message and an exit code."""

    def __init__(self, message: str, code: int = ExitCode.WRONG_USAGE) -> None:
        super().__init__(message)
        self.code = code


_PANEL = "Connection"

_CONNECTION: tuple[tuple[str, Any], ...] = (
    ("server", Annotated[str | None, typer.Option(
        help="Address of the service, host:port; or name=host:port, several with commas. Also SECURENET_SERVER, or "
        "SECURENET_DETECTION_ADDRESS and so on.", rich_help_panel=_PANEL)]),
    ("ca", Annotated[Path | None, typer.Option(
        help="CA of the servers' certificates, PEM [SECURENET_CA].", rich_help_panel=_PANEL)]),
    ("cert", Annotated[Path | None, typer.Option(
        help="Client certificate, PEM [SECURENET_CERT].", rich_help_panel=_PANEL)]),
    ("key", Annotated[Path | None, typer.Option(help="Its key, PEM [SECURENET_KEY].", rich_help_panel=_PANEL)]),
    ("token", Annotated[str | None, typer.Option(
        help="Bearer token; better in SECURENET_TOKEN, where others do not see it.", rich_help_panel=_PANEL)]),
    ("embedded", Annotated[bool | None, typer.Option(
        "--embedded", help="Start the services that are needed on free ports, and stop them after.",
        rich_help_panel=_PANEL)]),
    ("data_dir", Annotated[Path | None, typer.Option(
        help="Folder of embedded services; ./data by default.", rich_help_panel=_PANEL)]),
)  # fmt: skip

_OUTPUT: tuple[tuple[str, Any], ...] = (
    (
        "output",
        Annotated[OutputFormat | None, typer.Option("--output", "-o", help="Form of what is written to stdout.")],
    ),
    ("quiet", Annotated[bool | None, typer.Option("--quiet", "-q", help="No progress and no summary on stderr.")]),
    ("debug", Annotated[bool | None, typer.Option("--debug", help="Show the traceback of an unexpected error.")]),
)

DEFAULT_DATA_DIR = Path("data")


@dataclass(slots=True)
class Invocation:
    """One run of one command.

    Attributes:
        out: where results, progress and messages go.
        server, ca, cert, key, token: how to connect.
        embedded: start services for this command.
        data_dir: of embedded services.
        debug: show tracebacks.
    """

    out: Output
    server: str | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    token: str | None = None
    embedded: bool = False
    data_dir: Path = DEFAULT_DATA_DIR
    debug: bool = False
    _services: tuple[str, ...] = field(default=())

    def connection(self, *services: str) -> ConnectionSettings:
        """How to reach the given services: options first, then the environment.

        Raises:
            CommandError: --server has another form.
        """
        from securenet_client.connection import ConnectionSettings  # noqa: PLC0415 - start-up must be quick

        found = ConnectionSettings.from_environment()
        addresses = {
            **parse_servers(os.environ.get("SECURENET_SERVER", ""), services),
            **found.addresses,
            **parse_servers(self.server or "", services),
        }
        return ConnectionSettings(
            addresses,
            ca=self.ca or found.ca,
            certificate=self.cert or found.certificate,
            key=self.key or found.key,
            token=self.token or found.token,
        )

    @contextmanager
    def net(self, *services: str) -> Iterator[SecureNet]:
        """Clients of the services that the command needs; with --embedded of services that are started for it."""
        from securenet_client.suite import SecureNet  # noqa: PLC0415 - start-up must be quick

        self._services = services
        if not self.embedded:
            with SecureNet(self.connection(*services)) as net:
                yield net
            return
        with self.suite(*services) as suite, SecureNet(suite.connection()) as net:
            yield net

    @contextmanager
    def suite(self, *services: str, **options: Any) -> Iterator[EmbeddedSuite]:
        """Services that are started for this command."""
        from securenet_client.embedded import EmbeddedSuite  # noqa: PLC0415 - start-up must be quick

        with self.out.status("starting services") as step:
            suite = EmbeddedSuite(services, self.data_dir, on_step=step, **options)
            suite.start()
            if {"registry", "detection"} <= set(services):
                suite.wait_for_model()
        try:
            yield suite
        finally:
            suite.stop()

    def hint(self) -> str:
        """What to do about a service that does not answer."""
        if self.embedded:
            return ""
        return "\nStart the services with `securenet up`, name one with --server, or add --embedded."


def parse_servers(text: str, services: tuple[str, ...]) -> dict[str, str]:
    """Addresses by service of `host:port` or `name=host:port,name=host:port`.

    Raises:
        CommandError: the text has another form, or one address is given for several services.
    """
    addresses = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, address = part.partition("=")
        if not equals:
            if len(services) != 1:
                raise CommandError(
                    f"--server {part}: this command asks {', '.join(services)}; name each, as in {services[0]}={part}"
                )
            name, address = services[0], part
        if name not in ("detection", "scanner", "registry"):
            raise CommandError(f"--server {part}: {name!r}; expected detection, scanner or registry")
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise CommandError(f"--server {part}: {address!r}; expected host:port")
        addresses[name] = address
    return addresses


def add_command(
    application: typer.Typer,
    function: Callable[..., int | None],
    name: str,
    *,
    examples: tuple[str, ...] = (),
    connects: bool = True,
    hidden: bool = False,
) -> None:
    """Adds a command: the function's own parameters after the first, and the common ones in an :class:`Invocation`.

    Args:
        application: where to.
        function: does the work and answers an exit code, None for 0.
        name: of the command.
        examples: command lines, shown below the help.
        connects: it takes the options of a connection.
        hidden: it does not stand in the list of commands.
    """
    common = (*_CONNECTION, *_OUTPUT) if connects else _OUTPUT
    hints = get_type_hints(function, include_extras=True)
    own = [
        parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in list(inspect.signature(function).parameters.values())[1:]
    ]
    shared = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for option, annotation in common
    ]
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)

    def run(*, context: typer.Context, **values: Any) -> None:
        before: Mapping[str, Any] = context.obj or {}
        chosen = {option: values.pop(option) for option, _ in common}
        chosen = {option: before.get(option) if value is None else value for option, value in chosen.items()}
        raise typer.Exit(execute(function, values, chosen))

    run.__doc__ = function.__doc__
    run.__name__ = function.__name__
    run.__signature__ = inspect.Signature([context, *own, *shared])  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (context, *own, *shared)}
    epilog = "\n".join(("\b", "Examples:", *(f"  $ {example}" for example in examples))) if examples else None
    application.command(name, epilog=epilog, hidden=hidden)(run)


def execute(function: Callable[..., int | None], values: Mapping[str, Any], chosen: Mapping[str, Any]) -> int:
    """Runs a command; answers its exit code, with what went wrong on stderr."""
    given = {option: value for option, value in chosen.items() if value is not None}
    out = Output(given.pop("output", OutputFormat.TABLE).value, quiet=given.pop("quiet", False))
    run = Invocation(out, **given)
    if threading.current_thread() is threading.main_thread():
        # SIGTERM ends a command as Ctrl-C does, so that what it started is stopped.
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = function(run, **values)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough. What is still buffered must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.CLEAN
    except KeyboardInterrupt:
        out.say("interrupted")
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a user gets a message, whatever happened
        if run.debug:
            traceback.print_exc()
        message, code = _described(error, run)
        out.complain(message)
        return code
    return code or ExitCode.CLEAN


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _described(error: Exception, run: Invocation) -> tuple[str, int]:
    """The message and exit code of an error."""
    from securenet_core.exceptions import Code, SecurenetError, SettingsError  # noqa: PLC0415 - start-up must be quick
    from securenet_flows.exceptions import FlowDataError  # noqa: PLC0415 - likewise

    if isinstance(error, CommandError):
        return str(error), error.code
    if isinstance(error, SecurenetError):
        parts = [error.message]
        parts += [f"  {field.field}: {field.description}" for field in error.fields if field.field not in error.message]
        parts += [f"  {condition.subject}: {condition.description}" for condition in error.preconditions]
        if error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
            return "\n".join(parts) + run.hint(), ExitCode.UNREACHABLE
        return "\n".join(parts), ExitCode.WRONG_USAGE
    if isinstance(error, FlowDataError | SettingsError):
        return str(error), ExitCode.WRONG_USAGE
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}", ExitCode.WRONG_USAGE
    text = str(error).splitlines()
    first = text[0] if text else ""
    more = "" if run.debug else " (--debug shows where)"
    return f"unexpected {type(error).__name__}: {first}{more}", ExitCode.FAULT
