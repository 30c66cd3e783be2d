"""NSL-KDD (and KDD Cup 99): records of connections without addresses, times or packets.

Nothing says which records share a host, so each is given a source and a destination of its own, from the prefix that
leads nowhere (100::/64, RFC 6666), and the epoch as its start. What detectors count of a host then never comes to more
than one flow, and of what a model sees only the shape of the flow itself tells anything. The records keep their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa

from securenet_flows.batch import FlowBatch
from securenet_flows.readers.arrow import Array
from securenet_flows.readers.columns import Assembled, assemble
from securenet_flows.readers.csv_flows import TableFormat, read_flow_table
from securenet_flows.readers.delimited import Table
from securenet_flows.readers.interface import Detected
from securenet_flows.readers.labels import class_label
from securenet_flows.readers.sources import Source
from securenet_flows.readers.texts import encode_text
from securenet_flows.report import FileLog

#: The fields of files without a header: 41, then the label and how many classifiers knew it, where they are there.
HEADLESS: Final[tuple[str, ...]] = (
    "duration", "protocol_type", "service", "flag", "src_bytes", "dst_bytes", "land", "wrong_fragment", "urgent", "hot",
    "num_failed_logins", "logged_in", "num_compromised", "root_shell", "su_attempted", "num_root", "num_file_creations",
    "num_shells", "num_access_files", "num_outbound_cmds", "is_host_login", "is_guest_login", "count", "srv_count",
    "serror_rate", "srv_serror_rate", "rerror_rate", "srv_rerror_rate", "same_srv_rate", "diff_srv_rate",
    "srv_diff_host_rate", "dst_host_count", "dst_host_srv_count", "dst_host_same_srv_rate", "dst_host_diff_srv_rate",
    "dst_host_same_src_port_rate", "dst_host_srv_diff_host_rate", "dst_host_serror_rate", "dst_host_srv_serror_rate",
    "dst_host_rerror_rate", "dst_host_srv_rerror_rate", "label", "difficulty",
)  # fmt: skip

_SERVICE: Final = "kdd_service"
_FLAG: Final = "kdd_flag"
_NEEDED: Final = ("duration_ns", "protocol", _SERVICE, _FLAG, "orig_bytes", "resp_bytes")
_FORMAT: Final = TableFormat(
    {
        "duration_ns": ("duration",),
        "protocol": ("protocol_type",),
        _SERVICE: ("service",),
        _FLAG: ("flag",),
        "orig_bytes": ("src_bytes",),
        "resp_bytes": ("dst_bytes",),
        "label": ("label", "class", "attack", "attack_type", "outcome", "xAttack"),
    },
    nulls=(),
    needed=_NEEDED,
)

#: Ports of the services, by the data set's names. `private` and `other` are any port without a name.
_PORTS: Final[Mapping[str, int]] = {
    "IRC": 6667, "X11": 6000, "Z39_50": 210, "aol": 5190, "auth": 113, "bgp": 179, "courier": 530, "csnet_ns": 105,
    "ctf": 84, "daytime": 13, "discard": 9, "domain": 53, "domain_u": 53, "echo": 7, "efs": 520, "exec": 512,
    "finger": 79, "ftp": 21, "ftp_data": 20, "gopher": 70, "hostnames": 101, "http": 80, "http_2784": 2784,
    "http_443": 443, "http_8001": 8001, "imap4": 143, "iso_tsap": 102, "klogin": 543, "kshell": 544, "ldap": 389,
    "link": 87, "login": 513, "mtp": 57, "name": 42, "netbios_dgm": 138, "netbios_ns": 137, "netbios_ssn": 139,
    "netstat": 15, "nnsp": 433, "nntp": 119, "ntp_u": 123, "pop_2": 109, "pop_3": 110, "printer": 515,
    "remote_job": 71, "rje": 77, "shell": 514, "smtp": 25, "sql_net": 150, "ssh": 22, "sunrpc": 111, "supdup": 95,
    "systat": 11, "telnet": 23, "tftp_u": 69, "time": 37, "uucp": 540, "uucp_path": 117, "vmnet": 175, "whois": 43,
}  # fmt: skip
#: A name of the state that some copies of the data misspell.
_MISSPELT: Final = {"RSTOSO": "RSTOS0"}


class NslKddReader:
    """Bytes are those of payloads, durations whole seconds; the flags are Zeek's states."""

    def read(self, source: Source, detected: Detected, log: FileLog, batch_rows: int) -> Iterator[FlowBatch]:
        """See :class:`securenet_flows.readers.interface.Reader`. The kind of a headless table is its width."""
        width = int(detected.kind or 0)
        table_format = replace(_FORMAT, header=HEADLESS[:width]) if width else _FORMAT
        log.note("NSL-KDD has no addresses and no times: each record is judged by its own shape alone")
        yield from read_flow_table(source, table_format, _assemble, log, batch_rows)


def _assemble(table: Table, names: Mapping[str, str]) -> Assembled:
    columns = dict(table.columns)
    services, flags = encode_text(columns.pop(_SERVICE)), encode_text(columns.pop(_FLAG))
    ports = np.array([_PORTS.get(name.strip(), -1) for name in (*services.values, "")], np.int64)[services.codes]
    columns["dst_port"] = pa.array(ports, mask=ports < 0)
    states = [_MISSPELT.get(name.strip(), name.strip()).encode() for name in flags.values]
    columns["conn_state"] = pa.array([None if code < 0 else states[code] for code in flags.codes.tolist()], pa.binary())
    columns["start_time_ns"] = pa.array(np.zeros(len(table.lines), np.int64))
    columns["src_addr"], columns["dst_addr"] = _own_addresses(1, table), _own_addresses(2, table)
    return assemble(columns, table.lines, names=names, label_of=class_label)


def _own_addresses(side: int, table: Table) -> Array:
    texts = [f"100::{side}:{line >> 16 & 0xFFFF:x}:{line & 0xFFFF:x}" for line in table.lines.tolist()]
    return pa.array([text.encode() for text in texts], pa.binary())
