"""Which detectors lack a field, in every row or in some."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from securenet_detection.absences import Absences
from securenet_detection.behaviours.interface import Definition
from securenet_detection.behaviours.observation import Observation
from securenet_detection.threats import AnalyticType, Skipped
from securenet_flows.batch import FlowBatch

pytestmark = pytest.mark.unit


def definition(name: str, *fields: str, **judged: Any) -> Definition:
    return Definition(name, "1", "", AnalyticType.BEHAVIORAL, (), fields, (), "flows", **judged)


def observed(protocols: list[int], **columns: Any) -> Observation:
    rows = len(protocols)
    zeros = np.zeros((rows, 16), np.uint8)
    batch = FlowBatch(np.arange(rows), zeros, zeros, np.array(protocols, np.uint8), **columns)
    return Observation.of(batch, seed=1, ordinal=1, learn=True)


PORTS = np.array([53, 22, 443, 53], np.uint16)
BYTES = np.array([1, 2, 3, 4], np.int64)
PRESENT = np.array([True, True, False, False])


def test_a_field_that_no_flow_has_is_said_once() -> None:
    seen = observed([6, 17], numeric={"dst_port": np.array([1, 2], np.uint16)})
    lacking = Absences([definition("a", "dst_port", "orig_bytes", "resp_bytes"), definition("b")])
    everywhere, somewhere = lacking.of(seen)
    assert everywhere == (Skipped("a", "orig_bytes is absent"),)
    assert not somewhere


def test_rows_that_lack_a_field_are_named() -> None:
    seen = observed([6, 6, 6, 6], numeric={"dst_port": PORTS}, present={"dst_port": PRESENT})
    everywhere, somewhere = Absences([definition("a", "dst_port"), definition("b", "dst_port")]).of(seen)
    assert not everywhere
    assert somewhere.keys() == {"a", "b"}
    reason, rows = somewhere["a"]
    assert reason == "dst_port is absent"
    assert rows.tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("judged", "lacking"),
    [
        ({"protocols": (17,)}, [False, False, False, True]),
        ({"protocols": (6, 17)}, [False, False, True, True]),
        ({"protocols": (1,)}, None),
    ],
)
def test_only_flows_that_a_detector_judges_count(judged: dict[str, Any], lacking: list[bool] | None) -> None:
    seen = observed([6, 17, 6, 17], numeric={"orig_bytes": BYTES}, present={"orig_bytes": PRESENT})
    everywhere, somewhere = Absences([definition("a", "orig_bytes", **judged)]).of(seen)
    assert not everywhere
    assert (somewhere["a"][1].tolist() if somewhere else None) == lacking


def test_what_a_detector_does_not_judge_is_not_absent_everywhere() -> None:
    """The one flow to port 53 has the field; those that lack it go elsewhere."""
    present = np.array([True, False, False, False])
    numeric = {"orig_bytes": BYTES, "dst_port": PORTS}
    seen = observed([17, 17, 6, 6], numeric=numeric, present={"orig_bytes": present})
    found = Absences([definition("dns", "orig_bytes", protocols=(17,), ports=(53,))]).of(seen)
    assert found == ((), {})
