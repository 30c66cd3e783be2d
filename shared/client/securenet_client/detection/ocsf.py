"""Findings as OCSF Detection Finding events.

Source: Open Cybersecurity Schema Framework 1.3.0, class Detection Finding (class_uid 2004) of category Findings
(category_uid 2), with the objects finding_info, analytic, attack, evidences and metadata; https://schema.ocsf.io.
Times are milliseconds since the epoch. An event tells how the finding stands: its activity is Create at the first
revision, Close once it is resolved, Update otherwise, and its time is that of the latest change.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from securenet_client.detection.records import AttackTechnique, Evidence, Finding, ThreatLevel

VERSION: Final = "1.3.0"
CLASS_UID: Final = 2004
CATEGORY_UID: Final = 2

_SEVERITIES: Final[Mapping[int, tuple[int, str]]] = {
    ThreatLevel.UNSPECIFIED: (0, "Unknown"),
    ThreatLevel.LOW: (2, "Low"),
    ThreatLevel.MEDIUM: (3, "Medium"),
    ThreatLevel.HIGH: (4, "High"),
    ThreatLevel.CRITICAL: (5, "Critical"),
}
_STATUSES: Final[Mapping[str, tuple[int, str]]] = {
    "new": (1, "New"),
    "in-progress": (2, "In Progress"),
    "suppressed": (3, "Suppressed"),
    "resolved": (4, "Resolved"),
}
_ANALYTICS: Final[Mapping[str, tuple[int, str]]] = {
    "rule": (1, "Rule"),
    "behavioral": (2, "Behavioral"),
    "statistical": (3, "Statistical"),
    "model": (4, "Learning (ML/DL)"),
}
_VERDICTS: Final[Mapping[str, tuple[int, str]]] = {
    "false-positive": (1, "False Positive"),
    "true-positive": (2, "True Positive"),
    "benign": (5, "Benign"),
}
_UNKNOWN: Final = (0, "Unknown")


def detection_finding(finding: Finding) -> dict[str, Any]:
    """The event of a finding, without what it has no value for."""
    activity_id, activity = (3, "Close") if finding.status == "resolved" else (2, "Update")
    if finding.revision <= 1 and activity_id != 3:
        activity_id, activity = 1, "Create"
    severity_id, severity = _SEVERITIES.get(int(finding.threat_level), _UNKNOWN)
    status_id, status = _STATUSES.get(finding.status, _UNKNOWN)
    best = finding.evidence[0] if finding.evidence else None
    event = {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": CATEGORY_UID,
        "category_name": "Findings",
        "class_uid": CLASS_UID,
        "class_name": "Detection Finding",
        "type_uid": CLASS_UID * 100 + activity_id,
        "type_name": f"Detection Finding: {activity}",
        "time": _milliseconds(finding.update_time) or _milliseconds(finding.create_time) or 0,
        "start_time": _milliseconds(finding.first_seen_time),
        "end_time": _milliseconds(finding.last_seen_time),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "count": max(finding.count, 1),
        "message": finding.summary,
        "comment": finding.comment or None,
        "confidence_score": None if best is None else round(best.confidence * 100),
        "risk_score": round(finding.risk),
        "risk_level_id": severity_id - 1 if severity_id else None,
        "risk_level": severity if severity_id else None,
        "is_alert": status_id in (1, 2) and finding.threat_level >= ThreatLevel.MEDIUM,
        "finding_info": _finding_info(finding, best),
        "evidences": _evidences(finding),
        "metadata": {
            "version": VERSION,
            "product": {"name": "SecureNet", "vendor_name": "SecureNet", "feature": {"name": "detection"}},
            "uid": f"{finding.id}:{finding.revision}",
            "labels": [f"sensor:{sensor}" for sensor in finding.sensor_ids] or None,
        },
        "unmapped": {
            "peak_risk": finding.peak_risk,
            "port": finding.port,
            "state_scope": finding.state_scope or None,
            "suppressions": list(finding.suppressions) or None,
            "updated_by": finding.updated_by or None,
        },
    }
    kept: dict[str, Any] = _without_none(event)
    return kept


def _finding_info(finding: Finding, best: Evidence | None) -> dict[str, Any]:
    detectors = ", ".join(finding.detectors) or "detection"
    return {
        "uid": finding.id,
        "title": f"{detectors}: {finding.entity}",
        "desc": finding.summary,
        "types": list(finding.detectors),
        "created_time": _milliseconds(finding.create_time),
        "modified_time": _milliseconds(finding.update_time),
        "first_seen_time": _milliseconds(finding.first_seen_time),
        "last_seen_time": _milliseconds(finding.last_seen_time),
        "analytic": None if best is None else _analytic(best),
        "attacks": [_attack(technique) for technique in finding.techniques] or None,
        "related_events": [{"uid": flow_id, "type": "Network Activity"} for flow_id in finding.flow_ids] or None,
    }


def _analytic(evidence: Evidence) -> dict[str, Any]:
    type_id, kind = _ANALYTICS.get(evidence.analytic_type, _UNKNOWN)
    return {
        "name": evidence.detector,
        "uid": evidence.detector,
        "version": evidence.detector_version,
        "type_id": type_id,
        "type": kind,
    }


def _attack(technique: AttackTechnique) -> dict[str, Any]:
    """An ATT&CK technique; a sub-technique stands beside the technique that it is of."""
    parent, _, sub = technique.id.partition(".")
    named = {"uid": technique.id, "name": technique.name}
    return {
        "tactic": {"name": technique.tactic},
        **({"technique": {"uid": parent}, "sub_technique": named} if sub else {"technique": named}),
    }


def _evidences(finding: Finding) -> list[dict[str, Any]]:
    verdict_id, verdict = _VERDICTS.get(finding.analyst_verdict, _UNKNOWN)
    first: dict[str, Any] = {
        "src_endpoint": {"ip": finding.entity},
        "verdict_id": verdict_id,
        "verdict": verdict,
        "data": [
            {
                "detector": evidence.detector,
                "measure": evidence.measure,
                "measured": evidence.measured,
                "threshold": evidence.threshold,
                "summary": evidence.summary,
            }
            for evidence in finding.evidence
        ],
    }
    peers = [peer for peer in finding.peers if "/" not in peer]
    return [first, *({"dst_endpoint": {"ip": peer, "port": finding.port}} for peer in peers)]


def _milliseconds(time: datetime | None) -> int | None:
    return None if time is None else round(time.timestamp() * 1000)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_none(part) for part in value]
    return value
