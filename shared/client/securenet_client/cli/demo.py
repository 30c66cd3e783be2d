"""`securenet demo`: everything once, on traffic of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from securenet_client.cli.invocation import Invocation, Level, add_command
from securenet_client.cli.up import show_addresses, watch

if TYPE_CHECKING:
    from securenet_client.connection import ConnectionSettings
    from securenet_client.embedded import EmbeddedSuite
    from securenet_client.suite import SecureNet

_MODEL: Final = "flow-threat"
_ATTACKS: Final = (
    ("horizontal-scan@6m", "ssh-brute-force@14m", "beacon@4m:interval=60", "vertical-scan@28m"),
    ("ssh-brute-force@9m", "horizontal-scan@25m", "beacon@2m:interval=45"),
    ("vertical-scan@5m", "beacon@3m:interval=90", "ssh-brute-force@20m", "horizontal-scan@33m"),
)
_SHOWN_FLOWS: Final = ("horizontal-scan@5m", "ssh-brute-force@12m", "vertical-scan@18m", "beacon@2m:interval=60")


def register(application: typer.Typer) -> None:
    """Adds the command."""
    add_command(application, demo, "demo", examples=("securenet demo", "securenet demo --stay"), connects=False)


def demo(
    run: Invocation,
    stay: Annotated[bool, typer.Option("--stay", help="Stay up until Ctrl-C.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Folder of everything that the services keep.")] = Path("data"),
    fixed_ports: Annotated[bool, typer.Option("--fixed-ports", help="Listen on 50051–50053 rather than free ports.")] = False,
) -> None:
    """Start the services, train a first model, analyse a capture, scan loopback, match this Python environment, stop."""
    from securenet_client.cli.up import DEFAULT_PORTS  # noqa: PLC0415 - beside its only use
    from securenet_client.embedded import EmbeddedSuite  # noqa: PLC0415 - start-up must be quick
    from securenet_client.suite import SecureNet  # noqa: PLC0415 - likewise

    with run.out.status("starting services") as step:
        suite = EmbeddedSuite(
            ("registry", "scanner", "detection"), data_dir, ports=DEFAULT_PORTS if fixed_ports or stay else {},
            model=_MODEL, on_step=step,
        )  # fmt: skip
        suite.start()
    try:
        with SecureNet(suite.connection()) as net, TemporaryDirectory(prefix="securenet-demo-") as scratch:
            _first_model(run, net, Path(scratch))
            with run.out.status("detection loads the model"):
                suite.wait_for_model()
            _analyze(run, net, Path(scratch) / "capture")
            _scan(run, net)
            _match(run, net)
        show_addresses(run, suite)
        if stay:
            run.out.say("Ctrl-C stops them.")
            watch(run, suite)
    finally:
        with run.out.status("stopping services"):
            suite.stop()
