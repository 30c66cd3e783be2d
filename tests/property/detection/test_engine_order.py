"""A batch cut anywhere gives the same verdicts, the same evidence and the same findings."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import pytest
from detection_batches import SETTINGS, batches, slot
from hypothesis import given, settings
from hypothesis import strategies as st

from securenet_detection.engine import Engine
from securenet_flows.batch import FlowBatch

pytestmark = pytest.mark.unit


def answer(engine: Engine, batch: FlowBatch) -> Any:
    verdicts = engine.analyze(batch)
    evidence = [verdicts.evidence(row) for row in range(len(verdicts))]
    # Whole flows are kept where they came in the same batch, so they are the one thing that hangs on the cut.
    sightings = [replace(sighting, flows=()) for _, sighting in verdicts.sightings]
    return [verdicts.threat_level.tolist(), verdicts.score.tolist(), evidence, sightings]


def joined(parts: Any) -> Any:
    return [list(chain.from_iterable(part[i] for part in parts)) for i in range(4)]


@settings(max_examples=60, deadline=None)
@given(batches(), st.lists(st.integers(0, 120), max_size=6))
def test_cut_anywhere(batch: Any, cuts: Any) -> None:
    whole = answer(Engine(SETTINGS, slot()), batch)
    engine = Engine(SETTINGS, slot())
    edges = sorted({0, len(batch), *(cut for cut in cuts if cut < len(batch))})
    parts = [answer(engine, batch.take(slice(a, b))) for a, b in pairwise(edges)]
    assert joined(parts) == whole


@settings(max_examples=25, deadline=None)
@given(batches(max_rows=60))
def test_one_by_one(batch: Any) -> None:
    whole = answer(Engine(SETTINGS, slot()), batch)
    engine = Engine(SETTINGS, slot())
    parts = [answer(engine, batch.take(slice(row, row + 1))) for row in range(len(batch))]
    assert joined(parts) == whole


@settings(max_examples=25, deadline=None)
@given(batches(), batches())
def test_a_dry_run_in_between_changes_nothing(first: Any, second: Any) -> None:
    plain, visited = Engine(SETTINGS, slot()), Engine(SETTINGS, slot())
    assert answer(plain, first) == answer(visited, first)
    visited.analyze(second, dry_run=True)
    assert answer(plain, second) == answer(visited, second)


@settings(max_examples=40, deadline=None)
@given(st.lists(batches(max_rows=40), min_size=1, max_size=4))
def test_verdicts_keep_their_bounds_whatever_comes(traces: Any) -> None:
    engine = Engine(SETTINGS, slot())
    for trace in traces:
        verdicts = engine.analyze(trace)
        assert ((verdicts.score >= 0) & (verdicts.score <= 1)).all()
        assert ((verdicts.threat_level >= 1) & (verdicts.threat_level <= 4)).all()
        for row in range(len(verdicts)):
            for piece in verdicts.evidence(row):
                assert 0 < piece.confidence <= 1
                assert len(piece.flow_ids) <= 10
    for status in engine.detectors():
        assert status.usage.entries <= status.usage.capacity
