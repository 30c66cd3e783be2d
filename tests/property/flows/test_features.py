"""Cutting a stream of flows into batches never changes a feature."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from securenet_flows.batch import FlowBatch
from securenet_flows.features import FEATURES, SourceContext, features

pytestmark = pytest.mark.unit

_INT64 = st.integers(-(2**62), 2**62)


@st.composite
def batches(draw: st.DrawFn) -> FlowBatch:
    """Batches with few addresses, so that flows meet, and with any other value that a column can hold."""
    rows = draw(st.integers(0, 40))

    def column(dtype: type, elements: st.SearchStrategy[int]) -> np.ndarray:
        return draw(hnp.arrays(dtype, rows, elements=elements))

    few = st.integers(0, 3)
    addresses = np.zeros((2, rows, 16), np.uint8)
    addresses[0, :, 15] = column(np.uint8, few)
    addresses[1, :, 15] = column(np.uint8, few)
    numeric = {
        "duration_ns": column(np.int64, _INT64),
        "orig_bytes": column(np.int64, _INT64),
        "resp_bytes": column(np.int64, _INT64),
        "orig_ip_bytes": column(np.int64, _INT64),
        "orig_pkts": column(np.int64, _INT64),
        "dst_port": column(np.uint16, st.integers(0, 65535)),
        "conn_state": column(np.uint8, st.integers(0, 255)),
    }
    present = {name: draw(hnp.arrays(np.bool_, rows)) for name in ("orig_bytes", "orig_ip_bytes", "conn_state")}
    start = column(np.int64, st.integers(0, 2_000)) * draw(st.sampled_from([1, 10**6, 10**9, 10**12]))
    return FlowBatch(start, addresses[0], addresses[1], column(np.uint8, st.integers(0, 255)), numeric, {}, present)


@settings(max_examples=150, deadline=None)
@given(batches(), st.lists(st.integers(0, 40), max_size=5))
def test_split_invariance(batch: FlowBatch, cuts: list[int]) -> None:
    whole = features(batch, SourceContext(64))
    context = SourceContext(64)
    edges = [0, *sorted(min(cut, len(batch)) for cut in cuts), len(batch)]
    pieces = [features(batch.take(slice(a, b)), context) for a, b in pairwise(edges)]
    assert np.array_equal(np.concatenate(pieces), whole, equal_nan=True)


@settings(max_examples=150, deadline=None)
@given(batches())
def test_values_are_finite_or_unknown(batch: FlowBatch) -> None:
    matrix = features(batch)
    assert not np.isinf(matrix).any()
    never = [i for i, feature in enumerate(FEATURES) if feature.null.startswith("never")]
    assert not np.isnan(matrix[:, never]).any()
