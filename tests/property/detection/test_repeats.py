"""Sending anything twice is sending it once: state, findings, verdicts and evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from detection_batches import SETTINGS, batches, slot
from hypothesis import given, settings
from hypothesis import strategies as st

from securenet_detection.engine import Engine
from securenet_flows.batch import FlowBatch

pytestmark = pytest.mark.unit


def answer(engine: Engine, batch: FlowBatch) -> Any:
    """All that a caller can see of a batch."""
    verdicts = engine.analyze(batch)
    return [
        (
            verdicts.flow_id(row),
            int(verdicts.threat_level[row]),
            float(verdicts.score[row]),
            verdicts.evidence(row),
            verdicts.model_at(row),
            verdicts.omitted_at(row),
            sorted(name for name, rows in verdicts.contributions().items() if rows[row]),
        )
        for row in range(len(verdicts))
    ]


@settings(max_examples=60, deadline=None)
@given(batches(), batches(named="D"))
def test_a_batch_twice_is_the_batch_once(first: FlowBatch, second: FlowBatch) -> None:
    once, twice = Engine(SETTINGS, slot()), Engine(SETTINGS, slot())
    expected = answer(once, first)
    assert answer(twice, first) == expected
    assert answer(twice, first) == expected
    assert not twice.analyze(first).sightings
    # What comes next finds the same state.
    assert answer(twice, second) == answer(once, second)


@settings(max_examples=60, deadline=None)
@given(batches(max_rows=60), st.data())
def test_rows_that_come_again_among_new_ones_change_nothing(batch: FlowBatch, data: Any) -> None:
    expected = answer(Engine(SETTINGS, slot()), batch)
    engine = Engine(SETTINGS, slot())
    sent = 0
    while sent < len(batch):
        upto = data.draw(st.integers(sent + 1, len(batch)))
        again = data.draw(st.lists(st.integers(0, upto - 1), max_size=8))
        # Rows of before and of this very batch, again, at its end: the new ones keep their order.
        rows = [*range(sent, upto), *again]
        found = answer(engine, batch.take(np.array(rows, np.int64)))
        assert found == [expected[row] for row in rows]
        sent = upto


@settings(max_examples=20, deadline=None)
@given(batches(max_rows=40))
def test_a_dry_run_neither_looks_nor_leaves_a_trace(batch: FlowBatch) -> None:
    engine = Engine(SETTINGS, slot())
    engine.analyze(batch, dry_run=True)
    assert not len(engine.analyze(batch).again)
    assert not len(engine.analyze(batch, dry_run=True).again)
