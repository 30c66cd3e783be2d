"""Tables that stay legible on a narrow terminal: sentences go below their row where they do not fit into it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "green"}
#: Columns that hold sentences or long lists; everything else is a word or a number that nobody wants to see folded.
_PROSE = frozenset({"summary", "evidence", "reason", "description", "detail", "aliases", "source"})
#: Characters that a column of sentences needs to be read.
_LEGIBLE = 36
#: Characters that a column of a table takes beside its text: padding and a border.
_BORDER = 3
#: Between the cells of a line.
_GAP = "  "
#: Fewer columns are a table always: what they hold may be as long as it likes.
_MANY = 4


def tabulated(rows: Sequence[Sequence[str]], columns: Sequence[str], title: str, width: int) -> RenderableType:
    """A table of what is given; where that would fold words, a line a row with its sentences below it.

    Where even that is too wide, a line a cell.

    Args:
        rows: text of each cell, as many a row as there are columns.
        columns: names; an underscore is shown as a space.
        title: above the table; none if empty.
        width: characters a line.
    """
    prose = [position for position, column in enumerate(columns) if column in _PROSE]
    words = [position for position in range(len(columns)) if position not in prose]
    wide = _widths(rows, columns, words)
    legible = [min(size, _LEGIBLE) for size in _widths(rows, columns, prose)]
    if not rows or len(columns) < _MANY or sum(wide + legible) + _BORDER * len(columns) + 1 <= width:
        return _table(rows, columns, title, words)
    if sum(wide) + len(_GAP) * (len(words) - 1) <= width:
        return _lines(rows, columns, title, dict(zip(words, wide, strict=True)))
    return _cells(rows, columns, title)


def _widths(rows: Sequence[Sequence[str]], columns: Sequence[str], positions: Sequence[int]) -> list[int]:
    """Characters of each column in one piece; a header may stand on several lines."""
    return [
        max([*map(len, columns[position].split("_")), *(len(row[position]) for row in rows)]) for position in positions
    ]


def _table(rows: Sequence[Sequence[str]], columns: Sequence[str], title: str, words: Sequence[int]) -> RenderableType:
    from rich.table import Table  # noqa: PLC0415 - a command that prints none need not wait for it
    from rich.text import Text  # noqa: PLC0415 - likewise

    table = Table(title=title or None, title_justify="left", header_style="bold")
    # What holds sentences gives way first.
    mixed = len(words) < len(columns)
    for position, column in enumerate(columns):
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=mixed and position in words)
    for row in rows:
        table.add_row(*(Text(text, style=_STYLES.get(text, "")) for text in row))
    return table


def _lines(
    rows: Sequence[Sequence[str]], columns: Sequence[str], title: str, wide: Mapping[int, int]
) -> RenderableType:
    from rich.console import Group  # noqa: PLC0415 - a command that prints none need not wait for it
    from rich.padding import Padding  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    headers = {position: textwrap.wrap(columns[position].replace("_", " "), size) for position, size in wide.items()}
    height = max(map(len, headers.values()))
    parts: list[RenderableType] = [Text(title, style="italic")] if title else []
    for line in range(height):
        # Headers stand on the same floor.
        cells = (
            (header[line - height + len(header)] if line >= height - len(header) else "").ljust(wide[position])
            for position, header in headers.items()
        )
        parts.append(Text(_GAP.join(cells).rstrip(), style="bold"))
    for row in rows:
        styled = [(row[position].ljust(size), _STYLES.get(row[position], "")) for position, size in wide.items()]
        parts.append(Text(_GAP).join(Text(text, style=style) for text, style in styled))
        sentences = [text for position, text in enumerate(row) if position not in wide and text != "–"]
        parts += [Padding(Text(text, overflow="fold"), (0, 0, 0, 4), expand=False) for text in sentences]
    return Group(*parts)


def _cells(rows: Sequence[Sequence[str]], columns: Sequence[str], title: str) -> RenderableType:
    from rich.console import Group  # noqa: PLC0415 - a command that prints none need not wait for it
    from rich.text import Text  # noqa: PLC0415 - likewise

    names = [column.replace("_", " ") for column in columns]
    margin = max(map(len, names))
    parts: list[RenderableType] = [Text(title, style="italic")] if title else []
    for number, row in enumerate(rows):
        if number:
            parts.append(Text(""))
        for name, text in zip(names, row, strict=True):
            parts.append(Text.assemble((name.ljust(margin), "bold"), _GAP, (text, _STYLES.get(text, ""))))
    return Group(*parts)
