"""The receiving side of a download: bytes go aside, and become the file only when their digest is right."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from securenet_client.messages import read
from securenet_client.registry.records import DownloadHeader
from securenet_core.exceptions import DataLossError, InvalidArgumentError


class DownloadFile:
    """Takes the messages of a download in.

    Args:
        path: what the file is to be called; replaced when the download is complete.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._digest = hashlib.sha256()
        self._size = 0
        self.header: DownloadHeader | None = None

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._aside.open("wb")
        except OSError as error:
            raise InvalidArgumentError(f"{self._path}: {error.strerror or error}") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._aside.unlink(missing_ok=True)

    def take(self, message: Any) -> None:
        """Takes one message.

        Raises:
            DataLossError: a chunk is not where it belongs.
        """
        if message.HasField("header"):
            self.header = read(DownloadHeader, message.header)
        elif message.HasField("chunk"):
            if message.chunk.offset != self._size:
                raise DataLossError(f"download: a chunk for byte {message.chunk.offset} came; expected {self._size}")
            self._file.write(message.chunk.data)
            self._digest.update(message.chunk.data)
            self._size += len(message.chunk.data)

    def finish(self) -> DownloadHeader:
        """Makes what came the file.

        Raises:
            DataLossError: it is not what the header promised.
        """
        file = self.header.file if self.header else None
        if self.header is None or file is None:
            raise DataLossError("download: no header came")
        if self._size != file.size_bytes or self._digest.hexdigest() != file.digest:
            raise DataLossError(
                f"download: {self._size} bytes with digest {self._digest.hexdigest()} came; "
                f"expected {file.size_bytes} with {file.digest}"
            )
        self._file.close()
        self._aside.replace(self._path)
        return self.header
