"""The only translation between the contract and the domain."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from securenet.detection.v1 import detection_pb2, finding_pb2, flow_pb2, verdict_pb2
from securenet_core.exceptions import InvalidArgumentError
from securenet_detection.engine import DetectorStatus
from securenet_detection.findings.finding import AnalystVerdict, Finding, FindingStatus, Suppression
from securenet_detection.findings.interface import FindingFilter
from securenet_detection.findings.ledger import FindingEdit
from securenet_detection.models.interface import ModelReference
from securenet_detection.models.serving import ServingModel
from securenet_detection.threats import Evidence, Skipped, Technique, ThreatLevel
from securenet_detection.verdicts import BatchVerdicts
from securenet_flows.batch import CONN_STATES, NUMERIC, Dictionary, FlowBatch

_INT64_MAX: Final = 2**63 - 1

# ---------------------------------------------------------------------------------------------------------------------
# Columns

#: Largest value of a numeric column, where that is less than its dtype holds.
_LARGEST: Final[Mapping[str, int]] = {"conn_state": len(CONN_STATES) - 1, "http_status_code": 999}

#: Text columns of FlowBatch messages that are dictionary-encoded.
_TEXTS: Final = tuple(
    field.name
    for field in flow_pb2.FlowBatch.DESCRIPTOR.fields
    if field.message_type is not None and field.message_type.name == "StringColumn"
)


class RowError(NamedTuple):
    """One value of a batch that cannot be right."""

    row: int
    field: str
    reason: str


class Columns(NamedTuple):
    """A batch message as columns: its good rows, where they stood, and what was wrong with the others.

    `rows` is None where all are good.
    """

    batch: FlowBatch
    total: int
    rows: NDArray[np.int64] | None
    errors: list[RowError]


def flow_batch(message: flow_pb2.FlowBatch) -> Columns:
    """The columns of a message.

    Raises:
        InvalidArgumentError: a column's length does not fit; names it.
    """
    total = len(message.start_time_ns)
    errors: list[RowError] = []
    src, dst = _addresses(message.src_addr, "src_addr", total), _addresses(message.dst_addr, "dst_addr", total)
    protocol = _column(message, "protocol", total)
    if protocol is None:
        raise InvalidArgumentError.of("batch.protocol", f"0 values; expected {total}")
    _bad_rows(errors, "protocol", protocol, (protocol == 0) | (protocol > 255), "1 to 255")
    numeric: dict[str, NDArray[np.generic]] = {}
    present = _presence(message, total)
    for name, dtype in NUMERIC.items():
        values = _column(message, name, total)
        if values is not None:
            numeric[name] = _checked(errors, name, values, dtype, present.get(name))
    for name in present:
        if name not in numeric:
            raise InvalidArgumentError.of(f"batch.presence[{name!r}]", "no such numeric column in this batch")
    if "conn_state" in numeric and not numeric["conn_state"].all():
        present["conn_state"] = present.get("conn_state", True) & (numeric["conn_state"] != 0)
    batch = FlowBatch(
        start_time_ns=np.array(message.start_time_ns),
        src_addr=src,
        dst_addr=dst,
        protocol=protocol.astype(np.uint8),
        numeric=numeric,
        text=_texts(message, total, errors),
        present=present,
    )
    if not errors:
        return Columns(batch, total, None, errors)
    good = np.ones(total, np.bool_)
    good[[error.row for error in errors]] = False
    rows = np.flatnonzero(good)
    return Columns(batch.take(rows), total, rows, sorted(errors))


def _column(message: Any, name: str, total: int) -> NDArray[Any] | None:
    values = getattr(message, name)
    if not len(values):
        return None
    if len(values) != total:
        raise InvalidArgumentError.of(f"batch.{name}", f"{len(values)} values; expected {total}, as start_time_ns has")
    return np.array(values)


def _addresses(data: bytes, name: str, total: int) -> NDArray[np.uint8]:
    if len(data) != 16 * total:
        raise InvalidArgumentError.of(f"batch.{name}", f"{len(data)} bytes; expected {16 * total}, 16 a row")
    return np.frombuffer(data, np.uint8).reshape(total, 16)


def _presence(message: flow_pb2.FlowBatch, total: int) -> dict[str, Any]:
    masks: dict[str, Any] = {}
    for name, bits in message.presence.items():
        if len(bits) != (total + 7) // 8:
            raise InvalidArgumentError.of(
                f"batch.presence[{name!r}]", f"{len(bits)} bytes; expected {(total + 7) // 8}, a bit a row"
            )
        mask = np.unpackbits(np.frombuffer(bits, np.uint8), count=total, bitorder="little")
        masks[name] = mask.astype(np.bool_)
    return masks


def _checked(
    errors: list[RowError], name: str, values: NDArray[Any], dtype: np.dtype[Any], present: NDArray[np.bool_] | None
) -> NDArray[np.generic]:
    """Values in the column's own type; rows whose value does not fit become errors, unless it is absent there."""
    if dtype.kind != "b":
        largest = _LARGEST.get(name, np.iinfo(dtype).max)
        bad = values > largest if values.dtype.kind == "u" else (values < 0) | (values > largest)
        if present is not None:
            bad &= present
        _bad_rows(errors, name, values, bad, f"0 to {largest}")
    return values.astype(dtype)


def _bad_rows(errors: list[RowError], name: str, values: NDArray[Any], bad: NDArray[np.bool_], accepted: str) -> None:
    if bad.any():
        errors += [RowError(row, name, f"{values[row]}; expected {accepted}") for row in np.flatnonzero(bad).tolist()]


def _texts(message: flow_pb2.FlowBatch, total: int, errors: list[RowError]) -> dict[str, Dictionary]:
    texts: dict[str, Dictionary] = {}
    if message.flow_id:
        if len(message.flow_id) != total:
            raise InvalidArgumentError.of("batch.flow_id", f"{len(message.flow_id)} values; expected {total}")
        # A value a row: nothing is gained by looking for equal ones.
        texts["flow_id"] = Dictionary(np.arange(total, dtype=np.int32), tuple(message.flow_id))
    for name in _TEXTS:
        if not message.HasField(name):  # type: ignore[arg-type]  # the names come from the descriptor
            continue
        column = getattr(message, name)
        if not column.codes:
            continue
        if len(column.codes) != total:
            raise InvalidArgumentError.of(f"batch.{name}.codes", f"{len(column.codes)} values; expected {total}")
        codes = np.array(column.codes)
        limit = len(column.values)
        _bad_rows(errors, name, codes, codes > limit, f"a code from 0 to {limit}")
        texts[name] = Dictionary(np.where(codes > limit, 0, codes).astype(np.int32) - 1, tuple(column.values))
    return texts


# ---------------------------------------------------------------------------------------------------------------------
# Records

#: Numeric columns and where they stand in a FlowRecord.
_RECORD_NUMBERS: Final = (
    "src_port", "dst_port", "orig_bytes", "resp_bytes", "orig_ip_bytes", "resp_ip_bytes", "orig_pkts", "resp_pkts",
    "missed_bytes", "local_orig", "local_resp",
)  # fmt: skip
_RECORD_TEXTS: Final = ("service", "history", "sensor_id", "community_id")
_numbers = attrgetter(*_RECORD_NUMBERS)
_record_texts = attrgetter(*_RECORD_TEXTS)

#: Columns of each application activity by its fields.
_ACTIVITIES: Final = {
    activity: tuple(
        (field.name, f"{activity}_{field.name}", f"{activity}_{field.name}" in NUMERIC)
        for field in message.DESCRIPTOR.fields
    )
    for activity, message in (
        ("dns", flow_pb2.DnsActivity),
        ("tls", flow_pb2.TlsActivity),
        ("http", flow_pb2.HttpActivity),
        ("ssh", flow_pb2.SshActivity),
    )
}


class FlowRow(NamedTuple):
    """One flow record, checked, with absent fields left out of `numbers` and `texts`."""

    start_time_ns: int
    src_addr: bytes
    dst_addr: bytes
    protocol: int
    numbers: dict[str, int]
    texts: dict[str, str]


def flow_row(record: flow_pb2.FlowRecord) -> FlowRow:
    """The row of a record that keeps the contract's field rules.

    Raises:
        InvalidArgumentError: a time does not fit into 64 bits of nanoseconds, or the protocol into 8 bits.
    """
    start = record.start_time.seconds * 1_000_000_000 + record.start_time.nanos
    if not -_INT64_MAX <= start <= _INT64_MAX:
        raise InvalidArgumentError.of("flow.start_time", "expected a time from 1678 to 2262")
    if not 0 < record.protocol < 256:
        raise InvalidArgumentError.of("flow.protocol", f"{record.protocol}; expected an IANA protocol number, 1 to 255")
    numbers = {
        name: value
        for name, value in zip(_RECORD_NUMBERS, _numbers(record), strict=True)
        if value or record.HasField(name)  # type: ignore[arg-type]  # mypy takes literals only
    }
    texts = {
        name: value
        for name, value in zip(_RECORD_TEXTS, _record_texts(record), strict=True)
        if value or record.HasField(name)  # type: ignore[arg-type]  # likewise
    }
    if record.flow_id:
        texts["flow_id"] = record.flow_id
    if record.conn_state:
        numbers["conn_state"] = record.conn_state
    if record.HasField("duration"):
        duration = record.duration.seconds * 1_000_000_000 + record.duration.nanos
        if not 0 <= duration <= _INT64_MAX:
            raise InvalidArgumentError.of("flow.duration", "expected 0 to 292 years")
        numbers["duration_ns"] = duration
    activity = record.WhichOneof("application")
    if activity is not None:
        _read_activity(getattr(record, activity), _ACTIVITIES[activity], numbers, texts)
    return FlowRow(
        start, _packed(record.src_ip, "src_ip"), _packed(record.dst_ip, "dst_ip"), record.protocol, numbers, texts
    )


def _read_activity(
    activity: Any, fields: Iterable[tuple[str, str, bool]], numbers: dict[str, int], texts: dict[str, str]
) -> None:
    for field, column, numeric in fields:
        value = getattr(activity, field)
        # dns.query alone has no presence: an empty name is the root, which is as good as none.
        if not value and (column == "dns_query" or not activity.HasField(field)):
            continue
        if not numeric:
            texts[column] = value
        elif value > np.iinfo(np.int32).max:
            raise InvalidArgumentError.of(f"flow.{column.replace('_', '.', 1)}", f"{value}; expected at most 2^31 − 1")
        else:
            numbers[column] = value


def _packed(address: str, field: str) -> bytes:
    try:
        return b"\0" * 10 + b"\xff\xff" + socket.inet_pton(socket.AF_INET, address)
    except OSError:
        pass
    try:
        return ipaddress.IPv6Address(address.partition("%")[0]).packed
    except ValueError:
        raise InvalidArgumentError.of(f"flow.{field}", f"{address[:64]!r} is no IP address") from None


def rows_as_batch(rows: Sequence[FlowRow]) -> FlowBatch:
    """One batch of many rows, in their order."""
    count = len(rows)
    names = set().union(*(row.numbers for row in rows))
    numeric: dict[str, NDArray[np.generic]] = {}
    present: dict[str, NDArray[np.bool_]] = {}
    for name in names:
        numeric[name] = np.array([row.numbers.get(name, 0) for row in rows], NUMERIC[name])
        mask = [name in row.numbers for row in rows]
        if not all(mask):
            present[name] = np.array(mask, np.bool_)
    text_names = set().union(*(row.texts for row in rows))
    return FlowBatch(
        start_time_ns=np.array([row.start_time_ns for row in rows], np.int64),
        src_addr=np.frombuffer(b"".join(row.src_addr for row in rows), np.uint8).reshape(count, 16),
        dst_addr=np.frombuffer(b"".join(row.dst_addr for row in rows), np.uint8).reshape(count, 16),
        protocol=np.array([row.protocol for row in rows], np.uint8),
        numeric=numeric,
        text={name: Dictionary.encode(row.texts.get(name) for row in rows) for name in text_names},
        present=present,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Verdicts


def verdict(verdicts: BatchVerdicts, row: int) -> verdict_pb2.Verdict:
    """The full verdict of a row."""
    return verdict_pb2.Verdict(
        flow_id=verdicts.flow_id(row),
        threat_level=_number(verdicts.threat_level[row]),
        score=float(verdicts.score[row]),
        evidence=[evidence(piece) for piece in verdicts.evidence(row)],
        model=model_ref(verdicts.model),
        skipped=[skipped_detector(skipped) for skipped in verdicts.skipped_at(row)],
    )


class VerdictPacker:
    """Puts the verdicts of a batch, piece by piece, into one message.

    Args:
        columns: the batch.
        detail_level: rows from this level on get a full verdict.
    """

    def __init__(self, columns: Columns, detail_level: int) -> None:
        self._columns = columns
        self._detail_level = ThreatLevel(detail_level or ThreatLevel.MEDIUM)
        self._levels = np.zeros(columns.total, np.uint8)
        self._scores = np.zeros(columns.total, np.float32)
        self._message = verdict_pb2.VerdictBatch(
            errors=[verdict_pb2.RowError(row=e.row, field=e.field, reason=e.reason) for e in columns.errors]
        )
        self._pieces = 0

    def add(self, start: int, verdicts: BatchVerdicts) -> None:
        """Adds the verdicts of the piece that begins at a position among the good rows."""
        rows = self._columns.rows
        at = np.arange(start, start + len(verdicts)) if rows is None else rows[start : start + len(verdicts)]
        self._levels[at] = verdicts.threat_level
        self._scores[at] = verdicts.score
        for row in verdicts.rows_at_or_above(self._detail_level):
            self._message.details.add(row=int(at[row]), verdict=verdict(verdicts, row))
        skipped = [skipped_detector(one) for one in verdicts.skipped]
        if self._pieces == 0:
            self._message.skipped.extend(skipped)
        else:
            # A detector was skipped in the batch if it was in every piece.
            names = {one.detector for one in skipped}
            kept = [one for one in self._message.skipped if one.detector in names]
            del self._message.skipped[:]
            self._message.skipped.extend(kept)
        reference = model_ref(verdicts.model)
        if reference is not None:
            self._message.model.CopyFrom(reference)
        self._pieces += 1

    def finish(self) -> verdict_pb2.VerdictBatch:
        """The message."""
        self._message.threat_level.extend(self._levels.tolist())
        self._message.score.extend(self._scores.tolist())
        return self._message


def evidence(piece: Evidence) -> verdict_pb2.Evidence:
    """A piece of evidence."""
    return verdict_pb2.Evidence(
        id=piece.id,
        detector=piece.detector,
        detector_version=piece.detector_version,
        analytic_type=_number(piece.analytic_type),
        level=_number(piece.level),
        confidence=piece.confidence,
        summary=piece.summary,
        measured=piece.measured,
        threshold=piece.threshold,
        techniques=[technique(one) for one in piece.techniques],
        flow_ids=piece.flow_ids,
    )


def technique(one: Technique) -> verdict_pb2.AttackTechnique:
    """An ATT&CK technique."""
    return verdict_pb2.AttackTechnique(id=one.id, name=one.name, tactic=one.tactic)


def skipped_detector(one: Skipped) -> verdict_pb2.SkippedDetector:
    """A detector that could not judge."""
    return verdict_pb2.SkippedDetector(detector=one.detector, reason=one.reason)


def model_ref(model: ModelReference | None) -> verdict_pb2.ModelRef | None:
    """The model version that scored, if one did."""
    return None if model is None else verdict_pb2.ModelRef(name=model.name, alias=model.alias, digest=model.digest)


# ---------------------------------------------------------------------------------------------------------------------
# Findings and suppressions


def finding(found: Finding) -> finding_pb2.Finding:
    """A finding."""
    return finding_pb2.Finding(
        name=f"findings/{found.id}",
        status=_number(found.status),
        threat_level=_number(found.threat_level),
        risk=round(found.risk * 100, 6),
        entity=found.entity,
        detectors=[found.evidence.detector],
        techniques=[technique(one) for one in found.evidence.techniques],
        peers=found.peers,
        port=found.port,
        summary=found.evidence.summary,
        evidence=[evidence(found.evidence)],
        flow_ids=found.flow_ids,
        first_seen_time=timestamp(found.first_seen_ns),
        last_seen_time=timestamp(found.last_seen_ns),
        create_time=timestamp(found.create_ns),
        update_time=timestamp(found.update_ns),
        count=found.count,
        analyst_verdict=_number(found.analyst_verdict),
        comment=found.comment,
        updated_by=found.updated_by,
        revision=found.revision,
        suppressions=[f"suppressions/{name}" for name in found.suppressions],
        sensor_ids=found.sensor_ids,
    )


def finding_filter(request: detection_pb2.ListFindingsRequest) -> FindingFilter:
    """Which findings a request wants."""
    return FindingFilter(
        min_threat_level=request.min_threat_level,
        statuses=tuple(FindingStatus(status) for status in request.statuses if status),
        detector=request.detector,
        entity=request.entity,
        seen_after_ns=nanoseconds(request.seen_after_time, "seen_after_time")
        if request.HasField("seen_after_time")
        else None,
    )


def finding_edit(request: detection_pb2.UpdateFindingRequest, by: str) -> FindingEdit:
    """What a request changes."""
    return FindingEdit(
        status=FindingStatus(request.status) if request.HasField("status") else None,
        analyst_verdict=AnalystVerdict(request.analyst_verdict) if request.HasField("analyst_verdict") else None,
        comment=request.comment if request.HasField("comment") else None,
        expected_revision=request.expected_revision,
        by=by,
    )


def suppression(
    message: finding_pb2.Suppression, *, tenant: str, by: str, now_ns: int, request_id: str = ""
) -> Suppression:
    """A suppression as it came; name, author and time are the service's."""
    known = blake2b(f"{tenant}\0{request_id}".encode(), digest_size=16).hexdigest()
    return Suppression(
        tenant=tenant,
        id=known if request_id else secrets.token_hex(16),
        detector=message.detector,
        entity_cidr=message.entity_cidr,
        peer_cidr=message.peer_cidr,
        port=message.port if message.HasField("port") else None,
        expire_ns=nanoseconds(message.expire_time, "suppression.expire_time"),
        reason=message.reason,
        created_by=by,
        create_ns=now_ns,
    )


def suppression_message(stored: Suppression) -> finding_pb2.Suppression:
    """A stored suppression."""
    return finding_pb2.Suppression(
        name=f"suppressions/{stored.id}",
        detector=stored.detector,
        entity_cidr=stored.entity_cidr,
        peer_cidr=stored.peer_cidr,
        port=stored.port,
        expire_time=timestamp(stored.expire_ns),
        reason=stored.reason,
        created_by=stored.created_by,
        create_time=timestamp(stored.create_ns),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Detectors, models, times


def detector(status: DetectorStatus) -> detection_pb2.Detector:
    """A detector and its state."""
    definition, usage = status.definition, status.usage
    return detection_pb2.Detector(
        name=definition.name,
        version=definition.version,
        description=definition.description,
        analytic_type=_number(definition.analytic_type),
        thresholds=[
            detection_pb2.Threshold(name=t.name, value=t.value, unit=t.unit, description=t.description)
            for t in definition.thresholds
        ],
        required_fields=definition.required_fields,
        techniques=[technique(one) for one in definition.techniques],
        state=detection_pb2.DetectorState(
            entries=usage.entries, capacity=usage.capacity, evictions=usage.evictions, bytes=usage.bytes
        ),
    )


def serving_model(model: ServingModel | None) -> detection_pb2.ServingModel | None:
    """A model in service, if there is one."""
    if model is None:
        return None
    duration = Duration()
    duration.FromNanoseconds(int(model.load_seconds * 1e9))
    return detection_pb2.ServingModel(
        model=model_ref(model.reference),
        since_time=timestamp(model.since_ns),
        generation=model.generation,
        feature_schema_hash=model.schema_hash,
        load_duration=duration,
    )


def _number(value: Any) -> Any:
    """The contract's enums have the domain's numbers."""
    return int(value)


def timestamp(nanos: int) -> Timestamp:
    """A time from nanoseconds since the epoch."""
    seconds, rest = divmod(nanos, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=rest)


def nanoseconds(time: Timestamp, field: str) -> int:
    """Nanoseconds since the epoch.

    Raises:
        InvalidArgumentError: they do not fit into 64 bits.
    """
    nanos = time.seconds * 1_000_000_000 + time.nanos
    if not -_INT64_MAX <= nanos <= _INT64_MAX:
        raise InvalidArgumentError.of(field, "expected a time from 1678 to 2262")
    return nanos
