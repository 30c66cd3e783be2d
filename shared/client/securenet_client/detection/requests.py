"""Requests of the detection service from plain values, the same for both clients."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from securenet.detection.v1 import detection_pb2 as pb
from securenet.detection.v1 import finding_pb2
from securenet_client.detection.records import ThreatLevel
from securenet_client.messages import enum_number, to_timestamp
from securenet_core.exceptions import InvalidArgumentError

_STATUS = finding_pb2.DESCRIPTOR.enum_types_by_name["FindingStatus"]
_VERDICT = finding_pb2.DESCRIPTOR.enum_types_by_name["AnalystVerdict"]


def name(collection: str, given: str) -> str:
    """The resource name of an id; a resource name stays as it is."""
    return given if given.startswith(f"{collection}/") else f"{collection}/{given}"


def list_findings(
    *,
    level: ThreatLevel,
    statuses: Sequence[str],
    detector: str,
    entity: str,
    seen_after: datetime | None,
    page_size: int,
) -> pb.ListFindingsRequest:
    """A first page."""
    request = pb.ListFindingsRequest(page_size=page_size, detector=detector, entity=entity)
    request.min_threat_level = int(level)  # type: ignore[assignment]  # an enum's number
    request.statuses.extend(_number("status", _STATUS, status) for status in statuses)
    if seen_after is not None:
        request.seen_after_time.CopyFrom(to_timestamp(seen_after))
    return request


def watch_findings(level: ThreatLevel, resume_token: str, *, include_existing: bool) -> pb.WatchFindingsRequest:
    """Where to watch from."""
    request = pb.WatchFindingsRequest(resume_token=resume_token, include_existing=include_existing)
    request.min_threat_level = int(level)  # type: ignore[assignment]  # an enum's number
    return request


def update_finding(
    finding: str, status: str | None, analyst_verdict: str | None, comment: str | None, expected_revision: int
) -> pb.UpdateFindingRequest:
    """What to change."""
    request = pb.UpdateFindingRequest(name=name("findings", finding), expected_revision=expected_revision)
    if status is not None:
        request.status = _number("status", _STATUS, status)
    if analyst_verdict is not None:
        request.analyst_verdict = _number("analyst_verdict", _VERDICT, analyst_verdict)
    if comment is not None:
        request.comment = comment
    return request


def suppression(
    *, expires: datetime, reason: str, detector: str, entity_cidr: str, peer_cidr: str, port: int | None
) -> finding_pb2.Suppression:
    """What to hold back."""
    wanted = finding_pb2.Suppression(
        detector=detector,
        entity_cidr=entity_cidr,
        peer_cidr=peer_cidr,
        reason=reason,
        expire_time=to_timestamp(expires),
    )
    if port is not None:
        wanted.port = port
    return wanted


def _number(field: str, kind: Any, text: str) -> Any:
    try:
        return enum_number(kind, text)
    except ValueError as error:
        raise InvalidArgumentError.of(field, str(error)) from error
