"""UNSW-NB15's raw tables: 49 fields, with a header line or without, and tables that others made in their image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from securenet_flows.batch import FlowBatch
from securenet_flows.readers.argus import argus_states
from securenet_flows.readers.columns import Assembled, assemble
from securenet_flows.readers.csv_flows import TableFormat, read_flow_table
from securenet_flows.readers.delimited import Table
from securenet_flows.readers.derived import same_texts, trimmed
from securenet_flows.readers.interface import Detected
from securenet_flows.readers.labels import plain_label
from securenet_flows.readers.sources import Source
from securenet_flows.report import FileLog

#: The fields of the files without a header, in the order of the data set's own list of features.
HEADLESS: Final[tuple[str, ...]] = (
    "srcip", "sport", "dstip", "dsport", "proto", "state", "dur", "sbytes", "dbytes", "sttl", "dttl", "sloss", "dloss",
    "service", "Sload", "Dload", "Spkts", "Dpkts", "swin", "dwin", "stcpb", "dtcpb", "smeansz", "dmeansz",
    "trans_depth", "res_bdy_len", "Sjit", "Djit", "Stime", "Ltime", "Sintpkt", "Dintpkt", "tcprtt", "synack", "ackdat",
    "is_sm_ips_ports", "ct_state_ttl", "ct_flw_http_mthd", "is_ftp_login", "ct_ftp_cmd", "ct_srv_src", "ct_srv_dst",
    "ct_dst_ltm", "ct_src_ltm", "ct_src_dport_ltm", "ct_dst_sport_ltm", "ct_dst_src_ltm", "attack_cat", "Label",
)  # fmt: skip

_STATE: Final = "state"
_FORMAT: Final = TableFormat(
    {
        "start_time_ns": ("stime",),
        "duration_ns": ("dur",),
        "protocol": ("proto",),
        "src_addr": ("srcip",),
        "src_port": ("sport",),
        "dst_addr": ("dstip",),
        "dst_port": ("dsport",),
        "service": ("service",),
        "orig_ip_bytes": ("sbytes",),
        "resp_ip_bytes": ("dbytes",),
        "orig_pkts": ("spkts",),
        "resp_pkts": ("dpkts",),
        "label": ("label",),
        "detailed_label": ("attack_cat",),
        _STATE: ("state",),
    }
)


class UnswNb15Reader:
    """Its bytes count headers, so they stand in `orig_ip_bytes` and `resp_ip_bytes`; payload is absent.

    Times are whole seconds.
    """

    def read(self, source: Source, detected: Detected, log: FileLog, batch_rows: int) -> Iterator[FlowBatch]:
        """See :class:`securenet_flows.readers.interface.Reader`."""
        headless = detected.kind == "headless"
        table_format = replace(_FORMAT, header=HEADLESS) if headless else _FORMAT
        yield from read_flow_table(source, table_format, _assemble, log, batch_rows)


def _assemble(table: Table, names: Mapping[str, str]) -> Assembled:
    columns = dict(table.columns)
    states = columns.pop(_STATE, None)
    if states is not None:
        columns["conn_state"] = argus_states(states, columns["protocol"])
    if "detailed_label" in columns:
        columns["detailed_label"] = same_texts(columns["detailed_label"], trimmed)
    return assemble(columns, table.lines, names=names, label_of=plain_label)
