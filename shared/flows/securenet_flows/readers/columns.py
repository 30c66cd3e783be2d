"""Arrow columns as a file gave them to a batch of its sound rows, and a reason for each of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from securenet_flows.batch import NUMERIC, REQUIRED, TEXT, Bool, Dictionary, FlowBatch, Int64
from securenet_flows.readers.arrow import Array
from securenet_flows.readers.conversions import convert
from securenet_flows.readers.labels import plain_label
from securenet_flows.readers.texts import encode_text, show

#: How identifiers begin that are no source's own.
MADE_UP_ID: Final = "line-"


@dataclass(slots=True)
class Assembled:
    """A batch of the sound rows, and what was wrong with the others, each by its line."""

    batch: FlowBatch
    bad_records: list[tuple[int, str]] = field(default_factory=list)
    bad_labels: list[tuple[int, str]] = field(default_factory=list)


def assemble(
    columns: Mapping[str, Array],
    lines: Int64,
    *,
    names: Mapping[str, str] | None = None,
    label_of: Callable[[str], str | None] = plain_label,
    unescape: Callable[[bytes], bytes] | None = None,
) -> Assembled:
    """Makes a batch of columns as a file gave them.

    Args:
        columns: by the name of the batch's column, arrays of one length n. Without `flow_id` one is made of the line.
            Times and durations are seconds, or ISO 8601 texts, or int64 nanoseconds. The label column holds the
            source's words.
        lines: (n,) the line of each row, for messages.
        names: what the source calls a column, for messages.
        label_of: translates the source's words.
        unescape: undoes the escapes of the source's texts.
    """
    rows = len(lines)
    faults = _Faults(rows, columns, names or {})
    required = {name: _required(name, columns, faults) for name in REQUIRED}
    numeric: dict[str, NDArray[Any]] = {}
    present: dict[str, Bool] = {}
    for name, dtype in NUMERIC.items():
        if name not in columns:
            continue
        converted = convert(name, columns[name])
        faults.add(name, converted.wrong, converted.expected)
        numeric[name] = converted.values.astype(dtype, copy=False)
        if not converted.present.all():
            present[name] = converted.present
    text = {
        name: encode_text(columns[name], unescape)
        for name in TEXT
        if name in columns and name not in {"label", "flow_id"}
    }
    text["flow_id"] = _identified(columns.get("flow_id"), lines)
    unlabelled = None
    if "label" in columns:
        words = encode_text(columns["label"], unescape)
        text["label"] = _translate(words, label_of)
        unlabelled = text["label"].codes < 0
        if "detailed_label" not in text:
            text["detailed_label"] = words
    batch = FlowBatch(**required, numeric=numeric, text=text, present=present)
    bad_labels: list[tuple[int, str]] = []
    if unlabelled is not None:
        bad_labels.extend(
            (int(lines[row]), _label_reason(faults.name_of("label"), columns["label"][row]))
            for row in np.flatnonzero(unlabelled & ~faults.mask).tolist()
        )
    if not faults.mask.any():
        return Assembled(batch, [], bad_labels)
    bad_records = [(int(lines[row]), reason) for row, reason in sorted(faults.reasons.items())]
    return Assembled(batch.take(np.flatnonzero(~faults.mask)), bad_records, bad_labels)


def _identified(array: Array | None, lines: Int64) -> Dictionary:
    """The source's own identifiers; `line-<number>` for records that have none, which is stable for a file."""
    if array is None:
        return Dictionary.encode(f"{MADE_UP_ID}{line}" for line in lines.tolist())
    texts = encode_text(array)
    if (texts.codes >= 0).all():
        return texts
    numbers = lines.tolist()
    return Dictionary.encode(text or f"{MADE_UP_ID}{numbers[row]}" for row, text in enumerate(texts.decode()))


class _Faults:
    """Which rows are wrong, with the first reason of each."""

    def __init__(self, rows: int, columns: Mapping[str, Array], names: Mapping[str, str]) -> None:
        self.mask: Bool = np.zeros(rows, dtype=np.bool_)
        self.reasons: dict[int, str] = {}
        self._columns = columns
        self._names = names

    def name_of(self, column: str) -> str:
        return self._names.get(column, column)

    def add(self, column: str, wrong: Bool, expected: str) -> None:
        if not wrong.any():
            return
        for row in np.flatnonzero(wrong & ~self.mask).tolist():
            came = self._columns[column][row].as_py() if column in self._columns else None
            self.reasons[row] = f"{self.name_of(column)}: {show(came)}; expected {expected}"
        self.mask |= wrong


def _label_reason(name: str, came: Array) -> str:
    return f"{name}: {show(came.as_py())}; expected a known label"


def _translate(words: Dictionary, label_of: Callable[[str], str | None]) -> Dictionary:
    labels = Dictionary.encode(label_of(word) for word in words.values)
    return Dictionary(np.append(labels.codes, np.int32(-1))[words.codes], labels.values)


def _required(name: str, columns: Mapping[str, Array], faults: _Faults) -> NDArray[Any]:
    converted = convert(name, columns[name])
    faults.add(name, converted.wrong | ~converted.present, converted.expected)
    return converted.values
