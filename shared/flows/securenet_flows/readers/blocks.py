"""Cuts a stream of bytes into blocks of whole lines, each bounded in lines and in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_flows.exceptions import UnreadableFileError

#: A longer line is a bad record. Its bytes are dropped as they come.
LONGEST_LINE_BYTES: Final = 1 << 20
#: A block of many long lines is cut here, so that memory is bounded whatever the lines.
LARGEST_BLOCK_BYTES: Final = 16 << 20

_BOM: Final = b"\xef\xbb\xbf"
_NONE: Final[NDArray[np.int64]] = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive whole lines.

    Attributes:
        data: the lines with their line feeds; only the last line of a file may lack it.
        first_line: number of the first line, from 1.
        lines: how many.
        overlong: after these lines one was dropped because it was too long.
    """

    data: bytes
    first_line: int
    lines: int
    overlong: bool = False


def count_lines(data: bytes) -> int:
    """How many lines some data has; the last may lack its line feed."""
    return data.count(b"\n") + (not data.endswith(b"\n") and len(data) > 0)


def cut_blocks(pieces: Iterator[bytes], rows: int) -> Iterator[Block]:
    """Blocks of at most `rows` lines; a byte order mark at the start is dropped.

    Raises:
        UnreadableFileError: what `pieces` raises, with the last line that was given. Lines that came whole before it
            are given.
    """
    cutter = _Cutter(rows)
    failure: UnreadableFileError | None = None
    while True:
        try:
            piece = next(pieces, None)
        except UnreadableFileError as error:
            failure, piece = error, None
        if piece is None:
            break
        yield from cutter.take(piece)
    yield from cutter.finish(broken=failure is not None)
    if failure is not None:
        raise UnreadableFileError(failure.path, failure.reason, cutter.line - 1)


class _Cutter:
    """Bytes that are not yet given, and where their lines end."""

    def __init__(self, rows: int) -> None:
        self.line = 1
        self._rows = rows
        self._pending = b""
        self._ends = _NONE
        self._started = False
        self._dropping = False

    def take(self, piece: bytes) -> Iterator[Block]:
        """Blocks that are whole with this piece."""
        if not self._started:
            piece = self._pending + piece
            if len(piece) < len(_BOM) and _BOM.startswith(piece):
                self._pending = piece
                return
            self._pending, piece, self._started = b"", piece.removeprefix(_BOM), True
        if self._dropping:
            end = piece.find(b"\n") + 1
            if not end:
                return
            piece = piece[end:]
            yield self._dropped()
        ends = np.flatnonzero(np.frombuffer(piece, dtype=np.uint8) == ord("\n")) + (len(self._pending) + 1)
        self._ends = np.concatenate([self._ends, ends]) if len(self._ends) else ends
        self._pending = self._pending + piece if self._pending else piece
        yield from self._whole_blocks()
        rest = len(self._pending) - (int(self._ends[-1]) if len(self._ends) else 0)
        if rest > LONGEST_LINE_BYTES:
            if len(self._ends):
                yield from self._give(len(self._ends))
            self._pending, self._ends, self._dropping = b"", _NONE, True

    def finish(self, *, broken: bool) -> Iterator[Block]:
        """What is left at the end; of a stream that broke off only the lines that came whole."""
        if self._dropping:
            yield self._dropped()
        if self._pending and not broken and (not len(self._ends) or self._ends[-1] != len(self._pending)):
            self._ends = np.append(self._ends, len(self._pending))
        if len(self._ends):
            yield from self._give(len(self._ends))

    def _dropped(self) -> Block:
        self._dropping = False
        self.line += 1
        return Block(b"", self.line - 1, 0, overlong=True)

    def _whole_blocks(self) -> Iterator[Block]:
        """As long as there are enough lines or bytes for a block. The bytes are shortened once, at the end."""
        given = start = 0
        while len(self._ends) - given >= self._rows or (
            len(self._ends) > given and len(self._pending) - start > LARGEST_BLOCK_BYTES
        ):
            within = int(np.searchsorted(self._ends, start + LARGEST_BLOCK_BYTES, side="right")) - given
            count = max(min(self._rows, within), 1)
            ends = self._ends[given : given + count]
            yield from self._blocks(start, ends)
            given += count
            start = int(ends[-1])
        self._pending = self._pending[start:] if start else self._pending
        self._ends = self._ends[given:] - start

    def _give(self, count: int) -> Iterator[Block]:
        """The first `count` lines, at most as many as a block may have."""
        ends = self._ends[:count]
        yield from self._blocks(0, ends)
        end = int(ends[-1])
        self._pending, self._ends = self._pending[end:], self._ends[count:] - end

    def _blocks(self, start: int, ends: NDArray[np.int64]) -> Iterator[Block]:
        """Lines as one block, or as several around those that are too long."""
        row = 0
        lengths = np.diff(ends, prepend=start)
        for long in np.flatnonzero(lengths > LONGEST_LINE_BYTES).tolist():
            end = int(ends[long])
            yield Block(self._pending[start : end - int(lengths[long])], self.line, long - row, overlong=True)
            self.line += long - row + 1
            row, start = long + 1, end
        if row < len(ends):
            yield Block(self._pending[start : int(ends[-1])], self.line, len(ends) - row)
            self.line += len(ends) - row
