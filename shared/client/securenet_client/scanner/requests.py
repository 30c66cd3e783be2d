"""Requests of the scanner from plain values, the same for both clients."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from securenet.scanner.v1 import scan_pb2
from securenet.scanner.v1 import scanner_pb2 as pb
from securenet_client.messages import enum_number, to_duration, to_timestamp
from securenet_core.exceptions import InvalidArgumentError

_PROFILE = scan_pb2.DESCRIPTOR.enum_types_by_name["PortProfile"]


def name(collection: str, given: str) -> str:
    """The resource name of an id; a resource name stays as it is."""
    return given if given.startswith(f"{collection}/") else f"{collection}/{given}"


def start_scan(
    targets: Sequence[str],
    *,
    ports: str,
    max_rate: int,
    probe_timeout: float | None,
    retries: int | None,
    skip_banners: bool,
    description: str,
    request_id: str,
    validate_only: bool,
) -> pb.StartScanRequest:
    """What to scan. `ports` are numbers and ranges, or the name of a profile.

    Raises:
        InvalidArgumentError: neither.
    """
    spec = scan_pb2.ScanSpec(
        targets=targets, max_rate=max_rate, retries=retries, skip_banners=skip_banners, description=description
    )
    if ports[:1].isdigit():
        spec.ports = ports
    elif ports:
        try:
            spec.profile = enum_number(_PROFILE, ports)  # type: ignore[assignment]  # an enum's number
        except ValueError as error:
            raise InvalidArgumentError.of("ports", f"{error}, or numbers and ranges such as 22,80,8000-8100") from error
    if probe_timeout is not None:
        spec.probe_timeout.CopyFrom(to_duration(probe_timeout))
    return pb.StartScanRequest(spec=spec, request_id=request_id, validate_only=validate_only)


def create_scope(
    cidrs: Sequence[str], authorized_by: str, reason: str, expires: datetime, request_id: str
) -> pb.CreateScopeRequest:
    """Which networks may be scanned."""
    scope = scan_pb2.Scope(cidrs=cidrs, authorized_by=authorized_by, reason=reason, expire_time=to_timestamp(expires))
    return pb.CreateScopeRequest(scope=scope, request_id=request_id)
