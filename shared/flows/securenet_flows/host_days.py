"""How many hosts were watched for how many days: what counts of findings are divided by.

A host-day is a pair of internal host and UTC day on which the host originated a flow or answered one. An address that
was only probed is no host.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from securenet_flows.batch import CONN_STATES, Bool, FlowBatch, Int8

_DAY_NS: Final = 86_400_000_000_000


@dataclass(slots=True)
class HostDays:
    """Counts host-days over the batches of a capture; one entry for each host and day is held.

    A host is internal if the source says so (`local_orig`, `local_resp`), else if its address is private, link-local or
    unique local. It answered if it sent a packet or a byte; without those columns, if the state says so.
    """

    _seen: set[bytes] = field(default_factory=set)

    def add(self, batch: FlowBatch) -> None:
        """Takes a batch in."""
        day = batch.start_time_ns // _DAY_NS
        origins = _internal(batch, "local_orig", batch.src_addr)
        answers = _internal(batch, "local_resp", batch.dst_addr) & _answered(batch)
        for address, rows in ((batch.src_addr, origins), (batch.dst_addr, answers)):
            keys = np.empty((int(rows.sum()), 24), dtype=np.uint8)
            keys[:, :16] = address[rows]
            keys[:, 16:] = day[rows].astype(">i8").view(np.uint8).reshape(-1, 8)
            self._seen.update(key.tobytes() for key in np.unique(keys, axis=0))

    def __len__(self) -> int:
        return len(self._seen)


def host_days(batch: FlowBatch) -> int:
    """Host-days of a single batch; for several, add them to one :class:`HostDays`."""
    counter = HostDays()
    counter.add(batch)
    return len(counter)


def _answered(batch: FlowBatch) -> Bool:
    sent = np.zeros(len(batch), dtype=np.bool_)
    told = np.zeros(len(batch), dtype=np.bool_)
    for name in ("resp_pkts", "resp_bytes"):
        told |= batch.has(name)
        sent |= batch.has(name) & (np.asarray(batch.number(name)) > 0)
    silent = [0, *(CONN_STATES.index(name) for name in ("S0", "SH", "RSTOS0", "OTH"))]
    return np.asarray(np.where(told, sent, ~np.isin(batch.number("conn_state"), silent)))


def _internal(batch: FlowBatch, flag: str, address: Int8) -> Bool:
    four = (address[:, :10] == 0).all(axis=1) & (address[:, 10] == 255) & (address[:, 11] == 255)
    a, b = address[:, 12], address[:, 13]
    private4 = (a == 10) | ((a == 172) & (b >> 4 == 1)) | ((a == 192) & (b == 168)) | ((a == 169) & (b == 254))
    private6 = (address[:, 0] & 0xFE == 0xFC) | ((address[:, 0] == 0xFE) & (address[:, 1] & 0xC0 == 0x80))
    private = np.where(four, private4, private6)
    return np.asarray(np.where(batch.has(flag), batch.number(flag), private), dtype=np.bool_)
