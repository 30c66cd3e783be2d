"""Zeek's logs as other tools export them to CSV: quoted fields under a line of names, `id_orig_h` for `id.orig_h`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa

from securenet_flows.batch import FlowBatch
from securenet_flows.readers.arrow import decoded
from securenet_flows.readers.columns import Assembled
from securenet_flows.readers.csv_flows import TableFormat, read_flow_table
from securenet_flows.readers.delimited import Table
from securenet_flows.readers.interface import Detected
from securenet_flows.readers.sources import Source
from securenet_flows.readers.zeek_logs import COUNTED, FIRST, assemble_log, fields_of
from securenet_flows.report import FileLog


class ZeekCsvReader:
    """conn.log, or dns, http, ssl and ssh logs as flows of their own."""

    def read(self, source: Source, detected: Detected, log: FileLog, batch_rows: int) -> Iterator[FlowBatch]:
        """See :class:`securenet_flows.readers.interface.Reader`."""

        def assemble(table: Table, names: Mapping[str, str]) -> Assembled:
            columns = table.columns
            if COUNTED in columns:
                counts = [None if t is None else t.count(b",") + 1 for t in decoded(columns.pop(COUNTED)).to_pylist()]
                columns["dns_answer_count"] = pa.array(counts, pa.int64())
            if FIRST in columns:
                members = [None if t is None else t.split(b",")[0] for t in decoded(columns[FIRST]).to_pylist()]
                columns[FIRST] = pa.array(members, pa.binary())
            return assemble_log(detected.kind, columns, table.lines, names)

        needed = ("start_time_ns", "src_addr", "dst_addr", *(("protocol",) if detected.kind == "conn" else ()))
        table_format = TableFormat(fields_of(detected.kind), (b"-", b"(empty)"), needed=needed, last_may_lack=True)
        yield from read_flow_table(source, table_format, assemble, log, batch_rows)
