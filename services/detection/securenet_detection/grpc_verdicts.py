"""Verdicts into the contract. What is said of thousands of rows a second is written as it is on the wire.

A message that is made of Python's objects costs a call a field, and a copy where it is put into another one. Here a
row's verdict is a string of bytes, most of which were put together before, and protobuf reads a whole batch at once.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from numpy.typing import NDArray

from securenet.detection.v1 import detection_pb2, verdict_pb2
from securenet_detection.grpc_flows import Columns
from securenet_detection.mixed_verdicts import Verdicts
from securenet_detection.models.interface import ModelReference
from securenet_detection.threats import Contribution, Evidence, Skipped, Technique, ThreatLevel

#: Detectors that the bits of a row's number can tell apart.
_MOST_DETECTORS: Final = 64

#: How a value stands on the wire where no length is before it: as a number that says its end itself, or in 8 bytes.
_LAYOUTS: Final = {
    FieldDescriptor.TYPE_UINT32: 0,
    FieldDescriptor.TYPE_ENUM: 0,
    FieldDescriptor.TYPE_BOOL: 0,
    FieldDescriptor.TYPE_DOUBLE: 1,
}
_WITH_LENGTH: Final = 2


def _tag(message: type[Message], name: str) -> bytes:
    """What stands before a value of a field; one byte, for all fields here have small numbers."""
    field: Any = message.DESCRIPTOR.fields_by_name[name]
    layout = _WITH_LENGTH if field.is_repeated else _LAYOUTS.get(field.type, _WITH_LENGTH)
    return bytes((field.number << 3 | layout,))


_LEVELS: Final = _tag(verdict_pb2.VerdictBatch, "threat_level")
_SCORES: Final = _tag(verdict_pb2.VerdictBatch, "score")
_CONTRIBUTED: Final = _tag(verdict_pb2.VerdictBatch, "contributed")
_DETAILS: Final = _tag(verdict_pb2.VerdictBatch, "details")
_ROW: Final = _tag(verdict_pb2.RowVerdict, "row")
_VERDICT: Final = _tag(verdict_pb2.RowVerdict, "verdict")
_FLOW_ID: Final = _tag(verdict_pb2.Verdict, "flow_id")
_THREAT_LEVEL: Final = _tag(verdict_pb2.Verdict, "threat_level")
_SCORE: Final = _tag(verdict_pb2.Verdict, "score")
_EVIDENCE: Final = _tag(verdict_pb2.Verdict, "evidence")
_OMITTED: Final = _tag(verdict_pb2.Verdict, "evidence_omitted") + b"\x01"
_SUMMARY: Final = _tag(verdict_pb2.Evidence, "summary")
_LEVEL: Final = _tag(verdict_pb2.Evidence, "level")
_CONFIDENCE: Final = _tag(verdict_pb2.Evidence, "confidence")
_MEASURED: Final = _tag(verdict_pb2.Evidence, "measured")
_THRESHOLD: Final = _tag(verdict_pb2.Evidence, "threshold")
_FLOW_IDS: Final = _tag(verdict_pb2.Evidence, "flow_ids")
_CONTRIBUTIONS: Final = _tag(verdict_pb2.Evidence, "contributions")
_FEATURE: Final = _tag(verdict_pb2.Contribution, "feature")
_VALUE: Final = _tag(verdict_pb2.Contribution, "value")
_BASELINE: Final = _tag(verdict_pb2.Contribution, "baseline")
_CONTRIBUTION: Final = _tag(verdict_pb2.Contribution, "contribution")

#: Level and score of a verdict; level, confidence, measure and threshold of evidence; the numbers of a contribution.
_VERDICT_NUMBERS: Final = struct.Struct("<cBcd")
_EVIDENCE_NUMBERS: Final = struct.Struct("<cBcdcdcd")
_CONTRIBUTION_NUMBERS: Final = struct.Struct("<cdcdcd")


def response(verdicts: Verdicts, row: int, *, details: bool = True) -> detection_pb2.AnalyzeResponse:
    """The answer with the full verdict of a row, or what is left of it without details."""
    message = detection_pb2.AnalyzeResponse()
    message.verdict.MergeFromString(_verdict(verdicts, row, details=details))
    return message


def evidence(piece: Evidence) -> verdict_pb2.Evidence:
    """A piece of evidence."""
    return verdict_pb2.Evidence.FromString(_evidence(piece))


def _verdict(verdicts: Verdicts, row: int, *, details: bool) -> bytes:
    omitted = verdicts.omitted_at(row) or (not details and verdicts.has_evidence(row))
    pieces = [
        _sized(_FLOW_ID, verdicts.flow_id(row).encode()),
        _VERDICT_NUMBERS.pack(_THREAT_LEVEL, verdicts.threat_level.item(row), _SCORE, verdicts.score.item(row)),
        _circumstances(verdicts.model_at(row), verdicts.skipped_at(row)),
    ]
    if details:
        pieces += [_sized(_EVIDENCE, _evidence(piece)) for piece in verdicts.evidence(row)]
    if omitted:
        pieces.append(_OMITTED)
    return b"".join(pieces)


@lru_cache(64)
def _circumstances(model: ModelReference | None, skipped: tuple[Skipped, ...]) -> bytes:
    """What the verdicts of most rows have in common."""
    return verdict_pb2.Verdict(model=model_ref(model), skipped=map(skipped_detector, skipped)).SerializeToString()


def _evidence(piece: Evidence) -> bytes:
    return b"".join((
        _constants(
            piece.id, piece.detector, piece.detector_version, piece.analytic_type, piece.techniques, piece.measure
        ),
        _EVIDENCE_NUMBERS.pack(
            _LEVEL, piece.level, _CONFIDENCE, piece.confidence, _MEASURED, piece.measured, _THRESHOLD, piece.threshold
        ),
        _sized(_SUMMARY, piece.summary.encode()),
        _flow_ids(piece.flow_ids),
        *map(_contribution, piece.contributions),
    ))  # fmt: skip


@lru_cache(1 << 12)
def _constants(  # noqa: PLR0917 - one call, from above
    finding: str, detector: str, version: str, analytic_type: int, techniques: tuple[Technique, ...], measure: str
) -> bytes:
    """What a detector says of every row of a finding alike."""
    message = verdict_pb2.Evidence(
        id=finding,
        detector=detector,
        detector_version=version,
        analytic_type=int(analytic_type),  # type: ignore[arg-type]  # the contract's enums have the domain's numbers
        techniques=map(technique, techniques),
        measure=measure,
    )
    return message.SerializeToString()


@lru_cache(1 << 9)
def _flow_ids(flow_ids: tuple[str, ...]) -> bytes:
    # Rows of one episode name the same flows.
    return b"".join(_sized(_FLOW_IDS, name.encode()) for name in flow_ids)


def _contribution(one: Contribution) -> bytes:
    # NaN stands for what is not known.
    return _named(one.feature) + _CONTRIBUTION_NUMBERS.pack(
        _VALUE, math.nan if one.value is None else one.value,
        _BASELINE, math.nan if one.baseline is None else one.baseline,
        _CONTRIBUTION, one.contribution,
    )  # fmt: skip


@lru_cache(1 << 9)
def _named(feature: str) -> bytes:
    """What a contribution begins with: its length, and the feature's name."""
    name = _sized(_FEATURE, feature.encode())
    return _CONTRIBUTIONS + _number(len(name) + _CONTRIBUTION_NUMBERS.size) + name


def _sized(tag: bytes, value: bytes) -> bytes:
    return tag + _number(len(value)) + value


@lru_cache(1 << 12)
def _number(value: int) -> bytes:
    """A number, seven bits a byte from the lowest on, as protobuf has it."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _numbers(values: NDArray[np.uint64]) -> bytes:
    """Numbers one after the other, all as long as the longest; who reads them takes those that could be shorter."""
    length = max(1, -(-int(values.max()).bit_length() // 7))
    found = (values[:, np.newaxis] >> (7 * np.arange(length, dtype=np.uint64)) & np.uint64(0x7F)).astype(np.uint8)
    found[:, :-1] |= 0x80
    return found.tobytes()


class VerdictPacker:
    """Puts the verdicts of a batch, piece by piece, into one message.

    Args:
        message: which; it is empty before.
        columns: the batch.
        detail_level: rows from this level on get a full verdict.
        details: False counts those rows instead.
    """

    def __init__(
        self, message: verdict_pb2.VerdictBatch, columns: Columns, detail_level: int, *, details: bool = True
    ) -> None:
        self._columns = columns
        self._details = details
        self._detail_level = ThreatLevel(detail_level or ThreatLevel.MEDIUM)
        self._levels = np.zeros(columns.total, np.uint8)
        self._scores = np.zeros(columns.total, np.float32)
        self._message = message
        self._message.errors.extend(
            verdict_pb2.RowError(row=e.row, field=e.field, reason=e.reason) for e in columns.errors
        )
        self._told: list[bytes] = []
        self._contributed = np.zeros(columns.total, np.uint64)
        self._detectors: dict[str, np.uint64] = {}
        self._pieces = 0

    def add(self, start: int, verdicts: Verdicts) -> None:
        """Adds the verdicts of the piece that begins at a position among the good rows."""
        rows = self._columns.rows
        end = start + len(verdicts)
        at = slice(start, end) if rows is None else rows[start:end]
        self._levels[at] = verdicts.threat_level
        self._scores[at] = verdicts.score
        contributed = np.zeros(len(verdicts), np.uint64)
        for name, found in verdicts.contributions().items():
            bit = self._detectors.setdefault(name, np.uint64(1 << min(len(self._detectors), _MOST_DETECTORS - 1)))
            contributed[found] |= bit
        self._contributed[at] = contributed
        detailed = verdicts.rows_at_or_above(self._detail_level)
        if self._details:
            self._told += [
                _row(start + row if rows is None else rows.item(start + row), _verdict(verdicts, row, details=True))
                for row in detailed
            ]
        else:
            self._message.details_omitted += len(detailed)
        self._skip(verdicts.skipped)
        reference = model_ref(verdicts.model)
        if reference is not None:
            self._message.model.CopyFrom(reference)
        self._pieces += 1

    def _skip(self, skipped: Iterable[Skipped]) -> None:
        if self._pieces == 0:
            self._message.skipped.extend(map(skipped_detector, skipped))
        else:
            # A detector was skipped in the batch if it was in every piece.
            names = {one.detector for one in skipped}
            kept = [one for one in self._message.skipped if one.detector in names]
            del self._message.skipped[:]
            self._message.skipped.extend(kept)

    def finish(self) -> None:
        """Ends the message."""
        # A level is one byte on the wire as well.
        pieces = [_sized(_LEVELS, self._levels.tobytes()), _sized(_SCORES, self._scores.astype("<f4").tobytes())]
        if self._detectors:
            self._message.detectors.extend(self._detectors)
            pieces.append(_sized(_CONTRIBUTED, _numbers(self._contributed)))
        self._message.MergeFromString(b"".join((*pieces, *self._told)))


def _row(row: int, verdict: bytes) -> bytes:
    return _sized(_DETAILS, _ROW + _number(row) + _sized(_VERDICT, verdict))


@lru_cache(1 << 12)
def technique(one: Technique) -> verdict_pb2.AttackTechnique:
    """An ATT&CK technique; the one message of it, to be copied and not changed."""
    return verdict_pb2.AttackTechnique(id=one.id, name=one.name, tactic=one.tactic)


@lru_cache(64)
def skipped_detector(one: Skipped) -> verdict_pb2.SkippedDetector:
    """A detector that could not judge; the one message of it, to be copied and not changed."""
    return verdict_pb2.SkippedDetector(detector=one.detector, reason=one.reason)


@lru_cache(64)
def model_ref(model: ModelReference | None) -> verdict_pb2.ModelRef | None:
    """The model version that scored, if one did; the one message of it, to be copied and not changed."""
    return None if model is None else verdict_pb2.ModelRef(name=model.name, alias=model.alias, digest=model.digest)
