"""What can go wrong with flow data. Each message says where, what came and what was expected."""

from __future__ import annotations


class FlowDataError(Exception):
    """Any problem with flow data."""


class ColumnError(FlowDataError):
    """A column of a batch does not fit its definition."""

    def __init__(self, column: str, came: str, expected: str) -> None:
        super().__init__(f"{column}: {came}; expected {expected}")
        self.column = column
        self.came = came
        self.expected = expected


class RecordError(FlowDataError):
    """A record of a file cannot be read; the records around it can.

    Attributes:
        path: the file, as the caller named it.
        line: line number from 1; for packet captures and binary files the record number; 0 where neither is known.
        reason: what came and what was expected.
    """

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


class LabelError(RecordError):
    """A record was read but the label that its source should have given is missing or no known word.

    The flow is delivered without a label. Analysis may go on; training must not take it for benign.
    """


class UnreadableFileError(FlowDataError):
    """A file cannot be read as flows, or no further than the given line.

    Attributes:
        path: the file, as the caller named it.
        line: the last line that was reached, 0 where nothing was read.
        reason: what came and what was expected.
    """

    def __init__(self, path: str, reason: str, line: int = 0) -> None:
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


class NotFlowsError(UnreadableFileError):
    """A file is sound but holds no flows: another kind of log, a document, an empty file."""
