"""Tables on terminals of any width."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from securenet_client.cli.tables import tabulated

pytestmark = pytest.mark.unit

COLUMNS = ("finding_id", "threat_level", "entity", "count", "summary")
ROWS = [
    (
        "820980558f9888073bf113669aee5f9f",
        "high",
        "10.24.10.20",
        "250",
        "tried tcp/445 on 250 hosts that did not answer",
    ),
    ("c468e56749b013785c70178643d8ff91", "medium", "2001:db8::20", "3", "–"),
]


def shown(width: int, rows: Sequence[Sequence[str]] = ROWS) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(tabulated(rows, COLUMNS, "Findings", width))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_wide_terminal_gets_a_table() -> None:
    lines = shown(140)
    row = next(line for line in lines if "10.24.10.20" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == list(ROWS[0])


def test_a_narrow_one_gets_sentences_below_their_row() -> None:
    lines = shown(70)
    assert lines[0] == "Findings"
    assert lines[1:3] == [f"{'':34}threat", f"{'finding id':34}level   entity        count"]
    assert lines[3] == f"{ROWS[0][0]}  high    10.24.10.20   250"
    assert lines[4] == f"    {ROWS[0][4]}"
    assert lines[5] == f"{ROWS[1][0]}  medium  2001:db8::20  3"
    assert len(lines) == 6


def test_a_very_narrow_one_gets_a_line_a_cell() -> None:
    lines = shown(50)
    assert lines[1] == f"finding id    {ROWS[0][0]}"
    assert "entity        2001:db8::20" in lines


@pytest.mark.parametrize("width", [20, 40, 50, 70, 100, 140])
def test_no_word_is_lost_at_any_width(width: int) -> None:
    together = "".join("".join(shown(width)).split())
    for row in ROWS:
        assert row[0][:8] in together
        assert "".join(row[2].split()) in together.replace("│", "")


def test_no_rows_are_an_empty_table() -> None:
    assert any("finding id" in line for line in shown(100, []))
