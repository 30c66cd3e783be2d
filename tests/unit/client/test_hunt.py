"""What many findings say of one entity, and who comes first."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_client.cli.hunt import rank

pytestmark = pytest.mark.unit


def finding(entity: str, level: str = "low", risk: float = 10.0, **fields: Any) -> dict[str, Any]:
    return {
        "entity": entity, "threat_level": level, "risk": risk, "detectors": ["beacon"], "techniques": ["T1071"],
        "count": 3, "capture": "one", "first_seen": "2026-01-02T00:00:00Z", "last_seen": "2026-01-02T01:00:00Z",
        **fields,
    }  # fmt: skip


def test_findings_of_one_entity_are_put_together() -> None:
    (record,) = rank(
        [
            finding("10.0.0.1", "medium", 45.0, detectors=["dga"], techniques=["T1568.002"], capture="two"),
            finding("10.0.0.1", "high", 71.5, first_seen="2026-01-01T00:00:00Z"),
            finding("10.0.0.1", "low", 3.0, first_seen=None, last_seen=None, count=1),
        ]
    )
    assert record == {
        "entity": "10.0.0.1", "threat_level": "high", "risk": 71.5, "detectors": ["beacon", "dga"],
        "techniques": ["T1071", "T1568.002"], "findings": 3, "flows": 7, "captures": ["one", "two"],
        "first_seen": "2026-01-01T00:00:00Z", "last_seen": "2026-01-02T01:00:00Z",
    }  # fmt: skip


def test_the_gravest_come_first_and_ties_have_an_order() -> None:
    ranked = rank(
        [
            finding("10.0.0.4", "medium", 69.0),
            finding("10.0.0.3", "high", 70.0),
            finding("10.0.0.2", "high", 70.0),
            finding("10.0.0.1", "high", 70.0, detectors=["beacon", "dga"]),
            finding("10.0.0.5", "high", 88.0),
        ]
    )
    assert [record["entity"].rpartition(".")[2] for record in ranked] == ["5", "1", "2", "3", "4"]


def test_nothing_is_nobody() -> None:
    assert rank([]) == []
