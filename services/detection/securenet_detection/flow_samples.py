"""Single flows out of a batch, as plain values that can be kept: samples of findings, and labels for training."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Final

from securenet_detection.behaviours.observation import address_text
from securenet_detection.findings.sighting import FlowRecord
from securenet_flows.batch import FlowBatch

#: Characters of a text that are kept.
_LONGEST_TEXT: Final = 256

#: What only training data have is never part of what detection knows.
_NOT_KEPT: Final = frozenset({"label", "detailed_label"})


def flow_record(batch: FlowBatch, row: int) -> FlowRecord:
    """One flow as plain values by column; what it has no value in is left out. Texts are cut to 256 characters."""
    record: dict[str, str | int] = {
        "start_time_ns": int(batch.start_time_ns[row]),
        "src_ip": address_text(batch.src_addr[row].tobytes()),
        "dst_ip": address_text(batch.dst_addr[row].tobytes()),
        "protocol": int(batch.protocol[row]),
    }
    for name, values in batch.numeric.items():
        present = batch.present.get(name)
        if present is None or present.item(row):
            record[name] = int(values.item(row))
    for name, texts in batch.text.items():
        code = texts.codes.item(row)
        if code >= 0 and name not in _NOT_KEPT:
            record[name] = texts.values[code][:_LONGEST_TEXT]
    return record


class FlowFinder:
    """Finds flows of a batch by their identity; the index is made when the first one is asked for."""

    def __init__(self, batch: FlowBatch) -> None:
        self._batch = batch
        self._rows: dict[str, int] | None = None

    def records(self, row: int, flow_ids: Iterable[str], limit: int) -> tuple[FlowRecord, ...]:
        """The flow of a row, and those of the given identities that are in the batch, at most `limit`."""
        if self._rows is None:
            self._rows = self._index()
        found = dict.fromkeys([row, *(self._rows[name] for name in flow_ids if name in self._rows)])
        return tuple(flow_record(self._batch, at) for at in list(found)[:limit])

    def _index(self) -> dict[str, int]:
        texts = self._batch.text.get("flow_id")
        if texts is None or not texts.values:
            return {}
        if texts.in_order:
            rows = dict(zip(texts.values, range(len(texts)), strict=True))
            if len(rows) == len(texts):
                rows.pop("", None)
                return rows
        # Without a loop of ours, since a batch has thousands of rows. Code −1, absent, picks the empty name at the end.
        lookup = (*texts.values, "")
        picked = itemgetter(*texts.codes.tolist())(lookup) if len(texts) > 1 else (texts[0] or "",)
        # Of several rows of one identity the first one stands.
        rows = dict(zip(reversed(picked), range(len(texts) - 1, -1, -1), strict=True))
        rows.pop("", None)
        return rows
