"""`securenet up`: the services in the foreground."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from securenet_client.cli.invocation import CommandError, ExitCode, Invocation, add_command

if TYPE_CHECKING:
    from securenet_client.embedded import EmbeddedSuite

DEFAULT_PORTS: Final = {"detection": 50051, "scanner": 50052, "registry": 50053}
_METHODS: Final = {
    "detection": (
        "securenet.detection.v1.DetectionService/Analyze",
        '{"flow": {"start_time": "2025-03-03T08:00:00Z", "src_ip": "10.0.0.5", "dst_ip": "192.0.2.7", "protocol": 6}}',
    ),
    "scanner": ("securenet.scanner.v1.ScannerService/StartScan", '{"spec": {"targets": ["127.0.0.1"]}}'),
    "registry": ("securenet.registry.v1.ModelRegistryService/ListModels", ""),
}
_WATCH_SECONDS: Final = 0.3


def register(application: typer.Typer) -> None:
    """Adds the command."""
    add_command(
        application,
        up,
        "up",
        examples=("securenet up", "securenet up --only detection --only registry --data-dir /var/lib/securenet"),
        connects=False,
    )


def up(
    run: Invocation,
    *,
    only: Annotated[list[str] | None, typer.Option(help="Start only this service; may be repeated.")] = None,
    data_dir: Annotated[Path, typer.Option(help="Folder of everything that the services keep.")] = Path("data"),
    port_base: Annotated[
        int | None, typer.Option(help="First of three consecutive ports; 0 takes free ones. 50051–50053 by default.")
    ] = None,
    model: Annotated[str, typer.Option(help="Model that detection serves; by default the last promoted.")] = "",
    ca: Annotated[Path | None, typer.Option(help="CA of the services' certificates, where they use TLS.")] = None,
    cert: Annotated[Path | None, typer.Option(help="Client certificate for the check of their health.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
) -> int:
    """Run registry, scanner and detection in the foreground until Ctrl-C.

    Settings come from SECURENET_DETECTION_*, SECURENET_SCANNER_* and SECURENET_REGISTRY_* in the environment. Logs are
    in logs/ of the data folder.
    """
    from securenet_client.connection import ConnectionSettings  # noqa: PLC0415 - start-up must be quick
    from securenet_client.embedded import EmbeddedSuite  # noqa: PLC0415 - likewise

    wanted = only or list(DEFAULT_PORTS)
    unknown = [name for name in wanted if name not in DEFAULT_PORTS]
    if unknown:
        raise CommandError(f"--only {unknown[0]}: expected detection, scanner or registry")
    base = ConnectionSettings(ca=ca, certificate=cert, key=key)
    with run.out.status("starting services") as step:
        suite = EmbeddedSuite(
            wanted, data_dir, ports=_ports(port_base), keep_environment=True, model=model, on_step=step
        )
        suite.start(base)
    try:
        show_addresses(run, suite)
        run.out.say("Ctrl-C stops them.")
        code = watch(run, suite)
    finally:
        codes = suite.stop()
    cut = [name for name, exit_code in codes.items() if exit_code not in (0, None)]
    if cut and code == ExitCode.CLEAN:
        run.out.complain(f"{', '.join(cut)} did not stop cleanly; see {data_dir / 'logs'}")
        return ExitCode.UNREACHABLE
    return code


def _ports(base: int | None) -> dict[str, int]:
    if base is None:
        return DEFAULT_PORTS
    if base == 0:
        return {}
    if not 1 <= base <= 65533:
        raise CommandError(f"--port-base {base}: expected 0, or 1 to 65533")
    return {name: base + offset for offset, name in enumerate(DEFAULT_PORTS)}


def watch(run: Invocation, suite: EmbeddedSuite) -> int:
    """Waits for Ctrl-C, or for a service to end by itself."""
    try:
        while True:
            for name, process in suite.processes.items():
                if process.exit_code is not None:
                    run.out.complain(f"{name} ended with exit code {process.exit_code}; the end of {process.log}:")
                    run.out.complain(process.tail())
                    return ExitCode.UNREACHABLE
            time.sleep(_WATCH_SECONDS)
    except KeyboardInterrupt:
        run.out.say("stopping …")
        return ExitCode.CLEAN


def show_addresses(run: Invocation, suite: EmbeddedSuite) -> None:
    """Where each service listens, and the line to try next."""
    rows: list[dict[str, Any]] = [
        {"service": name, "address": process.address, "pid": process.pid, "log": str(process.log)}
        for name, process in suite.processes.items()
    ]
    run.out.records(rows, ("service", "address", "pid", "log"), "Services")
    for name, process in suite.processes.items():
        method, body = _METHODS[name]
        given = f"-d '{body}' " if body else ""
        run.out.say(f"  grpcurl -plaintext {given}{process.address} {method}")
