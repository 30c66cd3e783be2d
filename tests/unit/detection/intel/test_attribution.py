"""The technique that a feed gives an indicator is the technique of the evidence."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.engine import Engine
from securenet_detection.intel.index import IntelIndex

pytestmark = pytest.mark.unit


class Shelf:
    """The same index for every tenant."""

    def __init__(self, index: IntelIndex) -> None:
        self._index = index

    def index(self, tenant: str) -> IntelIndex | None:
        return self._index


def test_evidence_shows_what_the_feed_says(models: Any, index: Any, batch: Any) -> None:
    found = index({"f": "ip,technique,malware\n203.0.113.9,T1071.001,Bot\n203.0.113.10,,\n"})
    state = StateSettings(entities=1024, members=4096, contexts=1024, hash_seed=7)
    engine = Engine(DetectorSettings(state=state), models, Shelf(found))
    verdicts = engine.analyze(batch([{"src": "10.0.0.5", "dst": f"203.0.113.{last}"} for last in (9, 10)]))
    pieces = [next(one for one in verdicts.evidence(row) if one.detector == "threat-intel") for row in range(2)]
    assert [[technique.id for technique in piece.techniques] for piece in pieces] == [["T1071.001"], []]
    assert "as Bot" in pieces[0].summary
