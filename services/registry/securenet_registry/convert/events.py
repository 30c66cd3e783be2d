"""What watchers are told, what consumers say that they serve, and the audit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from securenet.registry.v1 import model_pb2, registry_pb2
from securenet_core.exceptions import InvalidArgumentError
from securenet_core.pagination import decode_page_token, encode_page_token, page_size
from securenet_registry.audit import AuditVerdict
from securenet_registry.convert.models import alias_message, model_message
from securenet_registry.convert.parts import duration, number, timestamp
from securenet_registry.model import (
    AuditEntry,
    DriftSignal,
    ModelEvent,
    ServingReport,
    parse_model,
)
from securenet_registry.serving_reports import Convergence
from securenet_registry.watching import Heartbeat, Snapshot, Update

#: Signals of one report.
_MOST_SIGNALS: Final = 64


def watch_response(update: Update) -> registry_pb2.WatchModelResponse:
    """The next thing to know."""
    match update:
        case Snapshot(revision, model):
            snapshot = registry_pb2.ModelSnapshot(model=model_message(model) if model else None)
            return registry_pb2.WatchModelResponse(revision=revision, snapshot=snapshot)
        case Heartbeat(revision, time_ns):
            heartbeat = registry_pb2.Heartbeat(time=timestamp(time_ns))
            return registry_pb2.WatchModelResponse(revision=revision, heartbeat=heartbeat)
    return registry_pb2.WatchModelResponse(revision=update.revision, event=_event(update))


def _event(event: ModelEvent) -> model_pb2.ModelEvent:
    return model_pb2.ModelEvent(
        revision=event.revision,
        model=f"models/{event.model}",
        kind=event.kind.value,
        alias=alias_message(event.alias) if event.alias else None,
        version=event.version,
        create_time=timestamp(event.create_ns),
    )


def serving_report(message: model_pb2.ServingReport) -> ServingReport:
    """What a consumer says.

    Raises:
        InvalidArgumentError: a name is missing or too long.
    """
    if not 1 <= len(message.consumer) <= 128:
        raise InvalidArgumentError.of("report.consumer", f"{len(message.consumer)} characters; expected 1 to 128")
    if message.alias not in {"", "champion", "challenger"}:
        raise InvalidArgumentError.of("report.alias", f"got {message.alias[:64]!r}; expected champion or challenger")
    if message.state not in {model_pb2.SERVING_STATE_LOADED, model_pb2.SERVING_STATE_FAILED}:
        raise InvalidArgumentError.of("report.state", "expected LOADED or FAILED")
    if message.generation >= 1 << 63:
        raise InvalidArgumentError.of("report.generation", f"got {message.generation}; no alias has come so far")
    return ServingReport(
        consumer=message.consumer,
        model=parse_model(message.model, "report.model"),
        alias=message.alias or "champion",
        generation=message.generation,
        version=message.version,
        loaded=message.state == model_pb2.SERVING_STATE_LOADED,
        detail=message.detail[:4096],
        report_ns=0,
    )


def drift_signals(message: model_pb2.ServingReport) -> tuple[DriftSignal, ...]:
    """What a consumer says that has drifted.

    Raises:
        InvalidArgumentError: too much, or no such thing.
    """
    if len(message.drift) > _MOST_SIGNALS:
        raise InvalidArgumentError.of("report.drift", f"{len(message.drift)} signals; expected at most {_MOST_SIGNALS}")
    return tuple(_drift_signal(signal) for signal in message.drift)


def _drift_signal(message: model_pb2.DriftSignal) -> DriftSignal:
    if message.kind not in {"feature", "alert-rate"} or len(message.feature) > 128:
        raise InvalidArgumentError.of("report.drift", f"kind {message.kind[:64]!r}; expected feature or alert-rate")
    if not (math.isfinite(message.measured) and math.isfinite(message.limit)):
        raise InvalidArgumentError.of("report.drift", "measured and limit; expected finite numbers")
    return DriftSignal(
        message.kind, message.feature, message.measured, message.limit, message.signal_time.ToNanoseconds()
    )


def convergence_response(convergence: Convergence) -> registry_pb2.GetConvergenceResponse:
    """Who follows."""
    return registry_pb2.GetConvergenceResponse(
        generation=convergence.generation,
        converged=convergence.converged,
        reports=[
            model_pb2.ServingReport(
                consumer=report.consumer,
                model=f"models/{report.model}",
                alias=report.alias,
                generation=report.generation,
                version=report.version,
                state=model_pb2.SERVING_STATE_LOADED if report.loaded else model_pb2.SERVING_STATE_FAILED,
                detail=report.detail,
                report_time=timestamp(report.report_ns),
            )
            for report in convergence.reports
        ],
    )


def interval(seconds: float) -> registry_pb2.ReportServingResponse:
    """When to report again."""
    return registry_pb2.ReportServingResponse(report_interval=duration(seconds))


def audit_page(request: registry_pb2.ListAuditEventsRequest) -> tuple[int, int]:
    """The number below which the page begins (0: the latest), and how many entries to read."""
    position = decode_page_token(request.page_token, [request.resource])
    return (number(position[0]) if position else 0), page_size(request.page_size) + 1


def audit_response(entries: Sequence[AuditEntry], limit: int, resource: str) -> registry_pb2.ListAuditEventsResponse:
    """A page of entries."""
    page = entries[: limit - 1]
    token = encode_page_token([page[-1].sequence], [resource]) if len(entries) == limit else ""
    messages = [
        model_pb2.AuditEvent(
            sequence=entry.sequence,
            create_time=timestamp(entry.create_ns),
            actor=entry.actor,
            action=entry.action,
            resource=entry.resource,
            detail=entry.detail,
            previous_hash=entry.previous_hash,
            hash=entry.hash,
        )
        for entry in page
    ]
    return registry_pb2.ListAuditEventsResponse(audit_events=messages, next_page_token=token)


def verdict_response(verdict: AuditVerdict) -> registry_pb2.VerifyAuditResponse:
    """Whether the chain holds."""
    return registry_pb2.VerifyAuditResponse(
        valid=not verdict.first_invalid,
        entries=verdict.entries,
        first_invalid_sequence=verdict.first_invalid,
        detail=verdict.detail,
        head_hash=verdict.head_hash,
    )
