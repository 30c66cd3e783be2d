"""`securenet match`: vulnerabilities of packages."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from securenet_client.cli.invocation import CommandError, ExitCode, Invocation, OutputFormat, add_command
from securenet_client.cli.scan import Severity, at_or_above

if TYPE_CHECKING:
    from securenet_client.scanner.client import ScannerClient
    from securenet_client.scanner.records import PackageMatches

#: Package URLs of one call.
_MOST: Final = 1000
#: Characters of a line of standard input.
_LONGEST: Final = 1024


def register(application: typer.Typer) -> None:
    """Adds the command."""
    add_command(
        application,
        match,
        "match",
        examples=(
            "securenet match pkg:pypi/jinja2@2.4.1 --embedded",
            "securenet match - --output jsonl --fail-on high < purls.txt",
            "securenet match --environment",
        ),
    )


def match(
    run: Invocation,
    *,
    purls: Annotated[
        list[str] | None, typer.Argument(help="Package URLs, or - for one a line.", metavar="PURL…")
    ] = None,
    environment: Annotated[
        bool, typer.Option("--environment", help="The packages of this Python environment.")
    ] = False,
    fail_on: Annotated[Severity | None, typer.Option(help="Exit with 1 where a vulnerability is at or above.")] = None,
) -> int:
    """Say what is known of packages. A package that is not covered is said so and is not clean."""
    wanted = list(_given(purls or ()))
    if environment:
        wanted += environment_purls()
    if not wanted:
        raise CommandError("no package: give package URLs, - or --environment")
    with run.net("scanner") as net:
        records = list(matched(net.scanner, wanted))
    show_matches(run, records)
    found = fail_on is not None and any(
        at_or_above(vulnerability["severity"], fail_on)
        for record in records
        for vulnerability in record["vulnerabilities"]
    )
    return ExitCode.FOUND if found else ExitCode.CLEAN


def _given(purls: Sequence[str]) -> Iterator[str]:
    for purl in purls:
        if purl != "-":
            yield purl
            continue
        for number, line in enumerate(sys.stdin, start=1):
            text = line.strip()
            if len(text) > _LONGEST:
                raise CommandError(
                    f"<stdin>:{number}: {len(text)} characters; expected a package URL of at most {_LONGEST}"
                )
            if text and not text.startswith("#"):
                yield text


def environment_purls() -> list[str]:
    """Package URLs of the distributions that this Python can import."""
    from importlib.metadata import distributions  # noqa: PLC0415 - start-up must be quick
    from urllib.parse import quote  # noqa: PLC0415 - likewise

    found = set()
    for distribution in distributions():
        name, version = distribution.metadata["Name"], distribution.version
        if name and version:
            # The normal form of PEP 503.
            normal = quote(re.sub(r"[-_.]+", "-", name).lower())
            found.add(f"pkg:pypi/{normal}@{quote(version, safe='')}")
    return sorted(found)


def matched(scanner: ScannerClient, purls: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A record a package URL, in their order."""
    for start in range(0, len(purls), _MOST):
        yield from _records(scanner.match_packages(purls[start : start + _MOST]))


def _records(answer: PackageMatches) -> Iterator[dict[str, Any]]:
    date = None if answer.knowledge_time is None else answer.knowledge_time.date().isoformat()
    for found in answer.matches:
        yield {
            "purl": found.purl,
            "covered": found.covered,
            "knowledge_date": date,
            "vulnerabilities": [vulnerability.as_dict() for vulnerability in found.vulnerabilities],
            "coverage": found.coverage,
            "coverage_detail": found.coverage_detail or None,
            "upgrade_version": found.upgrade_version or None,
            "knowledge_version": answer.knowledge_version,
        }


def show_matches(run: Invocation, records: Sequence[dict[str, Any]]) -> None:
    """Records; as a table or CSV a line a vulnerability, and one for each package that nothing can be said of."""
    if run.out.form in (OutputFormat.JSON, OutputFormat.JSONL):
        run.out.records(records, ())
        return
    rows: list[dict[str, Any]] = []
    for record in records:
        if not record["covered"]:
            rows.append(
                {
                    "purl": record["purl"],
                    "severity": "unknown",
                    "reason": record["coverage_detail"] or record["coverage"],
                }
            )
        rows += [{**v, "purl": record["purl"], "kev": "yes" if v["kev"] else ""} for v in record["vulnerabilities"]]
    if rows or run.out.form == OutputFormat.CSV:
        run.out.records(rows, ("purl", "severity", "id", "aliases", "kev", "epss", "fixed_versions", "reason"))
    covered = sum(record["covered"] for record in records)
    affected = sum(bool(record["vulnerabilities"]) for record in records)
    date = records[0]["knowledge_date"] if records else None
    run.out.say(
        f"{len(records)} packages, {covered} covered, {affected} with known vulnerabilities; "
        f"knowledge of {date or 'no date'}"
    )
