"""Zeek's logs as JSON, an object a line, as Zeek and the tools that ship its logs write them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from securenet_flows.batch import FlowBatch
from securenet_flows.readers.delimited import Table
from securenet_flows.readers.interface import Detected
from securenet_flows.readers.json_lines import parse_json_lines
from securenet_flows.readers.problems import tell
from securenet_flows.readers.sources import Source
from securenet_flows.readers.texts import encode_text
from securenet_flows.readers.zeek_logs import COUNTED, assemble_log, fields_of
from securenet_flows.report import FileLog

_NEEDED = ("start_time_ns", "src_addr", "dst_addr")


class ZeekJsonReader:
    """conn.log, or dns, http, ssl and ssh logs as flows of their own."""

    def read(self, source: Source, detected: Detected, log: FileLog, batch_rows: int) -> Iterator[FlowBatch]:
        """See :class:`securenet_flows.readers.interface.Reader`."""
        wanted = fields_of(detected.kind)
        names = {column: keys[0] for column, keys in wanted.items()}
        labelled_from: int | None = None
        for block in source.blocks(batch_rows):
            bad: list[tuple[int, str]] = []
            bad_labels: list[tuple[int, str]] = []
            batch = None
            if block.data:
                table = parse_json_lines(block.data, block.first_line, wanted)
                if labelled_from is None:
                    labelled_from = _first_label(table)
                _fill(table, detected.kind, labelled=labelled_from is not None)
                assembled = assemble_log(detected.kind, table.columns, table.lines, names)
                bad, batch = table.bad + assembled.bad_records, assembled.batch
                bad_labels = [told for told in assembled.bad_labels if told[0] > (labelled_from or 0)]
            tell(log, block, bad, bad_labels)
            if batch is not None and len(batch):
                yield batch


def _first_label(table: Table) -> int | None:
    """The first line that has a label. JSON leaves out what has no value: that a file has labels shows only there."""
    if "label" not in table.columns:
        return None
    rows = np.flatnonzero(encode_text(table.columns["label"]).codes >= 0)
    return int(table.lines[rows[0]]) if len(rows) else None


def _fill(table: Table, kind: str, *, labelled: bool) -> None:
    """Columns that must be there although no record of the block has a value for them."""
    if COUNTED in table.columns:
        table.columns["dns_answer_count"] = table.columns.pop(COUNTED)
    needed: Sequence[str] = (*_NEEDED, *(("protocol",) * (kind == "conn")), *(("label",) * labelled))
    for column in needed:
        table.columns.setdefault(column, pa.nulls(len(table.lines), pa.binary()))
