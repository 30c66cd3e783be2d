"""Bytes of a file, decompressed in bounded pieces, and cut into blocks of whole lines."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
import pyarrow as pa

from securenet_flows.exceptions import UnreadableFileError

PIECE_BYTES: Final = 1 << 20
#: A longer line is a bad record. Its bytes are dropped as they come.
LONGEST_LINE_BYTES: Final = 1 << 20
#: A block of many long lines is cut here, so that memory is bounded whatever the lines.
LARGEST_BLOCK_BYTES: Final = 16 << 20
HEAD_BYTES: Final = 64 << 10

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_BOM: Final = b"\xef\xbb\xbf"


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


class Source:
    """A file, or a stream that is read once.

    Args:
        path: what messages call it, and where it is unless a stream is given.
        stream: binary, need not be seekable (standard input).
    """

    def __init__(self, path: str, stream: BinaryIO | None = None) -> None:
        self.path = path
        self._stream = stream
        self._peeked: list[bytes] = []

    @property
    def is_stream(self) -> bool:
        """Whether there is no file to open again."""
        return self._stream is not None

    def raw_head(self, size: int = HEAD_BYTES) -> bytes:
        """The first bytes as they are stored.

        Raises:
            UnreadableFileError: the file cannot be opened or read.
        """
        if self._stream is not None:
            while sum(map(len, self._peeked)) < size:
                piece = self._stream.read(size)
                if not piece:
                    break
                self._peeked.append(piece)
            return b"".join(self._peeked)[:size]
        try:
            with Path(self.path).open("rb") as file:
                return file.read(size)
        except OSError as error:
            raise UnreadableFileError(self.path, f"cannot be opened: {error.strerror or error}") from error

    def head(self) -> bytes:
        """The first bytes after decompression; fewer where the stream breaks off."""
        head = self.raw_head()
        if head[:2] == _GZIP:
            return next(_inflate([head], self.path, whole=False), b"")[:HEAD_BYTES]
        if head[:4] == _ZSTD:
            try:
                with pa.CompressedInputStream(pa.BufferReader(head), "zstd") as stream:
                    return bytes(stream.read(HEAD_BYTES))
            except OSError:
                return self._zstd_head(head)
        return head

    def pieces(self) -> Iterator[bytes]:
        """The content after decompression, at most :data:`PIECE_BYTES` at a time.

        Raises:
            UnreadableFileError: the file cannot be opened, or its compression is damaged; what came before was given.
        """
        raw = self._raw_pieces()
        first = next(raw, b"")
        if first[:2] == _GZIP:
            yield from _inflate(_chain(first, raw), self.path)
        elif first[:4] == _ZSTD:
            yield from _zstd(_Readable(_chain(first, raw)), self.path)
        else:
            yield from _chain(first, raw)

    def blocks(self, rows: int) -> Iterator[Block]:
        """The content in blocks of at most `rows` lines; a byte order mark at the start is dropped.

        Raises:
            UnreadableFileError: as :meth:`pieces`, with the last line that was given.
        """
        return _Cutter(self, rows).blocks()

    def _zstd_head(self, head: bytes) -> bytes:
        """A piece at a time: a head that breaks off inside the stream gives only what came before."""
        content = bytearray()
        with contextlib.suppress(OSError), pa.CompressedInputStream(pa.BufferReader(head), "zstd") as stream:
            while len(content) < HEAD_BYTES and (piece := stream.read(256)):
                content += piece
        return bytes(content)

    def _raw_pieces(self) -> Iterator[bytes]:
        try:
            if self._stream is not None:
                yield from self._peeked
                self._peeked = []
                while piece := self._stream.read(PIECE_BYTES):
                    yield piece
                return
            with Path(self.path).open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    yield piece
        except OSError as error:
            raise UnreadableFileError(self.path, f"cannot be read: {error.strerror or error}") from error


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _inflate(pieces: Iterator[bytes] | list[bytes], path: str, *, whole: bool = True) -> Iterator[bytes]:
    """Gzip, with several members one after another, in bounded pieces whatever the ratio."""
    member = zlib.decompressobj(wbits=31)
    started = False
    for piece in pieces:
        rest = piece
        full = False
        while rest or full:
            started = True
            try:
                content = member.decompress(rest, PIECE_BYTES)
            except zlib.error as error:
                if whole:
                    raise UnreadableFileError(path, f"gzip stream damaged: {error}") from error
                return
            if content:
                yield content
            # Output may still wait inside although all input was taken.
            full = len(content) == PIECE_BYTES
            rest = member.unconsumed_tail
            if member.eof:
                rest = member.unused_data.lstrip(b"\0")
                member = zlib.decompressobj(wbits=31)
                started = full = False
    if started and whole:
        raise UnreadableFileError(path, "gzip stream ends in the middle")


class _Readable:
    """An iterator of bytes as the file that Arrow wants."""

    closed = False

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int = PIECE_BYTES) -> bytes:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


def _zstd(file: _Readable, path: str) -> Iterator[bytes]:
    try:
        with pa.CompressedInputStream(pa.PythonFile(cast("Any", file), mode="r"), "zstd") as stream:
            while content := stream.read(PIECE_BYTES):
                yield bytes(content)
    except OSError as error:
        raise UnreadableFileError(path, f"zstd stream damaged: {str(error).splitlines()[0]}") from error


class _Cutter:
    """Cuts pieces into blocks."""

    def __init__(self, source: Source, rows: int) -> None:
        self._source = source
        self._rows = rows
        self._pending = b""
        self._line = 1
        self._dropping = False

    def blocks(self) -> Iterator[Block]:
        failure: UnreadableFileError | None = None
        pieces = self._source.pieces()
        first = True
        while True:
            try:
                piece = next(pieces, None)
            except UnreadableFileError as error:
                failure, piece = error, None
            if piece is None:
                break
            self._pending = self._pending + piece if self._pending else piece
            if first:
                if len(self._pending) < len(_BOM) and _BOM.startswith(self._pending):
                    continue
                self._pending = self._pending.removeprefix(_BOM)
                first = False
            yield from self._cut()
        if self._dropping:
            yield Block(b"", self._line, 0, overlong=True)
        elif self._pending and failure is None:
            yield from self._whole(self._pending)
        if failure is not None:
            raise UnreadableFileError(failure.path, failure.reason, self._line - 1 if self._line > 1 else 0)

    def _cut(self) -> Iterator[Block]:
        ends = np.flatnonzero(np.frombuffer(self._pending, dtype=np.uint8) == ord("\n")) + 1
        start = 0
        if self._dropping:
            if not len(ends):
                self._pending = b""
                return
            start = int(ends[0])
            ends = ends[1:]
            self._dropping = False
            yield Block(b"", self._line, 0, overlong=True)
            self._line += 1
        taken = 0
        while len(ends) - taken >= self._rows or (
            len(ends) > taken and len(self._pending) - start > LARGEST_BLOCK_BYTES
        ):
            within = int(np.searchsorted(ends, start + LARGEST_BLOCK_BYTES, side="right")) - taken
            count = max(min(self._rows, within), 1)
            end = int(ends[taken + count - 1])
            yield from self._whole(self._pending[start:end])
            taken += count
            start = end
        self._pending = self._pending[start:]
        last = int(ends[-1]) - start if len(ends) > taken else 0
        if len(self._pending) - last > LONGEST_LINE_BYTES:
            if last:
                yield from self._whole(self._pending[:last])
            self._pending = b""
            self._dropping = True

    def _whole(self, data: bytes) -> Iterator[Block]:
        """Lines as blocks, without those that are too long."""
        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")) + 1
        if not len(ends) or ends[-1] != len(data):
            ends = np.append(ends, len(data))
        lengths = np.diff(ends, prepend=0)
        start = row = 0
        for long in np.flatnonzero(lengths > LONGEST_LINE_BYTES).tolist():
            yield Block(data[start : int(ends[long]) - int(lengths[long])], self._line, long - row, overlong=True)
            self._line += long - row + 1
            row = long + 1
            start = int(ends[long])
        if start < len(data):
            yield Block(data[start:] if start else data, self._line, len(ends) - row)
            self._line += len(ends) - row
