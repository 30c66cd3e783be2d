"""Structured logs: one JSON object a line, or text on a terminal. The access log leaves the event loop in batches."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Final, TextIO, cast

from securenet_core.exceptions import Code
from securenet_core.optional_packages import hidden
from securenet_core.settings import ServerSettings

# A terminal's colours for tracebacks take a fifth of a second of every start.
with hidden("rich", "better_exceptions"):
    import structlog

_FLUSH_SECONDS: Final = 0.2
_PENDING_LIMIT: Final = 65_536

#: What one call leaves in the access log: end (Unix seconds), method, code, seconds, subject, tenant, peer, request id,
#: trace id.
AccessRecord = tuple[float, str, Code, float, str, str, str, str, str]
_NAMES: Final = ("subject", "tenant", "peer", "request_id", "trace_id")
_SERVER_FAULTS: Final = frozenset({Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS})
_quote: Final = json.encoder.encode_basestring_ascii


def configure_logging(settings: ServerSettings, service: str, stream: TextIO | None = None) -> bool:
    """Sets up structlog and the standard library's logging for this process.

    Returns:
        Whether lines are JSON.
    """
    out = stream or sys.stderr
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not out.isatty())
    level = getattr(logging, settings.log_level.upper())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    final: list[structlog.types.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=out.isatty())]
    )
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    # Libraries log through the standard library; their lines get the same form.
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    return as_json


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger that bears the name of its module."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(module=name))


class AccessLog:
    """Writes one line a call, in batches from a thread of its own, so that no call waits for a disk or a terminal.

    Where calls end faster than lines can be written, lines are dropped and counted, never calls held back.

    Args:
        service: name that every line bears.
        as_json: JSON, or text.
        stream: where to write.
    """

    def __init__(self, service: str, *, as_json: bool, stream: TextIO | None = None) -> None:
        self.dropped = 0
        self._service = _quote(service)
        self._second = -1
        self._stamp = ""
        self._as_json = as_json
        self._stream = stream or sys.stderr
        self._pending: deque[AccessRecord] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def append(self, record: AccessRecord) -> None:
        """Takes a record; never waits."""
        if len(self._pending) < _PENDING_LIMIT:
            self._pending.append(record)
        else:
            self.dropped += 1

    def close(self) -> None:
        """Writes what is pending and ends the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines: list[str] = []
        while self._pending:
            lines.append(self._format(self._pending.popleft()))
        if lines:
            self._stream.write("".join(lines))
            self._stream.flush()

    def _format(self, record: AccessRecord) -> str:
        # Formatting holds the interpreter's lock while calls wait for it, so it is done by hand: 3 µs a line, not 20.
        end, method, code, seconds, *names = record
        second = int(end)
        if second != self._second:
            self._second = second
            self._stamp = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        stamp = f"{self._stamp}{int((end - second) * 1000):03d}Z"
        level = "error" if code in _SERVER_FAULTS else "info"
        if self._as_json:
            known = f'"service":{self._service},"method":"{method}","code":"{code.name}"'
            rest = "".join(f',"{key}":{_quote(name)}' for key, name in zip(_NAMES, names, strict=True) if name)
            head = f'"timestamp":"{stamp}","level":"{level}","event":"call"'
            return f'{{{head},{known},"duration_ms":{seconds * 1000:.3f}{rest}}}\n'
        rest = "".join(f" {key}={name}" for key, name in zip(_NAMES, names, strict=True) if name)
        return f"{stamp} [{level}] call method={method} code={code.name} duration_ms={seconds * 1000:.3f}{rest}\n"


def now() -> float:
    """Unix time in seconds, for access records."""
    return time.time()
