"""The detectors of connections: cut anywhere, unharmed by any numbers, and bounded."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securenet_detection.behaviours.beacon import Beacon
from securenet_detection.behaviours.exfiltration import Exfiltration
from securenet_detection.behaviours.flood import Flood
from securenet_detection.behaviours.long_connection import LongConnection
from securenet_detection.behaviours.observation import Observation
from securenet_detection.behaviours.outside import Outside
from securenet_detection.behaviours.strobe import Strobe
from securenet_detection.detector_settings import (
    BeaconSettings,
    ExfiltrationSettings,
    FloodSettings,
    LongConnectionSettings,
    PrevalenceSettings,
    StateSettings,
    StrobeSettings,
)
from securenet_flows.batch import CONN_STATES, Dictionary, FlowBatch

pytestmark = pytest.mark.unit

STATE = StateSettings(entities=64, members=64, rings=64, sources=64, contexts=64)
COLUMNS = (
    "level", "confidence", "measured", "threshold", "technique", "event", "sample", "flows", "first_seen_ns", "idle_ns",
)  # fmt: skip
#: Longest that evidence of these lasts, nanoseconds.
LASTS = 3600 * 10**9

#: Numbers that no log should hold and some do.
EXTREMES = np.array([0, 1, -1, 2**31, 2**53, 2**62, 2**63 - 1, -(2**63)], np.int64)


def detectors() -> list[Any]:
    """One of each with low thresholds and the smallest tables, so that a short trace meets findings and evictions."""
    outside = Outside(PrevalenceSettings(popular_hosts=2, known_hosts=2), STATE)
    return [
        Beacon(BeaconSettings(score=0.3, high_score=0.5, percentile=0.5, window_seconds=600), STATE, outside),
        LongConnection(
            LongConnectionSettings(
                low_hours=0.01, medium_hours=0.02, high_hours=0.05, web_low_hours=0.02, window_seconds=3600
            ),
            STATE,
            outside,
        ),
        Strobe(StrobeSettings(connections=5, window_seconds=60), STATE),
        Exfiltration(ExfiltrationSettings(bytes=20_000, unusual_bytes=5000, history_hours=2, window_seconds=60), STATE),
        Flood(FloodSettings(connections_per_second=1, sources=3, packets_per_second=4, hold_seconds=20), STATE),
    ]


@st.composite
def batches(draw: Any, max_rows: Any = 150) -> FlowBatch:
    rows = draw(st.integers(1, max_rows))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    step = draw(st.sampled_from([10**8, 2 * 10**9, 4 * 10**12]))
    wild = draw(st.sampled_from([0.0, 0.0, 0.05, 0.5]))
    src, dst = np.zeros((2, rows, 16), np.uint8)
    src[:, 10:12] = dst[:, 10:12] = 255
    src[:, 12] = rng.choice([10, 10, 198], rows)
    src[:, 15] = rng.integers(0, draw(st.sampled_from([1, 6, 250])), rows)
    dst[:, 12] = rng.choice([93, 93, 10, 224], rows)
    dst[:, 15] = rng.integers(0, draw(st.sampled_from([1, 6])), rows)
    times = np.arange(rows) * step + rng.integers(0, step // 4, rows)
    moved = rng.random(rows) < 0.1
    times[moved] += rng.choice([-(10**10), 10**10, 5 * 10**13], int(moved.sum()))

    def column(highest: int) -> Any:
        values = rng.integers(0, highest, rows)
        strange = rng.random(rows) < wild
        values[strange] = rng.choice(EXTREMES, int(strange.sum()))
        return values

    strange = rng.random(rows) < wild / 4
    times[strange] = rng.choice(EXTREMES, int(strange.sum()))
    return FlowBatch(
        start_time_ns=times,
        src_addr=src,
        dst_addr=dst,
        protocol=rng.choice([6, 6, 17, 1], rows).astype(np.uint8),
        numeric={
            "dst_port": rng.choice([443, 443, 53, 123, 1194], rows).astype(np.uint16),
            "conn_state": rng.integers(0, len(CONN_STATES), rows).astype(np.uint8),
            "orig_bytes": column(9000),
            "resp_bytes": column(900) * rng.integers(0, 2, rows),
            "orig_pkts": column(9),
            "resp_pkts": column(9) * rng.integers(0, 2, rows),
            "duration_ns": column(10**11),
        },
        text={"flow_id": Dictionary.encode(f"C{i}" for i in range(rows))},
        present={"duration_ns": rng.random(rows) < 0.9},
    )


def columns(behaviours: Any, batch: FlowBatch, ordinal: int, *, learn: bool = True) -> Any:
    """Evidence of each detector, zeros where there is none, with the words of the first rows that have some."""
    seen = Observation.of(batch, seed=3, ordinal=ordinal, learn=learn)
    found = []
    for behaviour in behaviours:
        observed = behaviour.observe(seen)
        if observed is None:
            found.append(np.zeros((len(batch), len(COLUMNS))))
            continue
        standing = observed.level > 0
        for row in np.flatnonzero(standing)[:3].tolist():
            assert behaviour.summary(seen, row, observed.at(row))
            assert len(behaviour.samples(observed.at(row))) <= 10
        table = np.stack([getattr(observed, name).astype(np.float64) for name in COLUMNS], axis=1)
        table[~standing] = 0
        found.append(table)
    return found


@settings(max_examples=60, deadline=None)
@given(batches(), st.lists(st.integers(0, 150), max_size=6))
def test_cut_anywhere(batch: Any, cuts: Any) -> None:
    whole = columns(detectors(), batch, 1)
    behaviours = detectors()
    edges = sorted({0, len(batch), *(cut for cut in cuts if cut < len(batch))})
    parts = [columns(behaviours, batch.take(slice(a, b)), 1 + a) for a, b in pairwise(edges)]
    for position, table in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([part[position] for part in parts]), table)


@settings(max_examples=25, deadline=None)
@given(batches(), batches())
def test_a_dry_run_in_between_changes_nothing(first: Any, second: Any) -> None:
    plain, visited = detectors(), detectors()
    columns(plain, first, 1)
    columns(visited, first, 1)
    columns(visited, second, 1 + len(first), learn=False)
    for one, other in zip(
        columns(plain, second, 1 + len(first)), columns(visited, second, 1 + len(first)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=60, deadline=None)
@given(st.lists(batches(), min_size=1, max_size=4))
def test_any_numbers_leave_evidence_and_tables_within_their_bounds(traces: Any) -> None:
    behaviours = detectors()
    ordinal = 1
    for trace in traces:
        for table in columns(behaviours, trace, ordinal):
            standing = table[table[:, 0] > 0]
            assert np.isin(table[:, 0], (0, 1, 2, 3)).all()
            assert ((standing[:, 1] >= 0.9) & (standing[:, 1] <= 1)).all()
            assert (standing[:, 2] >= standing[:, 3] * (1 - 1e-9)).all()
            assert (standing[:, 3] > 0).all()
            assert (standing[:, 7] > 0).all()
            assert ((standing[:, 9] >= 0) & (standing[:, 9] <= LASTS)).all()
        ordinal += len(trace)
    for behaviour in behaviours:
        usage = behaviour.usage()
        assert 0 <= usage.entries <= usage.capacity
        assert usage.evictions >= 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_connections_within_a_window_does_not_change_their_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.integers(0, 2900, 12)) * 10**9
    durations = rng.integers(5 * 10**9, 500 * 10**9, 12)
    measured = []
    for order in (np.arange(12), np.argsort(starts + durations, kind="stable")):
        addresses = np.zeros((12, 16), np.uint8)
        addresses[:, 10:12] = 255
        src, dst = addresses.copy(), addresses.copy()
        src[:, 12], dst[:, 12] = 10, 93
        batch = FlowBatch(
            starts[order], src, dst, np.full(12, 6, np.uint8),
            {"dst_port": np.full(12, 1194, np.uint16), "conn_state": np.full(12, 3, np.uint8),
             "resp_pkts": np.ones(12, np.int64), "duration_ns": durations[order]},
        )  # fmt: skip
        measured.append(columns(detectors()[1:2], batch, 1)[0][-1, 2])
    assert measured[0] == pytest.approx(measured[1], abs=1e-6)
