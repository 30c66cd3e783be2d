"""Flows to messages, verdicts to arrays: the only place that knows both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from securenet.detection.v1 import detection_pb2, flow_pb2, verdict_pb2
from securenet_client.detection.records import Flow, ModelRef, RowError, SkippedDetector, Verdict
from securenet_client.messages import read, to_duration, to_timestamp
from securenet_core.exceptions import InvalidArgumentError
from securenet_flows.batch import NUMERIC, TEXT, Dictionary, FlowBatch

#: Most rows of one message.
MOST_ROWS: Final = 65_536

#: Text columns that are not sent: labels are for training and evaluation, never for who judges.
_KEPT_BACK: Final = frozenset({"label", "detailed_label"})
_LONGEST_TEXT: Final = 2048
_LONGEST_FLOW_ID: Final = 128

_PROTOCOL_NAMES: Final[Mapping[int, str]] = {
    1: "icmp", 2: "igmp", 4: "ipip", 6: "tcp", 17: "udp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah", 58: "icmp6",
    89: "ospf", 103: "pim", 112: "vrrp", 132: "sctp",
}  # fmt: skip
_PROTOCOL_NUMBERS: Final[Mapping[str, int]] = {
    **{name: number for number, name in _PROTOCOL_NAMES.items()},
    "icmpv6": 58,
    "ipv6-icmp": 58,
}

_SCALARS: Final = (
    "src_port", "dst_port", "service", "orig_bytes", "resp_bytes", "orig_ip_bytes", "resp_ip_bytes", "orig_pkts",
    "resp_pkts", "history", "missed_bytes", "local_orig", "local_resp", "sensor_id", "community_id",
)  # fmt: skip


def protocol_name(number: int) -> str:
    """`tcp` of 6 and so on; the number itself where the protocol has no common name."""
    return _PROTOCOL_NAMES.get(number, str(number))


def protocol_number(name: str | int) -> int:
    """The IANA number of a protocol's name or number.

    Raises:
        InvalidArgumentError: neither.
    """
    text = str(name).lower()
    if text in _PROTOCOL_NUMBERS:
        return _PROTOCOL_NUMBERS[text]
    if text.isdecimal() and 1 <= int(text) <= 255:
        return int(text)
    raise InvalidArgumentError.of("protocol", f"{name!r}; expected tcp, udp, icmp, icmp6 or a number from 1 to 255")


def pack_flow(flow: Flow) -> flow_pb2.FlowRecord:
    """The message of one flow.

    Raises:
        InvalidArgumentError: protocol or state is unknown, a value does not fit, or several applications are given.
    """
    try:
        record = flow_pb2.FlowRecord(
            flow_id=flow.flow_id,
            start_time=to_timestamp(flow.start_time),
            src_ip=flow.src_ip,
            dst_ip=flow.dst_ip,
            # Protocols beyond the enum's names travel as their number, which proto3 keeps.
            protocol=protocol_number(flow.protocol),  # type: ignore[arg-type]  # an open enum
        )
        if flow.duration is not None:
            record.duration.CopyFrom(to_duration(flow.duration))
        if flow.conn_state:
            record.conn_state = flow_pb2.ConnState.Value(f"CONN_STATE_{flow.conn_state.upper()}")
        for name in _SCALARS:
            value = getattr(flow, name)
            if value is not None:
                setattr(record, name, value)
        applications = [name for name in ("dns", "tls", "http", "ssh") if getattr(flow, name) is not None]
        if len(applications) > 1:
            raise InvalidArgumentError.of("application", f"{', '.join(applications)}; expected at most one")
        for name in applications:
            activity = getattr(record, name)
            activity.SetInParent()
            for key, value in getattr(flow, name).items():
                setattr(activity, key, value)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidArgumentError(f"flow {flow.flow_id or flow.src_ip}: {error}") from error
    return record


def pack_batch(batch: FlowBatch) -> flow_pb2.FlowBatch:
    """The message of a batch of 1 to 65,536 flows: packed columns, and bitmaps where a column lacks rows.

    Texts longer than the contract allows are cut.

    Raises:
        InvalidArgumentError: no row, or too many.
    """
    if not 1 <= len(batch) <= MOST_ROWS:
        raise InvalidArgumentError.of("batch", f"{len(batch)} rows; expected 1 to {MOST_ROWS}")
    message = flow_pb2.FlowBatch(src_addr=batch.src_addr.tobytes(), dst_addr=batch.dst_addr.tobytes())
    message.start_time_ns.extend(batch.start_time_ns.tolist())
    message.protocol.extend(batch.protocol.tolist())
    for name in NUMERIC:
        if name in batch.numeric:
            getattr(message, name).extend(batch.numeric[name].tolist())
    for name, mask in batch.present.items():
        if not mask.all():
            message.presence[name] = np.packbits(mask, bitorder="little").tobytes()
    for name in TEXT:
        if name in batch.text and name not in _KEPT_BACK:
            _pack_text(message, name, batch.text[name])
    return message


def _pack_text(message: flow_pb2.FlowBatch, name: str, column: Dictionary) -> None:
    if name == "flow_id":
        lookup = (*(text[:_LONGEST_FLOW_ID] for text in column.values), "")
        message.flow_id.extend([lookup[code] for code in column.codes.tolist()])
        return
    codes: NDArray[np.integer[Any]] = column.codes
    if len(column.values) > len(codes):
        # A slice shares the values of its whole; only those that occur may travel.
        used, codes = np.unique(codes, return_inverse=True)
        first = int(used[0] < 0) if len(used) else 0
        values = [column.values[code] for code in used[first:].tolist()]
        codes = codes - first
    else:
        values = list(column.values)
    target = getattr(message, name)
    target.values.extend(text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] for text in values)
    target.codes.extend((codes + 1).tolist())


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """Verdicts of a batch, in its order.

    Attributes:
        threat_level: uint8 (n,), numbers of ThreatLevel; 0 where the row could not be scored.
        score: float32 (n,), probability that the flow is malicious.
        errors: rows that could not be scored, and why.
        model: what scored; None if nothing did.
        skipped: detectors that judged no row of the batch.
        detectors: those that contributed to the score of some row.
        contributed: uint64 (n,), whatever the row's level: bit i where detectors[i] contributed to its score.
    """

    threat_level: NDArray[np.uint8]
    score: NDArray[np.float32]
    errors: tuple[RowError, ...]
    model: ModelRef | None
    skipped: tuple[SkippedDetector, ...]
    detectors: tuple[str, ...]
    contributed: NDArray[np.uint64]
    _message: verdict_pb2.VerdictBatch = field(repr=False)

    def __len__(self) -> int:
        return len(self.threat_level)

    @property
    def details(self) -> dict[int, Verdict]:
        """Full verdicts by row, of the rows at or above the level that was asked for."""
        return {detail.row: read(Verdict, detail.verdict) for detail in self._message.details}

    @property
    def details_omitted(self) -> int:
        """Rows whose full verdict was left out because the service sheds work under load."""
        return int(self._message.details_omitted)

    def evidence(self) -> Iterator[tuple[int, str, str, int]]:
        """Row, evidence id, detector and level of each piece of evidence, without building records."""
        for detail in self._message.details:
            row = detail.row
            for piece in detail.verdict.evidence:
                yield row, piece.id, piece.detector, int(piece.level)


def unpack_verdicts(message: verdict_pb2.VerdictBatch) -> Verdicts:
    """The verdicts that a message holds."""
    contributed = np.array(message.contributed, dtype=np.uint64)
    if len(contributed) != len(message.threat_level):
        # No detector did, or the service is of before it said so.
        contributed = np.zeros(len(message.threat_level), dtype=np.uint64)
    return Verdicts(
        threat_level=np.array(message.threat_level, dtype=np.uint8),
        score=np.array(message.score, dtype=np.float32),
        errors=tuple(read(RowError, error) for error in message.errors),
        model=read(ModelRef, message.model) if message.HasField("model") else None,
        skipped=tuple(read(SkippedDetector, skipped) for skipped in message.skipped),
        detectors=tuple(message.detectors),
        contributed=contributed,
        _message=message,
    )


def batch_options(*, dry_run: bool, detail_level: int, state_scope: str = "") -> verdict_pb2.BatchOptions:
    """The message of how to treat a batch."""
    options = verdict_pb2.BatchOptions(dry_run=dry_run, state_scope=state_scope)
    options.detail_level = detail_level  # type: ignore[assignment]  # an enum's number
    return options


def stream_request(sequence: int, batch: FlowBatch, options: Any) -> detection_pb2.AnalyzeStreamRequest:
    """One message of a stream."""
    return detection_pb2.AnalyzeStreamRequest(sequence=sequence, batch=pack_batch(batch), options=options)
