"""Argus's tables (`ra -c`, "binetflow"), as CTU-13 and its followers publish them: comma or tab, ports also in hex."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from securenet_flows.batch import FlowBatch
from securenet_flows.readers.arrow import Array, compute
from securenet_flows.readers.columns import Assembled, assemble
from securenet_flows.readers.conversions import protocol_numbers
from securenet_flows.readers.csv_flows import TableFormat, read_flow_table
from securenet_flows.readers.delimited import Table
from securenet_flows.readers.derived import difference, same_texts
from securenet_flows.readers.interface import Detected
from securenet_flows.readers.labels import argus_label
from securenet_flows.readers.protocols import TCP
from securenet_flows.readers.sources import Source
from securenet_flows.readers.states import ARGUS_WORDS, flags_of, state_number, states_of_flags
from securenet_flows.readers.texts import encode_text
from securenet_flows.report import FileLog

#: Fields that several columns of a batch are made of.
_TOTAL_PACKETS: Final = "total_packets"
_TOTAL_BYTES: Final = "total_bytes"
_STATE: Final = "state"

_FORMAT: Final = TableFormat(
    {
        "start_time_ns": ("StartTime",),
        "duration_ns": ("Dur",),
        "protocol": ("Proto",),
        "src_addr": ("SrcAddr",),
        "src_port": ("Sport",),
        "dst_addr": ("DstAddr",),
        "dst_port": ("Dport",),
        "orig_pkts": ("SrcPkts",),
        "resp_pkts": ("DstPkts",),
        "orig_ip_bytes": ("SrcBytes",),
        "resp_ip_bytes": ("DstBytes",),
        "label": ("Label",),
        _TOTAL_PACKETS: ("TotPkts",),
        _TOTAL_BYTES: ("TotBytes",),
        _STATE: ("State",),
    },
    nulls=(b"-", b"*"),
    texts=frozenset({"start_time_ns"}),
)
_ANSWERED: Final = "CON"
_ONE_WAY: Final = ("INT", "REQ")


class ArgusReader:
    """Argus counts the bytes of whole frames: they stand in `orig_ip_bytes` and `resp_ip_bytes`; payload is absent."""

    def read(self, source: Source, detected: Detected, log: FileLog, batch_rows: int) -> Iterator[FlowBatch]:
        """See :class:`securenet_flows.readers.interface.Reader`."""
        del detected
        yield from read_flow_table(source, _FORMAT, _assemble, log, batch_rows)


def _assemble(table: Table, names: Mapping[str, str]) -> Assembled:
    columns = dict(table.columns)
    words = columns.pop(_STATE, None)
    columns["start_time_ns"] = iso_times(columns["start_time_ns"])
    for total, orig, resp in (
        (_TOTAL_PACKETS, "orig_pkts", "resp_pkts"),
        (_TOTAL_BYTES, "orig_ip_bytes", "resp_ip_bytes"),
    ):
        whole = columns.pop(total, None)
        if whole is not None and orig in columns and resp not in columns:
            columns[resp] = difference(whole, columns[orig])
    if words is not None:
        columns["conn_state"] = argus_states(words, columns["protocol"])
    return assemble(columns, table.lines, names=names, label_of=argus_label)


def argus_states(words: Array, protocols: Array) -> Array:
    """States of Argus's `State` field.

    `SPA_SRPA` are the TCP flags of either side. A word is a state by itself, or what the transport makes of it: CON is
    an answered exchange, INT one without an answer. RST does not say whose it was; it and unknown words leave the state
    absent.
    """
    texts = encode_text(words)
    protocol = protocol_numbers(protocols)
    known = (*texts.values, "")
    sides = [word.partition("_") for word in known]
    named = np.array([state_number(ARGUS_WORDS.get(word, word)) for word in known], np.uint8)[texts.codes]
    orig = np.array([flags_of(side[0]) if side[1] else 0 for side in sides], np.uint8)[texts.codes]
    resp = np.array([flags_of(side[2]) if side[1] else 0 for side in sides], np.uint8)[texts.codes]
    flagged = np.array([bool(side[1]) for side in sides], np.bool_)[texts.codes]
    answered, one_way = texts.matches([_ANSWERED]), texts.matches(_ONE_WAY)
    tcp = protocol == TCP
    nothing = np.zeros_like(protocol)
    of_flags = states_of_flags(protocol, orig, resp, resp != 0)
    of_transport = states_of_flags(protocol, nothing, nothing, answered)
    states = np.where(flagged & tcp, of_flags, named)
    states = np.where(~tcp & (answered | one_way), of_transport, states)
    states = np.where(tcp & answered, np.uint8(state_number("S1")), states)
    return pa.array(states.astype(np.uint8), mask=states == 0)


def iso_times(array: Array) -> Array:
    """`2018/12/18 14:00:00.5` with hyphens, as ISO 8601 has it. Argus writes local time, no zone: taken as UTC."""
    return same_texts(array, lambda texts: compute.replace_substring(texts, "/", "-"))
