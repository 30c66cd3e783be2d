"""Simulated flows as columns, with the records of the application logs that belong to them.

It holds what Zeek would log and nothing else, so that every activity and every attack goes through the same few
builders (:mod:`.shapes`, :mod:`.application`) and no scenario writes its bytes and packets by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from securenet_flows.batch import CONN_STATES, Bool, Dictionary, FlowBatch, Int64

#: A column of any dtype; text columns are object arrays of str and None.
Column = NDArray[Any]
#: A column of str and None (dtype object).
Objects = NDArray[Any]
Floats = NDArray[np.float64]

#: State numbers by name, as in the contract's ConnState.
STATE: Final[Mapping[str, int]] = {name: number for number, name in enumerate(CONN_STATES) if name}

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58

#: Columns of a flow with their dtypes. Times are microseconds since the epoch (Zeek prints six digits); −1 in
#: duration_us, orig_bytes and resp_bytes is null.
COLUMNS: Final[Mapping[str, np.dtype[Any]]] = {
    "start_us": np.dtype(np.int64),
    "duration_us": np.dtype(np.int64),
    "src": np.dtype(np.uint8),
    "dst": np.dtype(np.uint8),
    "src_port": np.dtype(np.uint16),
    "dst_port": np.dtype(np.uint16),
    "protocol": np.dtype(np.uint8),
    "service": np.dtype(object),
    "orig_bytes": np.dtype(np.int64),
    "resp_bytes": np.dtype(np.int64),
    "state": np.dtype(np.uint8),
    "history": np.dtype(object),
    "orig_pkts": np.dtype(np.int64),
    "orig_ip_bytes": np.dtype(np.int64),
    "resp_pkts": np.dtype(np.int64),
    "resp_ip_bytes": np.dtype(np.int64),
    "local_orig": np.dtype(np.bool_),
    "local_resp": np.dtype(np.bool_),
    "malicious": np.dtype(np.bool_),
    "detail": np.dtype(object),
    "uid": np.dtype("S18"),
}

#: Columns of the application logs beside `row` (position of the flow) and `delay_us` (record time − flow start).
LOG_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "dns": ("trans_id", "rtt_us", "query", "qtype", "rcode", "answers", "ttls"),
    "http": (
        "depth", "method", "host", "uri", "user_agent", "request_body_len", "response_body_len", "status", "mime_type",
    ),
    "ssl": (
        "version", "cipher", "curve", "server_name", "resumed", "next_protocol", "established", "certificate",
        "ja3", "ja3s", "validation",
    ),
    "ssh": ("auth_success", "auth_attempts", "inbound", "client", "server", "host_key"),
}  # fmt: skip


def where(mask: Column, text: Objects | str) -> Objects:
    """The texts (or one text) where the mask holds, None elsewhere."""
    out = np.full(len(mask), None, dtype=object)
    out[mask] = text[mask] if isinstance(text, np.ndarray) else text
    return out


@dataclass(frozen=True, slots=True, eq=False)
class LogRecords:
    """Records of one application log.

    Attributes:
        row: int64 (m,), position of the flow in its table.
        delay_us: int64 (m,), time of the record after the start of its flow.
        columns: the log's own columns, each (m,).
    """

    row: Int64
    delay_us: Int64
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, chosen: Int64, row: Int64) -> LogRecords:
        """The chosen records, pointing at the given new rows."""
        return LogRecords(row, self.delay_us[chosen], {name: v[chosen] for name, v in self.columns.items()})


@dataclass(frozen=True, slots=True, eq=False)
class Flows:
    """Flows as columns (see :data:`COLUMNS`) and their application records by log name."""

    columns: Mapping[str, Column]
    logs: Mapping[str, LogRecords] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns["start_us"])

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def with_columns(self, **changed: Column) -> Flows:
        """The same flows with some columns replaced."""
        return Flows({**self.columns, **changed}, self.logs)

    def take(self, rows: Int64) -> Flows:
        """The flows at the given positions in that order, each at most once; records of others are left out."""
        position = np.full(len(self), -1, dtype=np.int64)
        position[rows] = np.arange(len(rows))
        logs = {}
        for name, records in self.logs.items():
            target = position[records.row]
            chosen = np.flatnonzero(target >= 0)
            chosen = chosen[np.argsort(target[chosen], kind="stable")]
            logs[name] = records.take(chosen, target[chosen])
        return Flows({name: values[rows] for name, values in self.columns.items()}, logs)

    def where(self, mask: Bool) -> Flows:
        """The flows where the mask holds, in order."""
        return self if bool(mask.all()) else self.take(np.flatnonzero(mask))

    def in_order(self) -> Flows:
        """Sorted by start time, ties in their present order."""
        start = self.columns["start_us"]
        if len(start) < 2 or bool((np.diff(start) >= 0).all()):
            return self
        return self.take(np.argsort(start, kind="stable"))

    @classmethod
    def concatenate(cls, parts: Sequence[Flows]) -> Flows:
        """One table with the flows of all parts, in order."""
        full = [part for part in parts if len(part)]
        if not full:
            return parts[0] if parts else cls.empty()
        if len(full) == 1:
            return full[0]
        columns = {name: np.concatenate([part.columns[name] for part in full]) for name in full[0].columns}
        offsets = np.cumsum([0, *(len(part) for part in full)])
        logs = {}
        for name in LOG_COLUMNS:
            having = [(part.logs[name], at) for part, at in zip(full, offsets, strict=False) if name in part.logs]
            if having:
                logs[name] = LogRecords(
                    row=np.concatenate([records.row + at for records, at in having]),
                    delay_us=np.concatenate([records.delay_us for records, _ in having]),
                    columns={
                        column: np.concatenate([records.columns[column] for records, _ in having])
                        for column in LOG_COLUMNS[name]
                    },
                )
        return cls(columns, logs)

    @classmethod
    def empty(cls) -> Flows:
        """No flow at all."""
        shape = {"src": (0, 16), "dst": (0, 16)}
        return cls({name: np.empty(shape.get(name, (0,)), dtype=dtype) for name, dtype in COLUMNS.items()})

    def to_batch(self) -> FlowBatch:
        """The flows as a reader of their Zeek conn.log would hand them on, without the application records."""
        integer = {name: self[name] for name in ("orig_pkts", "resp_pkts", "orig_ip_bytes", "resp_ip_bytes")}
        nullable = {"duration_ns": (self["duration_us"], 1000), "orig_bytes": (self["orig_bytes"], 1),
                    "resp_bytes": (self["resp_bytes"], 1)}  # fmt: skip
        return FlowBatch(
            start_time_ns=self["start_us"] * 1000,
            src_addr=self["src"],
            dst_addr=self["dst"],
            protocol=self["protocol"],
            numeric={
                **integer,
                **{name: np.where(values < 0, 0, values * unit) for name, (values, unit) in nullable.items()},
                "src_port": self["src_port"],
                "dst_port": self["dst_port"],
                "missed_bytes": np.zeros(len(self), dtype=np.int64),
                "conn_state": self["state"],
                "local_orig": self["local_orig"],
                "local_resp": self["local_resp"],
            },
            text={
                "flow_id": Dictionary.encode(self["uid"].astype("U18").tolist()),
                "service": Dictionary.encode(self["service"].tolist()),
                "history": Dictionary.encode(self["history"].tolist()),
                "label": Dictionary.encode(np.where(self["malicious"], "malicious", "benign").tolist()),
                "detailed_label": Dictionary.encode(self["detail"].tolist()),
            },
            present={name: values >= 0 for name, (values, _) in nullable.items()},
        )
