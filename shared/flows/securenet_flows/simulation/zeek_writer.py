"""Writes a simulation as the logs that Zeek would have written, with labels in conn.log.

Real Zeek writes a connection when it has ended; here the order is that of start times, so that a log can be replayed.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np

from securenet_flows.simulation.exceptions import SimulationError
from securenet_flows.simulation.settings import SimulationSettings
from securenet_flows.simulation.simulator import simulate
from securenet_flows.simulation.table import Flows, LogRecords
from securenet_flows.simulation.zeek_columns import LOGS, TextArray, ZeekField, pc

Format = Literal["tsv", "json"]


@dataclass(frozen=True, slots=True)
class SimulationSummary:
    """What was written.

    Attributes:
        flows: records of conn.log.
        malicious: those of them that belong to an attack.
        scenarios: flows by scenario, those that made none included.
        activities: flows by kind of benign traffic.
        records: records by log.
        files: what was written, conn.log first.
    """

    flows: int
    malicious: int
    scenarios: Mapping[str, int]
    activities: Mapping[str, int]
    records: Mapping[str, int]
    files: tuple[Path, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "flows": self.flows,
            "malicious": self.malicious,
            "scenarios": dict(self.scenarios),
            "activities": dict(self.activities),
            "records": dict(self.records),
            "files": [str(path) for path in self.files],
        }


@dataclass(frozen=True, slots=True)
class SimulationProgress:
    """How far a run is: share of the simulated time in 0..1, and the flows so far."""

    share: float
    flows: int


def write_zeek_logs(
    settings: SimulationSettings,
    directory: Path,
    format: Format = "tsv",  # noqa: A002 (what the command line calls it)
    *,
    compress: bool = False,
    progress: Callable[[SimulationProgress], None] | None = None,
) -> SimulationSummary:
    """Writes conn, dns, http, ssl and ssh logs into a directory, which is made if it is not there.

    As with Zeek, a log without records is not written; conn.log always is. Files of the same names are replaced, those
    that this run does not write are removed, so that the directory holds one simulation.

    Args:
        settings: the simulation.
        directory: where to.
        format: `tsv`, Zeek's own, or `json`, an object a line.
        compress: gzip, names end in `.gz`.
        progress: called after each piece.

    Raises:
        SimulationError: a scenario or parameter is not accepted (before anything is written), or the format is unknown.
        OSError: the directory cannot be written.
    """
    if format not in ("tsv", "json"):
        raise SimulationError("format", repr(format), "tsv or json")
    pieces = simulate(settings)
    directory.mkdir(parents=True, exist_ok=True)
    for name in LOGS:
        for ending in (".log", ".log.gz"):
            (directory / (name + ending)).unlink(missing_ok=True)
    details: Counter[tuple[str, bool]] = Counter()
    with ExitStack() as stack:
        logs = {
            name: stack.enter_context(
                _LogFile(directory / f"{name}.log{'.gz' if compress else ''}", name, format, settings)
            )
            for name in LOGS
        }
        logs["conn"].open()
        for flows in pieces:
            _count(details, flows)
            logs["conn"].write(flows, LogRecords(np.arange(len(flows)), np.zeros(len(flows), dtype=np.int64), {}))
            for name, records in flows.logs.items():
                if len(records):
                    logs[name].write(flows, records)
            if progress is not None:
                last = int(flows["start_us"][-1])
                span = settings.end_us - settings.start_us
                progress(SimulationProgress((last - settings.start_us) / span, logs["conn"].records))
    wanted = {scheduled.name: 0 for scheduled in settings.scenarios}
    return SimulationSummary(
        flows=logs["conn"].records,
        malicious=sum(count for (_, malicious), count in details.items() if malicious),
        scenarios=wanted | {name: count for (name, malicious), count in sorted(details.items()) if malicious},
        activities={name: count for (name, malicious), count in sorted(details.items()) if not malicious},
        records={name: log.records for name, log in logs.items()},
        files=tuple(log.path for log in logs.values() if log.written),
    )


def _count(details: Counter[tuple[str, bool]], flows: Flows) -> None:
    for malicious in (False, True):
        names = flows["detail"][flows["malicious"] == malicious]
        details.update({(name, malicious): count for name, count in Counter(names.tolist()).items()})


@dataclass(slots=True)
class _LogFile:
    """One log, opened at its first record; its header and its last line tell simulated times, so that files compare."""

    path: Path
    name: str
    format: Format
    settings: SimulationSettings
    records: int = 0
    written: bool = False
    _stream: IO[bytes] | None = None
    _closing: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> _LogFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None and self.format == "tsv":
            self._stream.write(f"#close\t{_stamp(self.settings.end_us)}\n".encode())
        self._closing.close()

    def open(self) -> IO[bytes]:
        """The stream, with the header written."""
        if self._stream is not None:
            return self._stream
        stream = cast("IO[bytes]", self._closing.enter_context(self.path.open("wb")))
        if self.path.suffix == ".gz":
            # Without name and time in its header, equal content gives equal bytes.
            packed = gzip.GzipFile(filename="", fileobj=stream, mode="wb", compresslevel=6, mtime=0)
            stream = cast("IO[bytes]", self._closing.enter_context(packed))
        self._stream, self.written = stream, True
        if self.format == "tsv":
            stream.write(_header(self.name, self.settings.start_us))
        return stream

    def write(self, flows: Flows, records: LogRecords) -> None:
        """Appends one line a record."""
        rows = Flows({name: values[records.row] for name, values in flows.columns.items()})
        fields = LOGS[self.name]
        lines = _json_lines(fields, rows, records) if self.format == "json" else _tsv_lines(fields, rows, records)
        self.open().write(_content(lines))
        self.records += len(records)


def _stamp(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%d-%H-%M-%S")


def _header(name: str, start_us: int) -> bytes:
    fields = LOGS[name]
    lines = (
        "#separator \\x09",
        "#set_separator\t,",
        "#empty_field\t(empty)",
        "#unset_field\t-",
        f"#path\t{name}",
        f"#open\t{_stamp(start_us)}",
        "\t".join(("#fields", *(field.name for field in fields))),
        "\t".join(("#types", *(field.type for field in fields))),
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _tsv_lines(fields: tuple[ZeekField, ...], flows: Flows, records: LogRecords) -> TextArray:
    columns = [field.text(flows, records, as_json=False) for field in fields]
    lines = pc.binary_join_element_wise(*columns, "\t", null_handling="replace", null_replacement="-")
    return pc.binary_join_element_wise(lines, "\n", "")


def _json_lines(fields: tuple[ZeekField, ...], flows: Flows, records: LogRecords) -> TextArray:
    """One object a record; a null part takes its key with it."""
    parts = [
        pc.binary_join_element_wise(
            f'{"{" if i == 0 else ","}"{field.name}":', field.text(flows, records, as_json=True), ""
        )
        for i, field in enumerate(fields)
    ]
    return pc.binary_join_element_wise(*parts, "}\n", "", null_handling="skip")


def _content(lines: TextArray) -> bytes:
    """The texts of a string array one after the other, straight from its buffer."""
    offsets = np.frombuffer(lines.buffers()[1], dtype=np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return memoryview(lines.buffers()[2])[int(offsets[0]) : int(offsets[-1])].tobytes()
