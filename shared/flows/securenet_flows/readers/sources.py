"""Bytes of a file or stream, decompressed in bounded pieces."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa

from securenet_flows.exceptions import UnreadableFileError
from securenet_flows.readers.blocks import Block, cut_blocks

PIECE_BYTES: Final = 1 << 20
HEAD_BYTES: Final = 64 << 10

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


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
        return cut_blocks(self.pieces(), rows)

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
