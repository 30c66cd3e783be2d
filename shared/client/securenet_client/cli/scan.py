"""`securenet scan` and `securenet scopes`: what listens, and what may be scanned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from securenet_client.cli.invocation import CommandError, ExitCode, Invocation, OutputFormat, add_command

if TYPE_CHECKING:
    from securenet_client.scanner.client import ScannerClient
    from securenet_client.scanner.records import Host, Scan

_PORT_COLUMNS: Final = ("address", "port", "transport", "state", "service", "product", "version", "cpe")
_FINDING_COLUMNS: Final = ("severity", "address", "port", "title", "evidence", "remedy")


class Severity(StrEnum):
    """Severities, as options name them."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


def at_or_above(severity: str, limit: Severity) -> bool:
    """Whether a severity is at least the given one."""
    order = list(Severity)
    return severity in order and order.index(Severity(severity)) >= order.index(limit)


def register(application: typer.Typer) -> None:
    """Adds the command and the group."""
    add_command(
        application,
        scan,
        "scan",
        examples=(
            "securenet scan 127.0.0.1 --embedded",
            "securenet scan 10.0.0.0/24 --ports 22,80,443,8000-8100 --output json --fail-on high",
        ),
    )
    group = typer.Typer(
        help="Which networks may be scanned. Without a scope nothing but loopback is.", no_args_is_help=True
    )
    add_command(
        group, add_scope, "add", examples=("securenet scopes add 10.0.0.0/24 --authorized-by 'J. Doe' --reason audit",)
    )
    add_command(group, list_scopes, "list", examples=("securenet scopes list",))
    add_command(group, remove_scope, "remove", examples=("securenet scopes remove 7b21…",))
    application.add_typer(group, name="scopes")


def scan(
    run: Invocation,
    *,
    targets: Annotated[list[str], typer.Argument(help="CIDR, range, address or host name.", metavar="TARGET…")],
    ports: Annotated[str, typer.Option(help="Numbers and ranges, or top-100, top-1000, all.")] = "top-100",
    rate: Annotated[int, typer.Option(help="New connections a second at most; 0 is the service's limit.", min=0)] = 0,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait for one answer.")] = None,
    no_banners: Annotated[bool, typer.Option("--no-banners", help="Only find open ports.")] = False,
    description: Annotated[str, typer.Option(help="What the scan is for; stands in the audit log.")] = "",
    fail_on: Annotated[Severity | None, typer.Option(help="Exit with 1 where a finding is at or above.")] = None,
) -> int:
    """Find what listens, what it is, and what is wrong with it.

    Only networks of a scope are scanned; loopback is one by default.
    """
    with run.net("scanner") as net:
        started = net.scanner.start_scan(
            targets, ports=ports, max_rate=rate, probe_timeout=timeout, skip_banners=no_banners, description=description
        )
        done = follow_scan(run, net.scanner, started)
    show_scan(run, done)
    if done.state != "succeeded":
        raise CommandError(f"{done.name} {done.state}: {done.error or 'no reason was given'}")
    found = (
        any(at_or_above(finding.severity, fail_on) for host in done.hosts for finding in host.findings)
        if fail_on
        else False
    )
    return ExitCode.FOUND if found else ExitCode.CLEAN


def follow_scan(run: Invocation, scanner: ScannerClient, started: Scan) -> Scan:
    """Shows progress until the scan ends; answers it with its hosts. Ctrl-C cancels it."""
    try:
        with run.out.progress() as progress:
            task = progress.add_task(
                f"scanning {', '.join(started.spec.targets if started.spec else ())}", total=None, detail=""
            )
            for event in scanner.watch_scan(started.name):
                if event.progress is not None:
                    step = event.progress
                    progress.update(
                        task, total=step.probes_total, completed=step.probes_done,
                        detail=f"{step.ports_open} open on {step.hosts_up} hosts",
                    )  # fmt: skip
    except KeyboardInterrupt:
        scanner.cancel_scan(started.name)
        raise
    return scanner.get_scan(started.name)


def show_scan(run: Invocation, done: Scan) -> None:
    """Hosts with their ports and findings."""
    hosts = [host.as_dict() for host in done.hosts]
    if run.out.form in (OutputFormat.JSON, OutputFormat.JSONL):
        run.out.document({"scan": done.name, "knowledge_version": done.knowledge_version or None, "hosts": hosts})
        return
    ports = [{**port, "address": host["address"]} for host in hosts for port in host["ports"]]
    if run.out.form == OutputFormat.TABLE:
        ports = [port for port in ports if port["state"] == "open"]
    run.out.records(ports, _PORT_COLUMNS, f"{done.name}: open ports")
    if run.out.form == OutputFormat.TABLE:
        show_scan_findings(run, done.hosts)
        progress = done.progress
        run.out.say(
            f"{progress.probes_done if progress else 0:,} probes, {len(ports)} open ports on {len(hosts)} hosts"
        )
        if not done.knowledge_version:
            run.out.say("what was found was not matched with vulnerabilities")


def show_scan_findings(run: Invocation, hosts: tuple[Host, ...]) -> None:
    """A table of what should be mended."""
    findings: list[dict[str, Any]] = [finding.as_dict() for host in hosts for finding in host.findings]
    if findings:
        run.out.records(findings, _FINDING_COLUMNS, "To mend")


def add_scope(
    run: Invocation,
    *,
    cidrs: Annotated[list[str], typer.Argument(help="Networks, such as 10.1.0.0/16.", metavar="CIDR…")],
    authorized_by: Annotated[str, typer.Option(help="Who allowed it.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    days: Annotated[float, typer.Option(help="For how many days.")] = 30.0,
) -> None:
    """Allow networks to be scanned."""
    with run.net("scanner") as net:
        scope = net.scanner.create_scope(
            cidrs, authorized_by=authorized_by, reason=reason, expires=datetime.now(UTC) + timedelta(days=days)
        )
    run.out.say(f"{scope.name}: {', '.join(scope.cidrs)}")


def list_scopes(run: Invocation) -> None:
    """List scopes that have not expired."""
    from securenet_client.messages import plain  # noqa: PLC0415 - start-up must be quick

    with run.net("scanner") as net:
        records = [plain(scope) for scope in net.scanner.list_scopes()]
    run.out.records(records, ("name", "cidrs", "authorized_by", "reason", "expire_time"))


def remove_scope(run: Invocation, scope: Annotated[str, typer.Argument(help="Its id.", metavar="ID")]) -> None:
    """End a scope; scans that rest on it are cancelled."""
    with run.net("scanner") as net:
        cancelled = net.scanner.delete_scope(scope)
    run.out.say(f"ended; {cancelled} scans were cancelled")
