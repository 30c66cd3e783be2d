"""`securenet intel`: feeds of threat intelligence that flows are compared with."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from securenet_client.cli.invocation import CommandError, ExitCode, Invocation, OutputFormat, add_command

if TYPE_CHECKING:
    from securenet_client.detection.intel import IndicatorImport, IndicatorMatch

_FEED_COLUMNS: Final = (
    "name", "format", "warning_list", "indicator_count", "subtracted_count", "rejected_count", "confidence",
    "data_time", "import_time", "licence",
)  # fmt: skip
_MATCH_COLUMNS: Final = (
    "value", "listed", "indicator", "feed", "confidence", "label", "technique", "listed_time", "valid_until_time",
    "indicator_id",
)  # fmt: skip

_NAME: Final = re.compile(r"[^a-z0-9._-]+")
_LONGEST_NAME: Final = 63
_LONGEST_VALUE: Final = 2304


class Kind(StrEnum):
    """What entries of a feed are."""

    ADDRESS = "address"
    NETWORK = "network"
    DOMAIN = "domain"
    URL = "url"
    JA3 = "ja3"
    JA4 = "ja4"
    CERTIFICATE = "certificate-sha256"


def register(application: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="Import threat intelligence, and ask what it says.", no_args_is_help=True)
    add_command(
        group,
        import_,
        "import",
        examples=(
            "securenet intel import blocklist.txt bundle.json",
            "securenet intel import ja3.csv --name ja3-malware --kind ja3 --confidence 60",
            "securenet intel import public-dns.json --warning-list --embedded",
        ),
    )
    add_command(group, list_, "list", examples=("securenet intel list --output json",))
    add_command(
        group,
        look_up,
        "test",
        examples=(
            "securenet intel test 203.0.113.9 www.evil.example",
            "securenet intel test - --fail-on 50 --output jsonl < values.txt",
        ),
    )
    add_command(group, delete, "delete", examples=("securenet intel delete blocklist",))
    application.add_typer(group, name="intel")


def import_(
    run: Invocation,
    *,
    paths: Annotated[list[Path], typer.Argument(help="Feeds: lists, CSV, STIX 2.1, MISP; also packed with gzip.")],
    name: Annotated[
        str,
        typer.Option(help="Name of the feed; of several paths the beginning of their names. By default the file's."),
    ] = "",
    kind: Annotated[Kind | None, typer.Option(help="What entries are whose text alone does not say.")] = None,
    warning_list: Annotated[
        bool, typer.Option("--warning-list", help="The entries are benign, and are taken away from other feeds'.")
    ] = False,
    confidence: Annotated[
        int | None, typer.Option(min=1, max=100, help="Percent, of entries that say nothing of their own.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of the feed, for the record.")] = "",
    keep: Annotated[bool, typer.Option("--keep", help="Refuse where a feed of that name has other content.")] = False,
) -> int:
    """Import feeds; each file is a feed, and takes the place of the one of its name."""
    from securenet_client.detection.intel import FeedOptions  # noqa: PLC0415 - start-up must be quick

    wanted = _named(paths, name)
    imports: list[IndicatorImport] = []
    failed = False
    with run.net("detection") as net, run.out.progress() as progress:
        for feed, path in wanted.items():
            options = FeedOptions(
                feed, str(kind) if kind else "", warning_list=warning_list, replace=not keep, confidence=confidence,
                licence=licence, source=path.name[:500],
            )  # fmt: skip
            task = progress.add_task(feed, total=path.stat().st_size, detail="")

            def advance(done: int, task: Any = task) -> None:
                progress.update(task, completed=done, detail=f"{done:,} bytes")

            try:
                imports.append(net.detection.import_indicators(path, options, advance))
            except Exception as error:
                if not _is_refusal(error):
                    raise
                failed = True
                run.out.complain(f"{path}: {error}")
    _show_imports(run, imports)
    return ExitCode.WRONG_USAGE if failed else ExitCode.CLEAN


def _is_refusal(error: Exception) -> bool:
    """The service refused this feed; the others may do."""
    from securenet_core.exceptions import (  # noqa: PLC0415 - start-up must be quick
        AlreadyExistsError,
        InvalidArgumentError,
        ResourceExhaustedError,
    )

    return isinstance(error, AlreadyExistsError | InvalidArgumentError | ResourceExhaustedError)


def _named(paths: Sequence[Path], name: str) -> dict[str, Path]:
    """Files by the name of their feed."""
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    files = [file for file in files if not file.is_dir()]
    missing = [path for path in files if not path.exists()]
    if missing:
        raise CommandError("\n".join(f"{path}: no such file or directory" for path in missing))
    if not files:
        raise CommandError("no feed: the folder holds no file")
    found: dict[str, Path] = {}
    for file in files:
        stem = file.name.removesuffix(".gz").rpartition(".")[0] or file.name.removesuffix(".gz")
        given = f"{name}-{stem}" if name and len(files) > 1 else name or stem
        feed = _NAME.sub("-", given.lower()).strip("-._")[:_LONGEST_NAME] or "feed"
        if feed in found:
            raise CommandError(
                f"{found[feed]} and {file} would both be feed {feed}; import them one by one, with --name"
            )
        found[feed] = file
    return found


def _show_imports(run: Invocation, imports: Sequence[IndicatorImport]) -> None:
    from securenet_client.messages import plain  # noqa: PLC0415 - start-up must be quick

    for outcome in imports:
        for rejection in outcome.rejections[:20]:
            run.out.say(f"{outcome.feed.id}: {rejection.place}: {rejection.reason}")
        if outcome.feed.rejected_count > 20:
            run.out.say(f"{outcome.feed.id}: {outcome.feed.rejected_count:,} entries could not be used")
        for reason, count in outcome.feed.ignored_counts.items():
            run.out.say(f"{outcome.feed.id}: {count:,} left out: {reason}")
    if run.out.form in (OutputFormat.JSON, OutputFormat.JSONL):
        run.out.records((plain(outcome) for outcome in imports), ())
    elif imports:
        run.out.records(
            ({**plain(outcome.feed), "name": outcome.feed.id} for outcome in imports), _FEED_COLUMNS, "Imported"
        )


def list_(run: Invocation) -> None:
    """List feeds with dates, licences and counts."""
    from securenet_client.messages import plain  # noqa: PLC0415 - start-up must be quick

    with run.net("detection") as net:
        feeds = list(net.detection.list_indicator_feeds())
    run.out.records(({**plain(feed), "name": feed.id} for feed in feeds), _FEED_COLUMNS, "Feeds")
    if not feeds:
        run.out.say("nothing has been imported; securenet intel import PATH does")


def look_up(
    run: Invocation,
    *,
    values: Annotated[
        list[str],
        typer.Argument(help="Addresses, names, URLs, fingerprints; or - for one a line.", metavar="VALUE…"),
    ],
    fail_on: Annotated[
        int | None, typer.Option(min=0, max=100, help="Exit with 1 where one is listed with at least this confidence.")
    ] = None,
) -> int:
    """Say which feeds and warning lists name a value."""
    from securenet_client.detection.intel import MOST_VALUES  # noqa: PLC0415 - start-up must be quick

    wanted = list(_given(values))
    with run.net("detection") as net:
        matches = [
            match
            for start in range(0, len(wanted), MOST_VALUES)
            for match in net.detection.lookup_indicators(wanted[start : start + MOST_VALUES])
        ]
    _show_matches(run, matches)
    found = fail_on is not None and any(
        indicator.confidence >= fail_on and not indicator.subtracted
        for match in matches
        for indicator in match.indicators
    )
    if any(match.error for match in matches):
        return ExitCode.WRONG_USAGE
    return ExitCode.FOUND if found else ExitCode.CLEAN


def _given(values: Sequence[str]) -> Iterator[str]:
    for value in values:
        if value != "-":
            yield value
            continue
        for number, line in enumerate(sys.stdin, start=1):
            text = line.strip()
            if len(text) > _LONGEST_VALUE:
                raise CommandError(f"<stdin>:{number}: {len(text)} characters; at most {_LONGEST_VALUE} are looked up")
            if text and not text.startswith("#"):
                yield text


def _show_matches(run: Invocation, matches: Sequence[IndicatorMatch]) -> None:
    from securenet_client.messages import plain  # noqa: PLC0415 - start-up must be quick

    for match in matches:
        if match.error:
            run.out.complain(match.error)
    if run.out.form in (OutputFormat.JSON, OutputFormat.JSONL):
        run.out.records(({**plain(match), "listed": match.listed} for match in matches), ())
        return
    rows: list[dict[str, Any]] = []
    for match in matches:
        rows += [_row(match.value, indicator, "subtracted" if indicator["subtracted"] else "yes")
                 for indicator in plain(match.indicators)]  # fmt: skip
        rows += [_row(match.value, warning, "warning list") for warning in plain(match.warnings)]
        if not match.indicators and not match.warnings:
            rows.append({"value": match.value, "listed": "unreadable" if match.error else "no"})
    run.out.records(rows, _MATCH_COLUMNS)


def _row(value: str, indicator: dict[str, Any], listed: str) -> dict[str, Any]:
    technique = indicator["technique"]
    return {
        **indicator,
        "value": value,
        "listed": listed,
        "indicator": indicator["value"],
        "feed": indicator["feed"].rpartition("/")[2],
        "technique": technique["id"] if technique else "",
    }


def delete(run: Invocation, *, name: Annotated[str, typer.Argument(help="Name of the feed.")]) -> None:
    """Take a feed out."""
    with run.net("detection") as net:
        version = net.detection.delete_indicator_feed(name)
    if run.out.form in (OutputFormat.JSON, OutputFormat.JSONL):
        run.out.document({"name": name, "version": version})
    else:
        run.out.say(f"{name} is out; version {version}")
