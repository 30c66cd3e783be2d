"""Network flow data: the columnar :class:`FlowBatch`, and readers of what flow tools write.

>>> from securenet_flows import read_flows
>>> for batch in read_flows("conn.log"):
...     print(len(batch))

Readers are loaded when they are asked for, so that who only holds batches needs no Arrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from securenet_flows.batch import Dictionary, FlowBatch
from securenet_flows.exceptions import (
    ColumnError,
    FlowDataError,
    LabelError,
    NotFlowsError,
    RecordError,
    UnreadableFileError,
)

if TYPE_CHECKING:
    from securenet_flows.captures import Capture, FlowStream, ReadOptions, find_captures, open_capture, read_flows
    from securenet_flows.report import ReadReport, SkippedFile

_LATE = {
    "Capture": "captures",
    "FlowStream": "captures",
    "ReadOptions": "captures",
    "find_captures": "captures",
    "open_capture": "captures",
    "read_flows": "captures",
    "ReadReport": "report",
    "SkippedFile": "report",
}

__all__ = [
    "Capture",
    "ColumnError",
    "Dictionary",
    "FlowBatch",
    "FlowDataError",
    "FlowStream",
    "LabelError",
    "NotFlowsError",
    "ReadOptions",
    "ReadReport",
    "RecordError",
    "SkippedFile",
    "UnreadableFileError",
    "find_captures",
    "open_capture",
    "read_flows",
]


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415  # with what it loads, only when a reader is wanted

    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
