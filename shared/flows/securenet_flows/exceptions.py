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
