"""nfdump's CSV (`nfdump -o csv`), of its 1.6 line with short names and of 1.7 with long ones. Records are one-way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from securenet_flows.batch import FlowBatch
from securenet_flows.readers.arrow import Array
from securenet_flows.readers.columns import Assembled, assemble
from securenet_flows.readers.conversions import protocol_numbers
from securenet_flows.readers.csv_flows import TableFormat, read_flow_table
from securenet_flows.readers.delimited import Table
from securenet_flows.readers.interface import Detected
from securenet_flows.readers.sources import Source
from securenet_flows.readers.states import flags_of, states_of_flags
from securenet_flows.readers.texts import encode_text
from securenet_flows.report import FileLog

_FLAGS: Final = "flags"
_FORMAT: Final = TableFormat(
    {
        "start_time_ns": ("ts", "firstSeen"),
        "duration_ns": ("td", "duration"),
        "protocol": ("pr", "proto"),
        "src_addr": ("sa", "srcAddr"),
        "src_port": ("sp", "srcPort"),
        "dst_addr": ("da", "dstAddr"),
        "dst_port": ("dp", "dstPort"),
        "orig_pkts": ("ipkt", "packets"),
        "orig_ip_bytes": ("ibyt", "bytes"),
        "resp_pkts": ("opkt", "out packets"),
        "resp_ip_bytes": ("obyt", "out bytes"),
        _FLAGS: ("flg", "flags"),
    },
    nulls=(b"-",),
    texts=frozenset({"start_time_ns"}),
    end=b"Summary",
)


class NfdumpCsvReader:
    """NetFlow counts IP bytes. A record is one direction of a connection unless the exporter joined both."""

    def read(self, source: Source, detected: Detected, log: FileLog, batch_rows: int) -> Iterator[FlowBatch]:
        """See :class:`securenet_flows.readers.interface.Reader`. The summary at the end of the file is passed over."""
        del detected
        yield from read_flow_table(source, _FORMAT, _assemble, log, batch_rows)


def _assemble(table: Table, names: Mapping[str, str]) -> Assembled:
    columns = dict(table.columns)
    flags = columns.pop(_FLAGS, None)
    if flags is not None:
        columns["conn_state"] = one_way_states(flags, columns["protocol"])
    return assemble(columns, table.lines, names=names)


def one_way_states(flags: Array, protocols: Array) -> Array:
    """States of one direction alone: a lone SYN is S0, anything that needs the other side stays absent."""
    texts = encode_text(flags)
    protocol = protocol_numbers(protocols)
    letters = np.array([flags_of(text) for text in (*texts.values, "")], np.uint8)[texts.codes]
    nothing = np.zeros(len(letters), np.uint8)
    states = states_of_flags(protocol, letters, nothing, np.zeros(len(letters), np.bool_))
    lone = letters == flags_of("S")
    return pa.array(states, mask=~lone)
