"""What detectors look at: a batch, and the columns that several of them need, made once."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import row_kernels as kernels
from securenet_detection.behaviours.names import QueriedNames
from securenet_detection.behaviours.services import facts
from securenet_flows.batch import NUMERIC, FlowBatch

Bool = NDArray[np.bool_]
Int64 = NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)

TCP: Final = 6
UDP: Final = 17
_ICMP: Final = (1, 58)
_PROTOCOLS: Final = {1: "icmp", TCP: "tcp", UDP: "udp", 58: "icmpv6"}
#: What IPv4 has before its four bytes (RFC 4291, 2.5.5.2).
_MAPPED: Final = bytes(10) + b"\xff\xff"
_COMPATIBLE: Final = bytes(12)

#: Stand for a numeric column, and a mask of presence, that a batch lacks.
_NO_COLUMN: Final = {name: np.zeros(0, dtype) for name, dtype in NUMERIC.items()}
_NO_MASK: Final = np.zeros(0, np.bool_)
_NO_CODES: Final = np.zeros(0, np.int32)

#: Rows by which columns lie further apart than they must. Batches are most often of 4096 rows, and whatever is written
#: 4096 bytes apart has one and the same place in a processor's first cache, where there is room for eight.
_APART: Final = 72


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """A batch, seen for the first time or, in a dry run, without being remembered.

    Attributes:
        batch: the flows.
        start_time_ns: int64 (n,).
        src, dst: int64 (n,), keyed hashes of the addresses.
        src_local, dst_local: the sensor says so, else the address is private.
        dst_group: the destination is a multicast or broadcast address.
        failed: nobody answered: S0, REJ, or OTH or RSTOS0 without a byte from the responder; False where unknown.
            Multicast and broadcast are never answered, so they never fail; midstream flows from a system port to a high
            one are answers seen from the wrong side, and echo is the only ICMP that asks.
        dst_port: int64 (n,), 0 where absent and for ICMP.
        protocol: int64 (n,).
        names: what is known of the names that rows asked DNS for; None where none did, or nobody read them.
        ordinal: of the first row among all rows that the tenant ever sent, from 1.
        learn: False for a dry run.
        numbers: int64 (NUMBERS, n), what follows from a row alone: `times` are start times that can be subtracted from
            each other; `hosts`, `pair`, `port_pair` and `service_key` are keys of source and destination, of those with
            port and protocol, with the port, and of the source with port, protocol and where the destination is; bytes
            are 0 to 2^46, durations milliseconds; `admin` is the position of the service that administers an internal
            host, −1 for others, and `admin_peer` the key of the host with it.
        marks: boolean (MARKS, n), likewise: `leaves` goes from the network's own hosts to others, or to others from
            whom it may; `calls` leaves and did not fail; `converses` was answered beside, and is no clock; and so on.
        found: a bit a mark, set where any row has it.
        longest_ns: longest duration, 0 at least.
        blanks: see :meth:`blank`.
    """

    batch: FlowBatch
    start_time_ns: Int64
    src: Int64
    dst: Int64
    src_local: Bool
    dst_local: Bool
    dst_group: Bool
    failed: Bool
    dst_port: Int64
    protocol: Int64
    names: QueriedNames | None
    ordinal: int
    learn: bool
    numbers: Int64
    marks: Bool
    found: int
    longest_ns: int
    blanks: dict[int, Int64] = field(default_factory=dict)

    @classmethod
    def of(
        cls, batch: FlowBatch, *, seed: int, ordinal: int, learn: bool, names: QueriedNames | None = None
    ) -> Observation:
        """Makes the shared columns. `seed` keys the hashes of addresses."""
        rows = len(batch)
        width = rows + min(rows, _APART)
        numbers, marks = np.empty((kernels.NUMBERS, width), np.int64), np.empty((kernels.MARKS, width), np.bool_)
        services, queries = batch.text.get("service"), batch.text.get("dns_query")
        start_time_ns = owned(batch.start_time_ns)
        found, longest = kernels.read_rows(
            owned(batch.src_addr), owned(batch.dst_addr), start_time_ns, owned(batch.protocol),
            _column(batch, "src_port"), _column(batch, "dst_port"),
            _column(batch, "conn_state"), _present(batch, "conn_state"),
            _column(batch, "orig_bytes"), _column(batch, "resp_bytes"), _present(batch, "resp_bytes"),
            _column(batch, "orig_pkts"), _column(batch, "resp_pkts"), _column(batch, "duration_ns"),
            _column(batch, "local_orig"), _present(batch, "local_orig"),
            _column(batch, "local_resp"), _present(batch, "local_resp"),
            _NO_CODES if services is None else owned(services.codes), facts(services),
            _NO_CODES if queries is None else owned(queries.codes),
            seed, numbers, marks,
        )  # fmt: skip
        numbers, marks = numbers[:, :rows], marks[:, :rows]
        return cls(
            batch=batch,
            start_time_ns=start_time_ns,
            src=numbers[kernels.SRC],
            dst=numbers[kernels.DST],
            src_local=marks[kernels.SRC_LOCAL],
            dst_local=marks[kernels.DST_LOCAL],
            dst_group=marks[kernels.DST_GROUP],
            failed=marks[kernels.FAILED],
            dst_port=numbers[kernels.DST_PORT],
            protocol=numbers[kernels.PROTOCOL],
            names=names,
            ordinal=ordinal,
            learn=learn,
            numbers=numbers,
            marks=marks,
            found=found,
            longest_ns=longest,
        )

    def blank(self, columns: int) -> Int64:
        """int64 (n, columns), zeros, for a loop to write into; who finds it written into must :meth:`claim` it.

        Most loops have nothing to say of any row, so one array does for all of them.
        """
        found = self.blanks.get(columns)
        if found is None:
            found = self.blanks[columns] = np.zeros((len(self), columns), np.int64)
        return found

    def claim(self, out: Int64) -> None:
        """Lets nobody else write into what :meth:`blank` gave."""
        del self.blanks[out.shape[1]]

    def number(self, column: int) -> Int64:
        """int64 (n,): a column of :mod:`.row_kernels`."""
        found: Int64 = self.numbers[column]
        return found

    def mark(self, mark: int) -> Bool:
        """Boolean (n,): rows with a mark of :mod:`.row_kernels`."""
        found: Bool = self.marks[mark]
        return found

    def any(self, mark: int) -> bool:
        """Whether any row has a mark."""
        return self.found >> mark & 1 == 1

    def __len__(self) -> int:
        return len(self.start_time_ns)

    def flow_ids(self, rows: Int64) -> list[str | None]:
        """Identities of the flows of the given rows, None where absent."""
        column = self.batch.texts("flow_id")
        return [None if code < 0 else column.values[code] for code in column.codes[rows].tolist()]

    def source(self, row: int) -> str:
        """The originator's address as text."""
        return address_text(self.batch.src_addr[row].tobytes())

    def destination(self, row: int) -> str:
        """The responder's address as text."""
        return address_text(self.batch.dst_addr[row].tobytes())

    def service(self, row: int) -> str:
        """Protocol and responder's port, such as tcp/445."""
        protocol = self.protocol.item(row)
        name = _PROTOCOLS.get(protocol) or f"protocol {protocol}"
        return name if protocol in _ICMP else f"{name}/{self.dst_port.item(row)}"


@lru_cache(1 << 14)
def address_text(packed: bytes) -> str:
    """Text of 16 bytes in network order; IPv4 that is mapped into IPv6 reads as IPv4."""
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[len(_MAPPED) :])
    if packed.startswith(_COMPATIBLE):
        # The C library writes dots here, and nobody else does: one address must have one text.
        return str(ipaddress.IPv6Address(packed))
    return socket.inet_ntop(socket.AF_INET6, packed)


def owned(column: NDArray[Scalar]) -> NDArray[Scalar]:
    """A column as the kernels take it."""
    # A view of a message cannot be written; the kernels are compiled for arrays that can, and for nothing else.
    flags = column.flags
    return column if flags.c_contiguous and flags.writeable else column.copy()


def _column(batch: FlowBatch, name: str) -> NDArray[np.generic]:
    column = batch.numeric.get(name)
    return _NO_COLUMN[name] if column is None else owned(column)


def _present(batch: FlowBatch, name: str) -> Bool:
    mask = batch.present.get(name)
    return _NO_MASK if mask is None else owned(mask)
