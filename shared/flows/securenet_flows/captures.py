"""Captures: what is read as one. A file, or all rotated conn logs of a directory with the logs that belong to them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from securenet_flows.batch import FlowBatch
from securenet_flows.exceptions import NotFlowsError, UnreadableFileError
from securenet_flows.readers.detection import detect
from securenet_flows.readers.interface import DEFAULT_BATCH_ROWS, Detected, Format
from securenet_flows.readers.registered import reader_of
from securenet_flows.readers.sources import Source
from securenet_flows.readers.zeek_siblings import DEFAULT_SIBLING_RECORDS, SiblingIndex
from securenet_flows.report import ErrorListener, FileLog, ReadReport

STANDARD_INPUT: Final = "-"
_MOST_BATCH_ROWS: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read.

    Attributes:
        batch_rows: at most so many rows a batch; memory follows it.
        strict: raise :class:`RecordError` at the first bad record.
        on_error: hears of each problem when it is met. With it nothing unreadable is raised.
        join_siblings: fill dns_*, http_*, tls_* and ssh_* columns of conn.log from the logs beside it.
        sibling_records: at most so many records of those logs are held.
    """

    batch_rows: int = DEFAULT_BATCH_ROWS
    strict: bool = False
    on_error: ErrorListener | None = None
    join_siblings: bool = True
    sibling_records: int = DEFAULT_SIBLING_RECORDS

    def __post_init__(self) -> None:
        if not 1 <= self.batch_rows <= _MOST_BATCH_ROWS:
            raise ValueError(f"batch_rows: {self.batch_rows}; expected 1 to {_MOST_BATCH_ROWS}")


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a capture."""

    source: Source
    detected: Detected


@dataclass(slots=True)
class Capture:
    """Flows that belong together. Iterating reads them, once.

    Attributes:
        name: for people: path from the parent of what the caller named.
        format: of its first file.
        members: the files, in the order in which they are read.
        siblings: Zeek logs that are joined to the flows by uid.
        options: how to read.
        report: what was found; complete after the last batch.
        explicit: the caller named the file, so that an unreadable one is raised.
    """

    name: str
    format: Format
    members: Sequence[Member]
    siblings: Sequence[Member] = ()
    options: ReadOptions = field(default_factory=ReadOptions)
    report: ReadReport = field(default_factory=ReadReport)
    explicit: bool = True

    def __iter__(self) -> Iterator[FlowBatch]:
        """Batches in the order of the files and of the records in each.

        Raises:
            RecordError: strict reading met a bad record.
            UnreadableFileError: the file that the caller named cannot be read further, and nobody listens for errors.
        """
        index = self._index()
        for member in self.members:
            log = self._log(member)
            reader = reader_of(member.detected.format or self.format)
            try:
                for batch in reader.read(member.source, member.detected, log, self.options.batch_rows):
                    self.report.records += len(batch)
                    yield index.join(batch) if index is not None else batch
            except UnreadableFileError as error:
                _unreadable(error, self.report, self.options, explicit=self.explicit)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, as messages name them."""
        return tuple(member.source.path for member in self.members)

    def _log(self, member: Member) -> FileLog:
        return FileLog(member.source.path, self.report, strict=self.options.strict, on_error=self.options.on_error)

    def _index(self) -> SiblingIndex | None:
        if not self.siblings:
            return None
        index = SiblingIndex(self.options.sibling_records)
        for member in self.siblings:
            # What is wrong there loses no flow, so it is not counted with the flows.
            log = FileLog(member.source.path, strict=self.options.strict)
            try:
                index.add(member.source, member.detected, log)
            except UnreadableFileError as error:
                _unreadable(error, self.report, self.options, explicit=False)
            if log.report.errors:
                self.report.note(f"{log.report.bad_records} records not joined, the first: {log.report.errors[0]}")
            for note in log.report.notes:
                self.report.note(note)
        names = ", ".join(Path(member.source.path).name for member in self.siblings)
        self.report.note(f"{self.name}: joined by uid: {names}")
        return index


def _unreadable(error: UnreadableFileError, report: ReadReport, options: ReadOptions, *, explicit: bool) -> None:
    report.unreadable.append(error)
    if options.on_error is not None:
        options.on_error(error)
    elif explicit:
        raise error


def open_capture(path: str | Path, options: ReadOptions | None = None) -> Capture:
    """Opens one capture: a file, `-` for standard input, or a directory that holds just one.

    Raises:
        UnreadableFileError: the file cannot be opened or is in no known form; a directory holds none or several.
        NotFlowsError: the file is sound but no flow log.
    """
    options = options or ReadOptions()
    report = ReadReport()
    captures = list(find_captures([path], options, report))
    if len(captures) == 1:
        return captures[0]
    if not captures and report.unreadable:
        raise report.unreadable[0]
    names = ", ".join(capture.name for capture in captures[:5])
    raise UnreadableFileError(
        str(path), f"{len(captures)} captures ({names}); expected one" if names else "no flow log"
    )


def find_captures(
    paths: Iterable[str | Path], options: ReadOptions | None = None, report: ReadReport | None = None
) -> Iterator[Capture]:
    """Finds captures by the content of files; reads no further than their first 64 KiB.

    A directory is searched through. Its conn logs, rotated ones too, are one capture; the dns, http, ssl and ssh logs
    beside them are joined by uid. Where there is no conn log each of those four is a capture of its own, a record a
    flow. Each file of another format is a capture.

    Args:
        paths: files, directories, `-` for standard input.
        options: how to read.
        report: takes what was skipped or cannot be read.

    Raises:
        UnreadableFileError: a file that is named cannot be read, and nobody listens for errors.
    """
    from securenet_flows.directories import find_in_directory, siblings_of  # noqa: PLC0415  # it builds captures

    options = options or ReadOptions()
    report = report if report is not None else ReadReport()
    for path in paths:
        if str(path) != STANDARD_INPUT and Path(path).is_dir():
            yield from find_in_directory(Path(path), options, report)
            continue
        try:
            member = open_member(str(path))
        except UnreadableFileError as error:
            _unreadable(error, report, options, explicit=True)
            continue
        siblings = siblings_of(member) if options.join_siblings else ()
        yield Capture(Path(path).name, _format(member), (member,), siblings, options)


def open_member(path: str) -> Member:
    """Opens a file and detects its format.

    Raises:
        UnreadableFileError: it cannot be opened or is in no known form.
        NotFlowsError: it is sound but no flow log.
    """
    if path == STANDARD_INPUT:
        source = Source("<stdin>", sys.stdin.buffer)
    elif Path(path).exists() and not Path(path).is_file():
        source = Source(path, Path(path).open("rb"))  # noqa: SIM115  # a pipe, read once and to its end
    else:
        source = Source(path)
    detected = detect(source)
    if detected.format is None:
        raise (NotFlowsError if detected.sound else UnreadableFileError)(path, detected.reason)
    return Member(source, detected)


def _format(member: Member) -> Format:
    if member.detected.format is None:
        raise UnreadableFileError(member.source.path, member.detected.reason)
    return member.detected.format


class FlowStream:
    """Batches of several captures one after another, as :func:`read_flows` gives them."""

    def __init__(self, paths: Sequence[str | Path], options: ReadOptions) -> None:
        self._paths = paths
        self._options = options
        self.report = ReadReport()

    def __iter__(self) -> Iterator[FlowBatch]:
        """Reads once from the start; see :func:`read_flows` for what it raises."""
        for capture in find_captures(self._paths, self._options, self.report):
            try:
                yield from capture
            finally:
                self.report.add(capture.report)


def read_flows(
    paths: str | Path | Iterable[str | Path],
    *,
    batch_rows: int = DEFAULT_BATCH_ROWS,
    strict: bool = False,
    on_error: ErrorListener | None = None,
    join_siblings: bool = True,
) -> FlowStream:
    """Reads flows of files and directories, whatever their format.

    Args:
        paths: one or several; `-` is standard input, a directory is searched through.
        batch_rows: at most so many rows a batch.
        strict: stop at the first bad record.
        on_error: hears of each bad record, bad label and unreadable file; else they stand in the `report` alone.
        join_siblings: fill application columns of conn.log from the dns, http, ssl and ssh logs beside it.

    Returns:
        An iterable of batches in the order of the input, with a `report` that is complete when they are exhausted.

    Raises:
        RecordError: `strict`, at a bad record.
        UnreadableFileError: a file that is named cannot be read and there is no `on_error`. Files met in a directory
            are reported instead.
        NotFlowsError: likewise, for a file that is sound but no flow log.
    """
    several = [paths] if isinstance(paths, (str, Path)) else list(paths)
    options = ReadOptions(batch_rows=batch_rows, strict=strict, on_error=on_error, join_siblings=join_siblings)
    return FlowStream(several, options)
