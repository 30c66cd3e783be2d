"""Flows with their verdicts as columns, and as one record a flow for who wants to look at one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from securenet_client.detection.convert import Verdicts, protocol_name
from securenet_client.detection.records import RowError, ThreatLevel
from securenet_flows.batch import Bool, Dictionary, FlowBatch, Int8, Int64

#: Detectors are kept as bits of a 64-bit number a row.
MOST_DETECTORS: Final = 64


class DetectorNames:
    """Which bit stands for which detector, in the order of their first appearance."""

    def __init__(self) -> None:
        self._bits: dict[str, int] = {}
        self._lists: dict[int, list[str]] = {0: []}

    def bit(self, name: str) -> int:
        """The bit of a detector; a 65th detector shares the last one's."""
        return 1 << self._bits.setdefault(name, min(len(self._bits), MOST_DETECTORS - 1))

    def names(self, mask: int) -> list[str]:
        """The detectors of a row, sorted."""
        known = self._lists.get(mask)
        if known is None:
            known = self._lists[mask] = sorted(name for name, bit in self._bits.items() if mask >> bit & 1)
        return known


@dataclass(frozen=True, slots=True)
class AnalyzedFlow:
    """One flow with its verdict. `label` is the source's own, if it has labels."""

    flow_id: str
    start_time: datetime
    src_ip: str
    src_port: int | None
    dst_ip: str
    dst_port: int | None
    protocol: str
    threat_level: ThreatLevel
    score: float
    detectors: tuple[str, ...]
    label: str | None


@dataclass(frozen=True, slots=True, eq=False)
class AnalyzedRows:
    """Flows with their verdicts, n of them, in the order of the input.

    Attributes:
        start_time_ns, src_addr, dst_addr, protocol: as in FlowBatch.
        src_port, dst_port: int32 (n,), −1 where absent.
        flow_id, label: text columns.
        level: uint8 (n,), ThreatLevel numbers; 0 where the service could not score the row.
        score: float32 (n,), 0–1.
        detectors: uint64 (n,), see :class:`DetectorNames`; those that contributed to the score, whatever the level.
        errors: rows that could not be scored.
    """

    start_time_ns: Int64
    src_addr: Int8
    dst_addr: Int8
    protocol: Int8
    src_port: NDArray[np.int32]
    dst_port: NDArray[np.int32]
    flow_id: Dictionary
    label: Dictionary
    level: NDArray[np.uint8]
    score: NDArray[np.float32]
    detectors: NDArray[np.uint64]
    errors: tuple[RowError, ...] = field(default=())

    @classmethod
    def of(cls, batch: FlowBatch, verdicts: Verdicts, names: DetectorNames) -> AnalyzedRows:
        """The rows of a batch with its verdicts."""
        detectors = np.zeros(len(batch), dtype=np.uint64)
        for position, name in enumerate(verdicts.detectors[:MOST_DETECTORS]):
            contributed = (verdicts.contributed >> np.uint64(position)) & np.uint64(1)
            detectors |= contributed * np.uint64(names.bit(name))
        for row, _, detector, _ in verdicts.evidence():
            detectors[row] |= np.uint64(names.bit(detector))
        return cls(
            start_time_ns=batch.start_time_ns,
            src_addr=batch.src_addr,
            dst_addr=batch.dst_addr,
            protocol=batch.protocol,
            src_port=_port(batch, "src_port"),
            dst_port=_port(batch, "dst_port"),
            flow_id=_own_values(batch.texts("flow_id")),
            label=batch.texts("label"),
            level=verdicts.threat_level,
            score=verdicts.score,
            detectors=detectors,
            errors=verdicts.errors,
        )

    def __len__(self) -> int:
        return len(self.level)

    def at_or_above(self, level: ThreatLevel) -> Bool:
        """Boolean (n,): which rows are at least so grave."""
        return np.asarray(self.level >= level)

    def records(self, names: DetectorNames, rows: Sequence[int] | None = None) -> Iterator[dict[str, Any]]:
        """Plain values of the rows (all of them by default) under the names that the command line promises."""
        wanted = range(len(self)) if rows is None else rows
        times = np.datetime_as_string(self.start_time_ns.view("datetime64[ns]").astype("datetime64[us]"), unit="us")
        sources, destinations = _texts(self.src_addr), _texts(self.dst_addr)
        levels = self.level.tolist()
        scores = np.round(self.score.astype(np.float64), 6).tolist()
        src_ports, dst_ports = self.src_port.tolist(), self.dst_port.tolist()
        protocols, masks = self.protocol.tolist(), self.detectors.tolist()
        problems = {error.row: f"{error.field}: {error.reason}" for error in self.errors}
        for row in wanted:
            record = {
                "flow_id": self.flow_id[row],
                "start_time": f"{times[row]}Z",
                "src_ip": sources[row],
                "src_port": src_ports[row] if src_ports[row] >= 0 else None,
                "dst_ip": destinations[row],
                "dst_port": dst_ports[row] if dst_ports[row] >= 0 else None,
                "protocol": protocol_name(protocols[row]),
                "threat_level": _LEVEL_NAMES[levels[row]],
                "score": scores[row],
                "detectors": names.names(masks[row]),
                "label": self.label[row],
            }
            if row in problems:
                record["error"] = problems[row]
            yield record

    def flows(self, names: DetectorNames) -> Iterator[AnalyzedFlow]:
        """One record a flow."""
        for row, plain in enumerate(self.records(names)):
            plain.pop("error", None)
            plain["flow_id"] = plain["flow_id"] or ""
            plain["start_time"] = datetime.fromisoformat(plain["start_time"])
            plain["threat_level"] = ThreatLevel(int(self.level[row]))
            plain["detectors"] = tuple(plain["detectors"])
            yield AnalyzedFlow(**plain)


#: A row that could not be scored gives no reason to look; its record says what was wrong.
_LEVEL_NAMES: Final[Mapping[int, str]] = {0: "low", **{int(level): str(level) for level in ThreatLevel if level}}


def address_text(packed: bytes) -> str:
    """Text of 16 bytes in network order; IPv4 that is mapped into IPv6 reads as IPv4."""
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def address_bytes(text: str) -> bytes:
    """16 bytes of an address in text form, IPv4 mapped into IPv6.

    Raises:
        ValueError: no address.
    """
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed


def as_void(addresses: Int8) -> NDArray[np.void]:
    """(n, 16) bytes as (n,) opaque values that compare as a whole."""
    return np.ascontiguousarray(addresses).view(np.dtype((np.void, 16))).ravel()


def _texts(addresses: Int8) -> list[str]:
    distinct, codes = np.unique(as_void(addresses), return_inverse=True)
    texts = [address_text(value.tobytes()) for value in distinct]
    return [texts[code] for code in codes.tolist()]


def _port(batch: FlowBatch, name: str) -> NDArray[np.int32]:
    return np.where(batch.has(name), batch.number(name).astype(np.int32), np.int32(-1)).astype(np.int32)


def _own_values(column: Dictionary) -> Dictionary:
    """The column with only the values that it uses, so that a slice does not keep the texts of its whole."""
    if len(column.values) <= len(column):
        return column
    return Dictionary.encode(column.decode())
