"""What reading a capture found besides flows: how much was read, what was wrong where, what was left out and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from securenet_flows.exceptions import FlowDataError, LabelError, RecordError, UnreadableFileError

#: How many located errors a report keeps; the counts go on.
ERRORS_KEPT: Final = 100

#: Hears of each problem as it is met: :class:`RecordError`, :class:`LabelError` or :class:`UnreadableFileError`.
ErrorListener = Callable[[FlowDataError], None]


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that was left out, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class ReadReport:
    """The state of reading; complete when the batches are exhausted.

    Attributes:
        records: flows delivered.
        bad_records: records that could not be read.
        bad_labels: flows delivered without a label although their source has labels.
        errors: the first :data:`ERRORS_KEPT` bad records, located.
        label_errors: the first :data:`ERRORS_KEPT` bad labels, located.
        unreadable: files that are corrupt or in no known form, or that broke off.
        skipped: files that hold no flows of their own, or the flows of another file once more.
        notes: what a reader of the figures should know, in sentences.
    """

    records: int = 0
    bad_records: int = 0
    bad_labels: int = 0
    errors: list[RecordError] = field(default_factory=list)
    label_errors: list[LabelError] = field(default_factory=list)
    unreadable: list[UnreadableFileError] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Adds a note unless it is there."""
        if text not in self.notes:
            self.notes.append(text)

    def add(self, other: ReadReport) -> None:
        """Takes the figures of another report in, as for the whole of several captures."""
        self.records += other.records
        self.bad_records += other.bad_records
        self.bad_labels += other.bad_labels
        self.errors.extend(other.errors[: ERRORS_KEPT - len(self.errors)])
        self.label_errors.extend(other.label_errors[: ERRORS_KEPT - len(self.label_errors)])
        self.unreadable.extend(other.unreadable)
        self.skipped.extend(other.skipped)
        for text in other.notes:
            self.note(text)


@dataclass(frozen=True, slots=True)
class FileLog:
    """Where the reader of one file tells its problems.

    Attributes:
        path: the file, as its problems name it.
        report: counts and keeps them.
        strict: raise the first bad record instead of going on.
        on_error: hears each.
    """

    path: str
    report: ReadReport = field(default_factory=ReadReport)
    strict: bool = False
    on_error: ErrorListener | None = None

    def bad_record(self, line: int, reason: str) -> None:
        """Counts a record that cannot be read.

        Raises:
            RecordError: strict reading.
        """
        error = RecordError(self.path, line, reason)
        if self.strict:
            raise error
        self.report.bad_records += 1
        if len(self.report.errors) < ERRORS_KEPT:
            self.report.errors.append(error)
        if self.on_error is not None:
            self.on_error(error)

    def bad_label(self, line: int, reason: str) -> None:
        """Counts a flow whose label is missing or no known word. The flow itself was read, also in strict reading."""
        error = LabelError(self.path, line, reason)
        self.report.bad_labels += 1
        if len(self.report.label_errors) < ERRORS_KEPT:
            self.report.label_errors.append(error)
        if self.on_error is not None:
            self.on_error(error)

    def note(self, text: str) -> None:
        """Adds a note to the report."""
        self.report.note(f"{self.path}: {text}")
