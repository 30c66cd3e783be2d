"""Findings as OCSF events, against what the schema requires.

The tables below are the schema's own words, class detection_finding (uid 4 of category 2) and the objects that it uses,
OCSF 1.1 to 1.3: https://schema.ocsf.io/1.3.0/classes/detection_finding.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from securenet_client.detection.ocsf import detection_finding
from securenet_client.detection.records import AttackTechnique, Evidence, Finding, ThreatLevel

pytestmark = pytest.mark.unit

REQUIRED = {
    "": {
        "activity_id", "category_uid", "class_uid", "finding_info", "metadata", "severity_id", "time", "type_uid",
    },
    "finding_info": {"uid", "title"},
    "finding_info.analytic": {"type_id"},
    "metadata": {"product", "version"},
    "metadata.product": {"name", "vendor_name"},
}  # fmt: skip
ENUMS = {
    "activity_id": {0, 1, 2, 3, 99},
    "severity_id": {0, 1, 2, 3, 4, 5, 6, 99},
    "status_id": {0, 1, 2, 3, 4, 5, 6, 99},
    "risk_level_id": {0, 1, 2, 3, 4, 99},
}
TYPES: dict[str, type | tuple[type, ...]] = {
    "time": int, "start_time": int, "end_time": int, "count": int, "risk_score": int, "confidence_score": int,
    "message": str, "severity": str, "status": str, "comment": str, "is_alert": bool, "evidences": list,
    "unmapped": dict,
}  # fmt: skip
#: evidences: at least one of these must be there.
EVIDENCE = {"src_endpoint", "dst_endpoint", "data", "device", "query", "url", "process", "file", "user", "actor"}

EVIDENCE_RECORD = Evidence(
    "f1", "brute-force", "1", "behavioral", ThreatLevel.HIGH, 0.95, "60 attempts", 60.0, 30.0, (),
    (AttackTechnique("T1110.001", "Brute Force: Password Guessing", "Credential Access"),), ("C1", "C2"), "attempts",
)  # fmt: skip
FINDING = Finding(
    "findings/f1", "new", ThreatLevel.HIGH, 35.5, "10.0.0.5", ("brute-force",), EVIDENCE_RECORD.techniques,
    ("192.0.2.1", "192.0.2.0/24"), 22, "60 attempts", (EVIDENCE_RECORD,), ("C1", "C2"),
    datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 2, 1, tzinfo=UTC), 60, "unspecified", "", "", 1, (), ("s1",), "", 71.0,
)  # fmt: skip

BARE = replace(
    FINDING, evidence=(), techniques=(), peers=(), port=None, flow_ids=(), detectors=(), first_seen_time=None,
    last_seen_time=None, sensor_ids=(), count=0, threat_level=ThreatLevel.UNSPECIFIED, status="unspecified",
)  # fmt: skip


def at(event: Any, path: str) -> Any:
    for part in path.split(".") if path else ():
        event = event.get(part, {})
    return event


@pytest.mark.parametrize("finding", [FINDING, BARE, replace(FINDING, status="resolved", revision=4, comment="ours")])
def test_an_event_has_what_the_schema_requires(finding: Finding) -> None:
    event = json.loads(json.dumps(detection_finding(finding), allow_nan=False))
    for path, names in REQUIRED.items():
        if path == "finding_info.analytic" and not finding.evidence:
            continue
        assert names <= set(at(event, path)), path
    assert (event["class_uid"], event["category_uid"]) == (2004, 2)
    assert event["type_uid"] == 200_400 + event["activity_id"]
    for name, allowed in ENUMS.items():
        assert event.get(name, 0) in allowed, name
    for name, kind in TYPES.items():
        assert isinstance(event.get(name, kind()), kind), name  # type: ignore[operator]  # each is one type
    for evidence in event["evidences"]:
        assert EVIDENCE & set(evidence)
    assert "null" not in json.dumps(event)


def test_what_it_says() -> None:
    event = detection_finding(FINDING)
    assert (event["activity_name"], event["severity_id"], event["status_id"]) == ("Create", 4, 1)
    assert event["time"] == 1_767_315_600_000
    assert (event["risk_score"], event["unmapped"]["peak_risk"]) == (36, 71.0)
    assert event["finding_info"]["attacks"] == [
        {
            "tactic": {"name": "Credential Access"},
            "technique": {"uid": "T1110"},
            "sub_technique": {"uid": "T1110.001", "name": "Brute Force: Password Guessing"},
        }
    ]
    assert event["finding_info"]["analytic"]["type_id"] == 2
    assert event["evidences"][0]["src_endpoint"] == {"ip": "10.0.0.5"}
    assert event["evidences"][1:] == [{"dst_endpoint": {"ip": "192.0.2.1", "port": 22}}]


@pytest.mark.parametrize(
    ("changes", "activity"),
    [({}, 1), ({"revision": 2}, 2), ({"status": "resolved"}, 3), ({"status": "resolved", "revision": 9}, 3)],
)
def test_the_activity_follows_the_life_of_a_finding(changes: Any, activity: int) -> None:
    assert detection_finding(replace(FINDING, **changes))["activity_id"] == activity


@pytest.mark.parametrize(("verdict", "number"), [("false-positive", 1), ("true-positive", 2), ("benign", 5)])
def test_the_analyst_s_verdict_is_the_evidence_s(verdict: str, number: int) -> None:
    event = detection_finding(replace(FINDING, analyst_verdict=verdict))
    assert event["evidences"][0]["verdict_id"] == number
