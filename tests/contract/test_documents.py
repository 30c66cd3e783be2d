"""What the documents list is what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from securenet_detection.behaviours.catalogue import behaviours
from securenet_detection.detector_settings import DetectorSettings

pytestmark = pytest.mark.unit

DETECTION = Path(__file__).resolve().parents[2] / "docs" / "detection.md"


def test_every_detector_is_documented_with_its_techniques() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in DETECTION.read_text().splitlines()]
    documented = {row[0].strip("`"): row[-1] for row in rows if len(row) == 3 and row[0].startswith("`")}
    definitions = {each.definition.name: each.definition for each in behaviours(DetectorSettings())}
    assert set(documented) == {*definitions, "model", "anomaly"}
    for name, definition in definitions.items():
        if definition.techniques:
            assert documented[name] == ", ".join(technique.id for technique in definition.techniques)
