"""Findings, detectors and models into the contract, and requests about them out of it.

Flows, which are most of what comes in, have :mod:`securenet_detection.grpc_flows` to themselves, and verdicts, which
are most of what goes out, :mod:`securenet_detection.grpc_verdicts`.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from securenet.detection.v1 import detection_pb2, finding_pb2
from securenet_core.exceptions import InvalidArgumentError
from securenet_detection.engine import DetectorStatus
from securenet_detection.findings.finding import AnalystVerdict, Finding, FindingStatus, Suppression
from securenet_detection.findings.history import FindingEvent, Label
from securenet_detection.findings.interface import FindingFilter
from securenet_detection.findings.ledger import FindingEdit
from securenet_detection.grpc_flows import flow_record
from securenet_detection.grpc_verdicts import evidence, model_ref, technique
from securenet_detection.models.drift import DriftReport
from securenet_detection.models.serving import ServingModel

_INT64_MAX: Final = 2**63 - 1


def finding(found: Finding) -> finding_pb2.Finding:
    """A finding."""
    return finding_pb2.Finding(
        name=f"findings/{found.id}",
        status=_number(found.status),
        threat_level=_number(found.threat_level),
        risk=round(found.risk * found.fading * 100, 6),
        peak_risk=round(found.risk * 100, 6),
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
        state_scope=found.state_scope,
    )


def finding_event(entry: FindingEvent) -> finding_pb2.FindingEvent:
    """An entry of a finding's history."""
    return finding_pb2.FindingEvent(
        event_time=timestamp(entry.time_ns),
        action=_number(entry.action),
        actor=entry.actor,
        status_before=_number(entry.status_before),
        status_after=_number(entry.status_after),
        analyst_verdict_before=_number(entry.verdict_before),
        analyst_verdict_after=_number(entry.verdict_after),
        comment=entry.comment,
        revision=entry.revision,
    )


def labeled_flows(label: Label) -> list[finding_pb2.LabeledFlow]:
    """The flows of a label."""
    return [
        finding_pb2.LabeledFlow(
            flow=flow_record(flow),
            analyst_verdict=_number(label.verdict),
            finding=f"findings/{label.finding_id}",
            detector=label.detector,
            techniques=[technique(one) for one in label.techniques],
            labeled_by=label.labeled_by,
            label_time=timestamp(label.label_ns),
        )
        for flow in label.flows
    ]


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


def serving_model(model: ServingModel | None, drift: DriftReport | None) -> detection_pb2.ServingModel | None:
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
        limitations=model.limitations,
        drift=None if drift is None else _model_drift(drift),
    )


def _model_drift(drift: DriftReport) -> detection_pb2.ModelDrift:
    return detection_pb2.ModelDrift(
        day_start_time=timestamp(drift.day_ns),
        sampled_rows=drift.rows,
        features=[detection_pb2.FeatureDrift(feature=name, stability_index=index) for name, index in drift.indices],
        alert_rate=drift.alert_rate,
        signals=[str(signal) for signal in drift.signals],
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
