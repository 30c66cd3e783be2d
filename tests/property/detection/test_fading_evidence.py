"""Evidence fades after its last cause, in the flows' own time, however the flows are cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securenet_detection import fusion
from securenet_detection.behaviours.interface import Observed
from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.threats import ThreatLevel
from securenet_flows.batch import CONN_STATES, FlowBatch

pytestmark = pytest.mark.unit

SECOND = 10**9
STATE = StateSettings(entities=1024, members=1024, rings=64, sources=64, contexts=64, hash_seed=1)
CAUSES = 40


def flows(*quiet: float) -> FlowBatch:
    """A vertical scan of one failed port a second, then flows to the same host that are none, so long after it."""
    times = [*range(CAUSES), *(CAUSES - 1 + after for after in quiet)]
    ports = [*range(1, CAUSES + 1), *([443] * len(quiet))]
    states = [CONN_STATES.index("S0")] * CAUSES + [CONN_STATES.index("SF")] * len(quiet)
    rows = len(times)
    address = np.zeros((rows, 16), np.uint8)
    address[:, 10:12] = 255
    src, dst = address.copy(), address.copy()
    src[:, 12:], dst[:, 12:] = (10, 0, 0, 5), (10, 0, 0, 9)
    return FlowBatch(
        (np.array(times) * SECOND).astype(np.int64),
        src,
        dst,
        np.full(rows, 6, np.uint8),
        numeric={"dst_port": np.array(ports, np.uint16), "conn_state": np.array(states, np.uint8)},
    )


def engine(half_life: float) -> Engine:
    return Engine(DetectorSettings(state=STATE, evidence_half_life_seconds=half_life), ModelSlot())


def scan_risk(verdicts: Any, row: int) -> float:
    found = (one for one in verdicts.evidence(row) if one.detector == "vertical-scan")
    return float(sum(fusion.WEIGHTS[one.level] * one.confidence for one in found))


def test_it_halves_with_each_half_life_and_ends_with_the_window() -> None:
    verdicts = engine(60.0).analyze(flows(0, 60, 120, 299, 301))
    risks = [scan_risk(verdicts, CAUSES - 1 + at) for at in range(6)]
    assert risks[1] == risks[0] > 0.6
    assert risks[2:4] == pytest.approx([risks[0] / 2, risks[0] / 4])
    assert risks[4] == pytest.approx(risks[0] * 0.5 ** (299 / 60))
    assert risks[5] == 0
    assert verdicts.threat_level[CAUSES - 1 :].tolist()[:2] == [ThreatLevel.HIGH] * 2
    assert verdicts.threat_level[-1] == ThreatLevel.LOW


def test_findings_are_as_grave_as_their_flows_were() -> None:
    slow, quick = (
        [s for _, s in engine(life).analyze(flows(10, 60)).sightings if s.evidence.detector == "vertical-scan"]
        for life in (86_400.0, 1.0)
    )
    assert [(s.threat_level, s.evidence.confidence) for s in slow] == [
        (s.threat_level, s.evidence.confidence) for s in quick
    ]


@settings(max_examples=15, deadline=None)
@given(
    quiet=st.lists(st.floats(0, 400), min_size=1, max_size=8).map(sorted),
    cuts=st.lists(st.integers(1, CAUSES + 8), max_size=4),
    half_life=st.floats(1, 10_000),
)
def test_cut_anywhere_it_fades_the_same_and_never_grows(quiet: list[float], cuts: list[int], half_life: float) -> None:
    batch = flows(*quiet)
    whole = engine(half_life).analyze(batch)
    by_pieces = engine(half_life)
    ends = sorted({cut for cut in cuts if cut < len(batch)} | {len(batch)})
    begins = [0, *ends[:-1]]
    risks = [
        by_pieces.analyze(batch.take(np.arange(begin, end))).score for begin, end in zip(begins, ends, strict=True)
    ]
    assert np.concatenate(risks) == pytest.approx(whole.score, abs=1e-12)
    told = [scan_risk(whole, row) for row in range(CAUSES - 1, len(batch))]
    assert told == sorted(told, reverse=True)
    assert all(0 <= risk <= 1 for risk in told)


@given(
    idle=st.lists(st.integers(0, 10**15), min_size=1, max_size=20),
    confidence=st.floats(0, 1),
    half_life=st.floats(1, 1e15),
)
def test_what_is_left_is_bounded_and_falls_with_time(idle: list[int], confidence: float, half_life: float) -> None:
    rows = len(idle)
    nothing = np.zeros(rows, np.int64)
    observed = Observed(
        level=np.ones(rows, np.uint8), confidence=np.full(rows, confidence), measured=np.ones(rows),
        threshold=np.ones(rows), technique=np.zeros(rows, np.uint8), event=np.zeros(rows, np.uint8), sample=nothing,
        flows=nothing, first_seen_ns=nothing, certain=nothing, idle_ns=np.array(sorted(idle), np.int64),
    )  # fmt: skip
    left = observed.faded(half_life).confidence
    assert ((left >= 0) & (left <= confidence)).all()
    assert (np.diff(left) <= 0).all()
    assert (observed.confidence == confidence).all()
