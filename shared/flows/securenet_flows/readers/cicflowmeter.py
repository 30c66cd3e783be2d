"""CICFlowMeter's tables, of any of its versions, with the labels of CIC-IDS2017 and its corrections."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pyarrow as pa

from securenet_flows.batch import FlowBatch
from securenet_flows.readers.arrow import Array, compute, decoded
from securenet_flows.readers.columns import Assembled, assemble
from securenet_flows.readers.conversions import convert, protocol_numbers
from securenet_flows.readers.csv_flows import TableFormat, read_flow_table
from securenet_flows.readers.delimited import Table
from securenet_flows.readers.interface import Detected
from securenet_flows.readers.labels import class_label
from securenet_flows.readers.protocols import TCP
from securenet_flows.readers.sources import Source
from securenet_flows.readers.states import state_number, states_of_flags
from securenet_flows.readers.texts import decode_text
from securenet_flows.report import FileLog

_MICROSECONDS: Final = "microseconds"
#: Counts of flags, which a state is made of.
_COUNTS: Final = ("syn", "fin", "orig_rst", "resp_rst")
_FORMAT: Final = TableFormat(
    {
        "flow_id": ("Flow ID",),
        "start_time_ns": ("Timestamp",),
        "protocol": ("Protocol",),
        "src_addr": ("Src IP", "Source IP"),
        "src_port": ("Src Port", "Source Port"),
        "dst_addr": ("Dst IP", "Destination IP"),
        "dst_port": ("Dst Port", "Destination Port"),
        "orig_pkts": ("Total Fwd Packet", "Total Fwd Packets", "Tot Fwd Pkts"),
        "resp_pkts": ("Total Bwd packets", "Total Backward Packets", "Tot Bwd Pkts"),
        "orig_bytes": ("Total Length of Fwd Packet", "Total Length of Fwd Packets", "TotLen Fwd Pkts"),
        "resp_bytes": ("Total Length of Bwd Packet", "Total Length of Bwd Packets", "TotLen Bwd Pkts"),
        "label": ("Label",),
        _MICROSECONDS: ("Flow Duration",),
        "syn": ("SYN Flag Count",),
        "fin": ("FIN Flag Count",),
        "orig_rst": ("Fwd RST Flags",),
        "resp_rst": ("Bwd RST Flags",),
    },
    nulls=(),
    texts=frozenset({"start_time_ns"}),
)
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d")
_DAY_FIRST: Final = ("%d/%m/%Y %I:%M:%S %p", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M")


class CicFlowMeterReader:
    """Its lengths are those of payloads. Times carry no zone and are taken as UTC.

    Flags are counted, in most versions without regard to direction and once a flow. Only tables that count resets by
    direction tell the connection's state; in others it is absent.
    """

    def read(self, source: Source, detected: Detected, log: FileLog, batch_rows: int) -> Iterator[FlowBatch]:
        """See :class:`securenet_flows.readers.interface.Reader`."""
        del detected
        yield from read_flow_table(source, _FORMAT, _assemble, log, batch_rows)


def _assemble(table: Table, names: Mapping[str, str]) -> Assembled:
    columns = dict(table.columns)
    durations = columns.pop(_MICROSECONDS, None)
    if durations is not None:
        columns["duration_ns"] = _seconds(durations)
        names = {**names, "duration_ns": names[_MICROSECONDS]}
    columns["start_time_ns"] = _times(columns["start_time_ns"])
    counts = [columns.pop(name, None) for name in _COUNTS]
    packets = columns.get("resp_pkts")
    flags = [count for count in counts if count is not None]
    if packets is not None and len(flags) == len(_COUNTS):
        columns["conn_state"] = _states(columns["protocol"], packets, flags)
    return assemble(columns, table.lines, names=names, label_of=class_label)


def _states(protocols: Array, responder: Array, flags: Sequence[Array]) -> Array:
    """States of the responder's packets and of SYN, FIN, the originator's RST and the responder's, all counted.

    Who sent a FIN is not told, so of what was closed halfway it is told that it was established (S1). A count that is
    no number leaves the state absent.
    """
    counts = [convert("resp_pkts", array) for array in (responder, *flags)]
    packets, syn, fin, orig_rst, resp_rst = (count.values for count in counts)
    protocol = protocol_numbers(protocols)
    silent, opened = packets == 0, syn > 0
    # Nothing but resets came back: what the originator asked for was refused, however often it asked.
    refused = ~silent & (resp_rst >= packets)
    tcp = [
        (opened & silent & (orig_rst > 0), "RSTOS0"),
        (opened & silent & (fin > 0), "SH"),
        (opened & silent, "S0"),
        (opened & refused, "REJ"),
        # A second SYN with an answer is the answer's.
        ((syn > 1) & (fin > 1), "SF"),
        ((syn > 1) & (orig_rst > 0), "RSTO"),
        ((syn > 1) & (resp_rst > 0), "RSTR"),
        (syn > 1, "S1"),
    ]
    of_tcp = np.select([rows for rows, _ in tcp], [state_number(name) for _, name in tcp], state_number("OTH"))
    nothing = np.zeros_like(protocol)
    states = np.where(protocol == TCP, of_tcp, states_of_flags(protocol, nothing, nothing, ~silent)).astype(np.uint8)
    return pa.array(states, mask=~np.all([count.present for count in counts], axis=0))


def _seconds(array: Array) -> Array:
    """Whole microseconds as nanoseconds where all of them are; else a text each, wrong ones as they came."""
    try:
        whole = compute.cast(compute.cast(decoded(array), pa.string()), pa.int64())
        return compute.multiply_checked(whole, 1000)
    except pa.ArrowInvalid:
        return pa.array([_seconds_text(text) for text in decoded(array).to_pylist()], pa.binary())


def _seconds_text(text: bytes | None) -> bytes | None:
    if text is None or not re.fullmatch(rb"-?\d{1,18}(\.0*)?", text.strip()):
        return text if text is None else b"no microseconds: " + text
    digits = text.strip().partition(b".")[0]
    return f"{int(digits)}e-6".encode()


def _times(array: Array) -> Array:
    """ISO times as they are; the older versions' `day/month/year` in ISO."""
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    values = array.dictionary.to_pylist()
    if all(_ISO.match(decode_text(value)) for value in values):
        return array
    times = pa.array([_iso(value) for value in values], pa.binary())
    return pa.DictionaryArray.from_arrays(array.indices, times)


def _iso(value: bytes) -> bytes:
    text = decode_text(value).strip()
    for pattern in _DAY_FIRST:
        try:
            return datetime.strptime(text, pattern).replace(tzinfo=UTC).isoformat().encode()
        except ValueError:
            continue
    return value
