"""A batch cut anywhere gives the same verdicts, the same evidence and the same findings."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securenet_detection.engine import Engine
from securenet_detection.models.calibration import Calibration, OperatingPoints
from securenet_detection.models.interface import ModelReference
from securenet_detection.models.serving import ModelSlot, ServingModel
from securenet_detection.settings import (
    BruteForceSettings,
    DetectorSettings,
    HorizontalScanSettings,
    StateSettings,
    VerticalScanSettings,
)
from securenet_flows.batch import CONN_STATES, Dictionary, FlowBatch

pytestmark = pytest.mark.unit

#: Low thresholds and the smallest tables, so that a short trace meets findings, doublings and evictions.
SETTINGS = DetectorSettings(
    state=StateSettings(entities=64, members=64, contexts=64, hash_seed=3),
    horizontal_scan=HorizontalScanSettings(remote_destinations=3, local_destinations=4, window_seconds=20),
    vertical_scan=VerticalScanSettings(ports=3, window_seconds=20),
    brute_force=BruteForceSettings(attempts=4, window_seconds=40),
)


class SomeFeature:
    """Scores by the source's failure rate, so that a lost or doubled update of context shows."""

    def scores(self, features: Any) -> Any:
        return np.nan_to_num(features[:, 22].astype(np.float64), nan=0.1).clip(0, 1)


def slot() -> ModelSlot:
    table = np.array([0.0, 1.0])
    models = ModelSlot()
    models.swap(
        ServingModel(
            ModelReference("models/m/versions/1", "champion", ""), SomeFeature(), Calibration(table, table),
            OperatingPoints(0.5, None), "", 1, 0, 0.0,
        )
    )  # fmt: skip
    return models


@st.composite
def batches(draw: Any, max_rows: Any = 120) -> FlowBatch:
    rows = draw(st.integers(1, max_rows))
    seed = draw(st.integers(0, 2**32 - 1))
    sources = draw(st.sampled_from([2, 8, 300]))
    rng = np.random.default_rng(seed)
    src = np.zeros((rows, 16), np.uint8)
    src[:, 10:12] = 255
    src[:, 12] = rng.choice([10, 198], rows)
    src[:, 14:] = rng.integers(0, sources, (rows, 1)) % 256
    dst = np.zeros((rows, 16), np.uint8)
    dst[:, 10:12] = 255
    dst[:, 12] = rng.choice([10, 93, 224], rows)
    dst[:, 15] = rng.integers(0, 12, rows)
    times = rng.integers(0, 60, rows).cumsum() * draw(st.sampled_from([10**7, 10**9]))
    times += rng.choice([0, 0, 0, 0, -(10**10), -(10**18), 10**17], rows)
    return FlowBatch(
        start_time_ns=times.astype(np.int64),
        src_addr=src,
        dst_addr=dst,
        protocol=rng.choice([6, 6, 6, 17, 1], rows).astype(np.uint8),
        numeric={
            "dst_port": rng.choice([22, 80, 445, 3389], rows).astype(np.uint16),
            "conn_state": rng.integers(0, len(CONN_STATES), rows).astype(np.uint8),
            "orig_bytes": rng.integers(0, 9000, rows),
            "resp_bytes": rng.integers(0, 9000, rows) * rng.integers(0, 2, rows),
        },
        text={"flow_id": Dictionary.encode(f"C{i}" for i in range(rows))},
        present={"dst_port": rng.random(rows) < 0.95},
    )


def answer(engine: Engine, batch: FlowBatch) -> Any:
    verdicts = engine.analyze(batch)
    evidence = [verdicts.evidence(row) for row in range(len(verdicts))]
    return [verdicts.threat_level.tolist(), verdicts.score.tolist(), evidence, [s for _, s in verdicts.sightings]]


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
