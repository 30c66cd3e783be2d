"""Rows that wait for the second look: in memory while they are few, in an unlinked temporary file after that."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from securenet_client.analysis.rows import AnalyzedRows

_IN_MEMORY: Final = 64 << 20


class RowSpill:
    """A sequence of rows, written once and read once."""

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=in_memory)  # noqa: SIM115 - closed by this object's own exit
        self._batches = 0

    def append(self, rows: AnalyzedRows) -> None:
        """Keeps a batch."""
        pickle.dump(rows, self._file, protocol=pickle.HIGHEST_PROTOCOL)
        self._batches += 1

    def __iter__(self) -> Iterator[AnalyzedRows]:
        self._file.seek(0)
        for _ in range(self._batches):
            yield pickle.load(self._file)  # noqa: S301 - this process wrote it, and nobody else can open the file

    def close(self) -> None:
        """Forgets everything."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
