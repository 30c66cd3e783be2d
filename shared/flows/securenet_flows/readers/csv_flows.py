"""Flow tables with one header line: which field fills which column, block by block."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from securenet_flows.batch import FlowBatch
from securenet_flows.exceptions import UnreadableFileError
from securenet_flows.readers.blocks import count_lines
from securenet_flows.readers.columns import Assembled
from securenet_flows.readers.delimited import Layout, Table, parse_lines, positions, split_line
from securenet_flows.readers.problems import tell
from securenet_flows.readers.sources import Source
from securenet_flows.readers.texts import decode_text
from securenet_flows.report import FileLog

_SEPARATORS: Final = (b",", b"\t", b";", b"|")
_MOST_FIELDS: Final = 4096
_NEEDED: Final = ("start_time_ns", "src_addr", "dst_addr", "protocol")

#: Makes a batch of a table; gets the source's names of the columns.
Assemble = Callable[[Table, Mapping[str, str]], Assembled]


@dataclass(frozen=True, slots=True)
class TableFormat:
    """What a kind of flow table is like.

    Attributes:
        aliases: by column of a batch (or of the format's own), the names its field may have.
        nulls: texts that mean that there is no value.
        header: names of the fields where the file has no header line.
        needed: columns without which the file cannot be read.
        end: a line that begins what follows the records, where there is such a line.
        texts: columns that hold text although a batch holds numbers: times as dates.
        last_may_lack: some exports of this kind write the name of the last field but never its value.
    """

    aliases: Mapping[str, Sequence[str]]
    nulls: tuple[bytes, ...] = (b"-",)
    header: tuple[str, ...] = ()
    needed: tuple[str, ...] = _NEEDED
    end: bytes = b""
    last_may_lack: bool = False
    texts: frozenset[str] = frozenset()


def plain_name(name: str) -> str:
    """A field's name in lower case, with runs of spaces, dots and underscores as one space."""
    return re.sub(r"[ _.]+", " ", name.strip().lower())


def read_flow_table(
    source: Source, table_format: TableFormat, assemble: Assemble, log: FileLog, batch_rows: int
) -> Iterator[FlowBatch]:
    """Reads a table of flows in the order of its lines. A header line that comes again is passed over.

    Raises:
        UnreadableFileError: the compression is damaged, or the header lacks a needed field.
        RecordError: strict reading met a bad record.
    """
    plan: _Plan | None = None
    for block in source.blocks(batch_rows):
        data, line = block.data, block.first_line
        ended = table_format.end and re.search(rb"^" + table_format.end + rb"\r?$", data, re.MULTILINE)
        if ended:
            data = data[: ended.start()]
        if plan is None and data.strip():
            plan, data, line = _plan(data, line, table_format, log)
        if plan is not None and not plan.settled and data.strip():
            plan = _settled(plan, data, log)
        parts = [] if plan is None else list(_without_headers(data, line, plan.header))
        bad: list[tuple[int, str]] = []
        bad_labels: list[tuple[int, str]] = []
        batches: list[FlowBatch] = []
        for part, first_line in parts:
            if plan is None:
                break
            table = parse_lines(part, first_line, plan.layout, count_lines(part))
            assembled = assemble(table, plan.names)
            bad += table.bad + assembled.bad_records
            bad_labels += assembled.bad_labels
            batches.append(assembled.batch)
        tell(log, block, bad, bad_labels)
        yield from (batch for batch in batches if len(batch))
        if ended:
            return


@dataclass(frozen=True, slots=True)
class _Plan:
    layout: Layout
    names: dict[str, str]
    header: bytes
    settled: bool


def _plan(data: bytes, line: int, table_format: TableFormat, log: FileLog) -> tuple[_Plan, bytes, int]:
    """Reads the header line; gives what follows it, and the number of the line there."""
    lines = data.split(b"\n")
    skipped = next(number for number, line in enumerate(lines) if line.strip())
    header = lines[skipped].rstrip(b"\r")
    separator = max(_SEPARATORS, key=header.count)
    names = [decode_text(name).strip() for name in split_line(header, separator, quoted=True)]
    if table_format.header:
        skipped, names, header = skipped - 1, list(table_format.header), b""
    line += skipped
    if not 1 < len(names) <= _MOST_FIELDS:
        raise UnreadableFileError(log.path, f"{len(names)} fields in the header; expected 2 to {_MOST_FIELDS}", line)
    plain = [plain_name(name) for name in names]
    wanted = dict(
        positions(plain, {column: [plain_name(a) for a in aliases] for column, aliases in table_format.aliases.items()})
    )
    for column in table_format.needed:
        if column not in wanted:
            raise UnreadableFileError(log.path, f"no field {table_format.aliases[column][0]} in the header", line)
    layout = Layout(len(names), wanted, separator, quoted=True, nulls=table_format.nulls, texts=table_format.texts)
    known = {column: names[position] for column, position in wanted.items()}
    plan = _Plan(layout, known, header, settled=not table_format.last_may_lack)
    return plan, b"\n".join(lines[skipped + 1 :]), line + 1


def _settled(plan: _Plan, data: bytes, log: FileLog) -> _Plan:
    """The first record says whether the last field is there."""
    first = next(line for line in data.split(b"\n") if line.strip())
    layout = plan.layout
    width = len(split_line(first.rstrip(b"\r"), layout.separator, quoted=True))
    if width != layout.width - 1 or width < 2:
        return replace(plan, settled=True)
    log.note("the lines lack the last of the fields that the header names")
    wanted = {column: position for column, position in layout.wanted.items() if position < width}
    return replace(plan, layout=replace(layout, width=width, wanted=wanted), settled=True)


def _without_headers(data: bytes, line: int, header: bytes) -> Iterator[tuple[bytes, int]]:
    """The lines between header lines that come again, as files that were joined have them."""
    start = 0
    if header and header in data:
        for match in re.finditer(rb"^" + re.escape(header) + rb"\r?(?:\n|\Z)", data, re.MULTILINE):
            if match.start() > start:
                yield data[start : match.start()], line + data.count(b"\n", 0, start)
            start = match.end()
    if start < len(data):
        yield data[start:], line + data.count(b"\n", 0, start)
