"""Messages become records, and records plain values."""

from __future__ import annotations

import dataclasses
import inspect
from datetime import UTC, datetime
from typing import Any

import pytest

from securenet.detection.v1 import detection_pb2, finding_pb2, verdict_pb2
from securenet.registry.v1 import model_pb2, registry_pb2, training_pb2
from securenet.scanner.v1 import scan_pb2, scanner_pb2, vulnerability_pb2
from securenet_client.detection import records as detection
from securenet_client.messages import enum_number, plain, read, to_datetime, to_duration, to_seconds, to_timestamp
from securenet_client.registry import records as registry
from securenet_client.scanner import records as scanner

pytestmark = pytest.mark.unit

_OTHER_NAMES = {
    "FindingChange": detection_pb2.WatchFindingsResponse,
    "ModelServing": detection_pb2.GetServingModelResponse,
    "PackageMatches": scanner_pb2.MatchPackagesResponse,
    "KnowledgeProgress": scanner_pb2.UpdateKnowledgeResponse,
    "ScanEvent": scanner_pb2.WatchScanResponse,
    "AuditVerification": registry_pb2.VerifyAuditResponse,
    "Convergence": registry_pb2.GetConvergenceResponse,
    "ModelComparison": registry_pb2.CompareModelVersionsResponse,
    "ModelUpdate": registry_pb2.WatchModelResponse,
}


@dataclasses.dataclass(frozen=True)
class Wrong:
    """A record that fits no message."""

    nothing: str


#: Records that are sent, or that are made of something else than one message.
_NOT_READ = {"Flow"}


def _messages() -> list[tuple[Any, Any]]:
    pairs: list[tuple[Any, Any]] = []
    for records, modules in (
        (detection, (detection_pb2, finding_pb2, verdict_pb2)),
        (scanner, (scan_pb2, scanner_pb2, vulnerability_pb2)),
        (registry, (model_pb2, registry_pb2, training_pb2)),
    ):
        for name, record in inspect.getmembers(records, dataclasses.is_dataclass):
            if name not in _NOT_READ:
                message = _OTHER_NAMES.get(name) or next(getattr(m, name) for m in modules if hasattr(m, name))
                pairs.append((record, message))
    return pairs


@pytest.mark.parametrize(("record", "message"), _messages(), ids=lambda pair: getattr(pair, "__name__", ""))
def test_every_record_can_be_read_of_its_message(record: Any, message: Any) -> None:
    empty = read(record, message())

    assert dataclasses.is_dataclass(empty)
    plain(empty)


def test_absent_is_none_and_zero_is_zero() -> None:
    absent = read(scanner.Vulnerability, vulnerability_pb2.Vulnerability(id="A"))
    zero = read(scanner.Vulnerability, vulnerability_pb2.Vulnerability(id="A", epss=0.0))

    assert absent.epss is None
    assert zero.epss == 0.0


def test_nested_messages_enums_and_times() -> None:
    message = finding_pb2.Finding(
        name="findings/f1",
        status=finding_pb2.FINDING_STATUS_IN_PROGRESS,
        threat_level=verdict_pb2.THREAT_LEVEL_HIGH,
        techniques=[verdict_pb2.AttackTechnique(id="T1046", name="Network Service Discovery", tactic="Discovery")],
        port=0,
    )
    message.first_seen_time.FromNanoseconds(1_700_000_000_123_456_789)

    finding = read(detection.Finding, message)

    assert finding.id == "f1"
    assert finding.status == "in-progress"
    assert finding.threat_level is detection.ThreatLevel.HIGH
    assert finding.techniques[0].id == "T1046"
    assert finding.port == 0
    assert finding.first_seen_time == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    assert finding.last_seen_time is None
    assert finding.as_dict()["first_seen"] == "2023-11-14T22:13:20.123456Z"
    assert finding.as_dict()["techniques"] == ["T1046"]


def test_maps_become_dicts() -> None:
    version = read(registry.ModelVersion, model_pb2.ModelVersion(name="models/m/versions/3", params={"a": "1"}))

    assert version.params == {"a": "1"}
    assert version.model == "m"


def test_times_and_durations_there_and_back() -> None:
    time = datetime(2025, 3, 3, 8, 0, 0, 250, tzinfo=UTC)

    assert to_datetime(to_timestamp(time)) == time
    assert to_seconds(to_duration(1.5)) == 1.5


def test_an_unknown_enum_name_lists_the_known_ones() -> None:
    kind = finding_pb2.DESCRIPTOR.enum_types_by_name["FindingStatus"]

    assert enum_number(kind, "resolved") == finding_pb2.FINDING_STATUS_RESOLVED
    with pytest.raises(ValueError, match="new, in-progress, suppressed, resolved"):
        enum_number(kind, "done")


def test_a_record_with_a_field_that_the_message_lacks_is_a_mistake() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.nothing"):
        read(Wrong, verdict_pb2.Evidence())
