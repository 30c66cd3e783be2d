"""Results on stdout as table, JSON, JSON lines or CSV; progress, messages and summaries on stderr."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from securenet_client.cli.tables import tabulated

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Record = Mapping[str, Any]

#: A time of ours; in a table its seconds are enough.
_MICROSECONDS = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?(Z|\+00:00)$")

#: Columns of a table that is not shown on a terminal.
_WIDTH = 200


class Output:
    """Where a command writes.

    Args:
        form: table, json, jsonl or csv.
        quiet: neither progress nor summaries; errors all the same.
    """

    def __init__(self, form: str = "table", *, quiet: bool = False) -> None:
        self.form = form
        self.quiet = quiet

    def records(self, records: Iterable[Record], columns: Sequence[str], title: str = "") -> None:
        """Writes records as they come; a table and CSV show the given columns only."""
        if self.form == "table":
            self.table([[record.get(column) for column in columns] for record in records], columns, title)
        elif self.form == "json":
            self._array(records)
        elif self.form == "jsonl":
            for record in records:
                self.line(record)
        else:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([_cell(record.get(column)) for column in columns] for record in records)

    def document(self, record: Record) -> None:
        """Writes one object: indented as JSON, else on a line."""
        indent = 2 if self.form == "json" else None
        sys.stdout.write(json.dumps(record, ensure_ascii=False, indent=indent, allow_nan=False) + "\n")

    def line(self, record: Record) -> None:
        """Writes one object on a line."""
        sys.stdout.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")

    def _array(self, records: Iterable[Record]) -> None:
        separator = "["
        for record in records:
            sys.stdout.write(f"{separator}\n  {json.dumps(record, ensure_ascii=False, allow_nan=False)}")
            separator = ","
        sys.stdout.write("[]\n" if separator == "[" else "\n]\n")

    def table(self, rows: Iterable[Sequence[Any]], columns: Sequence[str], title: str = "") -> None:
        """Writes a table, whatever the form."""
        self.stdout().print(tabulated([tuple(map(_shown, row)) for row in rows], columns, title, self.stdout().width))

    def stdout(self) -> Console:
        """Console of results."""
        return _console(sys.stdout)

    def stderr(self) -> Console:
        """Console of progress and messages."""
        return _console(sys.stderr)

    def say(self, message: str) -> None:
        """A message for a person, on stderr; not with --quiet."""
        if not self.quiet:
            sys.stderr.write(message + "\n")

    def complain(self, message: str) -> None:
        """What is wrong, on stderr."""
        sys.stderr.write(f"securenet: {message}\n")

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Progress bars on stderr, where that is a terminal."""
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = (
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
        )  # fmt: skip
        silent = self.quiet or not sys.stderr.isatty()
        with Progress(*columns, console=self.stderr(), transient=True, disable=silent) as progress:
            yield progress

    @contextmanager
    def status(self, text: str) -> Iterator[Callable[[str], None]]:
        """A spinner with what is being done, where stderr is a terminal; a line a step, where it is not."""
        if self.quiet:
            yield lambda _: None
        elif sys.stderr.isatty():
            with self.stderr().status(text) as status:
                yield status.update
        else:
            yield lambda step: self.say(f"{step} …")


def _console(stream: Any) -> Console:
    from rich.console import Console  # noqa: PLC0415 - only tables and progress need it

    class PipedConsole(Console):
        """Leaves a broken pipe to the command, where Rich would end the process with exit code 1."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return PipedConsole(file=stream, width=None if stream.isatty() else _WIDTH, highlight=False)


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    return _MICROSECONDS.sub(r"\1 \2", text) if _MICROSECONDS.match(text := str(value)) else text


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return ";".join(map(str, value))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return value
