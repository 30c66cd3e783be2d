"""What detectors look at: a batch, and the columns that several of them need, made once."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import kernels
from securenet_detection.behaviours.names import QueriedNames
from securenet_flows.batch import CONN_STATES, FlowBatch

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
_ECHO_REQUESTS: Final = (8, 128)

#: States that are failures outright, and those that are where the responder sent nothing.
_FAILED: Final = np.array([name in ("S0", "REJ") for name in CONN_STATES])
_FAILED_IF_SILENT: Final = np.array([name in ("OTH", "RSTOS0") for name in CONN_STATES])


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

    @classmethod
    def of(
        cls, batch: FlowBatch, *, seed: int, ordinal: int, learn: bool, names: QueriedNames | None = None
    ) -> Observation:
        """Makes the shared columns. `seed` keys the hashes of addresses."""
        src_addr, dst_addr = _owned(batch.src_addr), _owned(batch.dst_addr)
        dst_kind = kernels.address_kinds(dst_addr)
        protocol = batch.protocol.astype(np.int64)
        icmp = (protocol == _ICMP[0]) | (protocol == _ICMP[1])
        dst_port = batch.number("dst_port").astype(np.int64)
        src_port = batch.number("src_port").astype(np.int64)
        state = np.minimum(batch.number("conn_state"), len(CONN_STATES) - 1)
        silent = batch.number("resp_bytes") == 0
        backwards = (state == len(CONN_STATES) - 1) & (src_port < 1024) & (dst_port >= 1024)
        asks = np.where(icmp, (src_port == _ECHO_REQUESTS[0]) | (src_port == _ECHO_REQUESTS[1]), ~backwards)
        dst_group = dst_kind == 2
        failed = (_FAILED[state] | (_FAILED_IF_SILENT[state] & silent)) & asks & ~dst_group
        dst_port[icmp] = 0
        return cls(
            batch=batch,
            start_time_ns=_owned(batch.start_time_ns),
            src=kernels.hash_addresses(src_addr.view(np.uint64), seed),
            dst=kernels.hash_addresses(dst_addr.view(np.uint64), seed),
            src_local=_local(batch, "local_orig", kernels.address_kinds(src_addr)),
            dst_local=_local(batch, "local_resp", dst_kind),
            dst_group=dst_group,
            failed=failed,
            dst_port=dst_port,
            protocol=protocol,
            names=names,
            ordinal=ordinal,
            learn=learn,
        )

    def __len__(self) -> int:
        return len(self.batch)

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


def _owned(column: NDArray[Scalar]) -> NDArray[Scalar]:
    # A view of a message cannot be written; the kernels are compiled for arrays that can, and for nothing else.
    return column if column.flags.c_contiguous and column.flags.writeable else column.copy()


def _local(batch: FlowBatch, name: str, kinds: NDArray[np.uint8]) -> Bool:
    private = cast(Bool, (kinds & 1) != 0)
    if name not in batch.numeric:
        return private
    return np.where(batch.has(name), batch.number(name).astype(np.bool_), private)
