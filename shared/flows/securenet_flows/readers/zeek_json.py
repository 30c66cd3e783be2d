"""Zeek's logs as JSON, an object a line, as Zeek and the tools that ship its logs write them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from securenet_flows.batch import FlowBatch
from securenet_flows.readers.arrow import Array
from securenet_flows.readers.interface import Detected
from securenet_flows.readers.json_lines import parse_json_lines
from securenet_flows.readers.problems import tell
from securenet_flows.readers.sources import Source
from securenet_flows.readers.zeek_logs import COUNTED, assemble_log, fields_of
from securenet_flows.report import FileLog

_NEEDED = ("start_time_ns", "src_addr", "dst_addr")


class ZeekJsonReader:
    """conn.log, or dns, http, ssl and ssh logs as flows of their own."""

    def read(self, source: Source, detected: Detected, log: FileLog, batch_rows: int) -> Iterator[FlowBatch]:
        """See :class:`securenet_flows.readers.interface.Reader`."""
        wanted = fields_of(detected.kind)
        names = {column: keys[0] for column, keys in wanted.items()}
        labelled: set[str] = set()
        for block in source.blocks(batch_rows):
            bad: list[tuple[int, str]] = []
            bad_labels: list[tuple[int, str]] = []
            batch = None
            if block.data:
                table = parse_json_lines(block.data, block.first_line, wanted)
                columns = table.columns
                _fill(columns, len(table.lines), detected.kind, labelled)
                assembled = assemble_log(detected.kind, columns, table.lines, names)
                bad, bad_labels, batch = table.bad + assembled.bad_records, assembled.bad_labels, assembled.batch
            tell(log, block, bad, bad_labels)
            if batch is not None and len(batch):
                yield batch


def _fill(columns: dict[str, Array], rows: int, kind: str, labelled: set[str]) -> None:
    """JSON leaves out what has no value: columns that must be there come in empty.

    A file whose earlier records had labels has a label column, also in blocks where all are missing.
    """
    if COUNTED in columns:
        columns["dns_answer_count"] = columns.pop(COUNTED)
    labelled.update({"label"} & columns.keys())
    needed: Sequence[str] = (*_NEEDED, *(("protocol",) if kind == "conn" else ()), *labelled)
    for column in needed:
        if column not in columns:
            columns[column] = pa.nulls(rows, pa.binary())
