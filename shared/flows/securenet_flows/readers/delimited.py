"""Lines of separated fields to Arrow columns: Arrow's CSV reader for a sound block, line by line where one is not."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from securenet_flows.batch import Int64
from securenet_flows.readers.arrow import Array
from securenet_flows.readers.conversions import ENCODED, arrow_type

_QUOTE: Final = b'"'
_TEXT_ENCODING: Final = "latin-1"  # maps each byte to one character and back
_ARROW_COLUMN_LIMIT: Final = 4096


@dataclass(frozen=True, slots=True)
class Layout:
    """How the lines of a file are made.

    Attributes:
        width: fields a line.
        wanted: by the name of the batch's column, the position of its field.
        separator: between fields.
        quoted: fields may stand in double quotes.
        nulls: texts that mean that there is no value; the empty one always does.
        texts: columns that are best read as text although a batch holds numbers (times that are no seconds).
    """

    width: int
    wanted: dict[str, int]
    separator: bytes = b"\t"
    quoted: bool = False
    nulls: tuple[bytes, ...] = (b"-",)
    texts: frozenset[str] = frozenset()


@dataclass(slots=True)
class Table:
    """Columns of the sound lines, the number of each line, and the lines that are not sound."""

    columns: dict[str, Array]
    lines: Int64
    bad: list[tuple[int, str]] = field(default_factory=list)


def parse_lines(data: bytes, first_line: int, layout: Layout, lines: int) -> Table:
    """Parses whole lines.

    Args:
        data: the lines; only the last may lack its line feed.
        first_line: number of the first.
        layout: how they are made.
        lines: how many there are.
    """
    table = _parse_with_arrow(data, first_line, layout, lines)
    return table if table is not None else _parse_line_by_line(data, first_line, layout)


def _parse_with_arrow(data: bytes, first_line: int, layout: Layout, lines: int) -> Table | None:
    """None where a line is not sound, or where Arrow might see the lines otherwise than we do."""
    if len(layout.separator) != 1 or layout.width > _ARROW_COLUMN_LIMIT or layout.width < 2:
        return None
    if layout.quoted and _QUOTE in data:
        return None
    if b"\r" in data and data.count(b"\r") != data.count(b"\r\n"):
        return None
    if not data.endswith(b"\n"):
        data += b"\n"
    names = [str(position) for position in range(layout.width)]
    positions = sorted(set(layout.wanted.values()))
    types = {
        str(position): ENCODED if column in layout.texts else arrow_type(column)
        for column, position in layout.wanted.items()
    }
    try:
        table = arrow_csv.read_csv(
            cast("Any", pa.BufferReader(data)),
            read_options=arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=len(data) + 1),
            parse_options=arrow_csv.ParseOptions(
                delimiter=layout.separator.decode(_TEXT_ENCODING),
                quote_char=False,
                escape_char=False,
                ignore_empty_lines=False,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types,
                null_values=[null.decode(_TEXT_ENCODING) for null in (*layout.nulls, b"")],
                strings_can_be_null=True,
                check_utf8=False,
                include_columns=[str(position) for position in positions],
            ),
        )
    except (pa.ArrowInvalid, UnicodeError):
        return None
    if table.num_rows != lines:
        return None
    arrays = {name: table.column(name).combine_chunks() for name in table.column_names}
    columns = {column: _single(arrays[str(position)]) for column, position in layout.wanted.items()}
    return Table(columns, np.arange(first_line, first_line + table.num_rows, dtype=np.int64))


def _single(array: Array) -> Array:
    if isinstance(array, pa.ChunkedArray):
        return array.chunk(0) if array.num_chunks == 1 else pa.concat_arrays(array.chunks)
    return array


def _parse_line_by_line(data: bytes, first_line: int, layout: Layout) -> Table:
    nulls = {*layout.nulls, b""}
    fields: dict[str, list[bytes | None]] = {column: [] for column in layout.wanted}
    lines: list[int] = []
    bad: list[tuple[int, str]] = []
    texts = data.split(b"\n")
    if texts[-1] == b"":
        texts.pop()
    for number, text in enumerate(texts, first_line):
        row = split_line(text.removesuffix(b"\r"), layout.separator, quoted=layout.quoted)
        if len(row) != layout.width:
            bad.append((number, f"{len(row)} fields; expected {layout.width}"))
            continue
        lines.append(number)
        for column, position in layout.wanted.items():
            value = row[position]
            fields[column].append(None if value in nulls else value)
    columns = {column: pa.array(values, pa.binary()) for column, values in fields.items()}
    return Table(columns, np.asarray(lines, dtype=np.int64), bad)


def split_line(text: bytes, separator: bytes, *, quoted: bool) -> list[bytes]:
    """The fields of one line without its line feed. A line whose quotes do not fit has no fields."""
    if not quoted or _QUOTE not in text:
        return text.split(separator)
    # Carriage returns inside would end the record for the csv module, which reads them as line ends.
    if b"\r" in text or b"\0" in text:
        return []
    line = io.StringIO(text.decode(_TEXT_ENCODING), newline="")
    try:
        rows = list(csv.reader(line, delimiter=separator.decode(_TEXT_ENCODING), strict=True))
    except csv.Error:
        return []
    return [value.encode(_TEXT_ENCODING) for value in rows[0]] if len(rows) == 1 else []


def positions(header: Sequence[str], aliases: dict[str, Sequence[str]]) -> Iterator[tuple[str, int]]:
    """Each wanted column with the position of the first of its names that the header has."""
    places = {name: position for position, name in reversed(list(enumerate(header)))}
    for column, names in aliases.items():
        for name in names:
            if name in places:
                yield column, places[name]
                break
