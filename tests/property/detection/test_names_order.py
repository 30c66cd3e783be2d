"""Detectors of names, services and echoes: a batch cut anywhere says the same, and no value is too odd for them."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securenet_detection.detector_settings import (
    DetectorSettings,
    DgaSettings,
    DnsTunnelSettings,
    IcmpTunnelSettings,
    LateralMovementSettings,
    StateSettings,
)
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_flows.batch import CONN_STATES, Dictionary, FlowBatch

pytestmark = pytest.mark.unit

#: Low thresholds and the smallest tables, so that a short trace meets findings, doublings and evictions.
SETTINGS = DetectorSettings(
    state=StateSettings(entities=64, members=64, contexts=64, hash_seed=3),
    dns_tunnel=DnsTunnelSettings(
        long_names=3, length=20, low_names=3, medium_names=5, high_names=7, critical_names=9, long_queries=20
    ),
    dga=DgaSettings(names=3, high_names=5),
    icmp_tunnel=IcmpTunnelSettings(irregular_bytes=2000, regular_bytes=50_000),
    lateral_movement=LateralMovementSettings(learning_seconds=20, learning_flows=5),
)
NAMES = ("dga", "dns-tunnel", "icmp-tunnel", "lateral-movement", "odd-port")

#: Names as they come and as they are made to hurt.
ODD = ("", ".", "..", "com", "localhost", "1.0.0.10.in-addr.arpa", "x" * 65_536, "a." * 3000 + "evil.com",
       "\udce4.evil.com", "é.公司.cn", "a..b.evil.com", "\0", "UPPER.Evil.Com.")  # fmt: skip


@st.composite
def batches(draw: Any, max_rows: Any = 100) -> FlowBatch:
    rows = draw(st.integers(1, max_rows))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    odd = draw(st.lists(st.one_of(st.sampled_from(ODD), st.text(max_size=300)), max_size=5))
    made_up = ["".join(rng.choice(list("bcdfgkqxz0123456789"), 24)) for _ in range(40)]
    names = [*odd, *(f"{text}.com" for text in made_up), *(f"{text}.evil.com" for text in made_up)]
    services = ["", "ssh", "http", "ssl,smtp", "smb,ntlm", "dns", *odd]
    addresses = np.zeros((2, rows, 16), np.uint8)
    addresses[:, :, 10:12] = 255
    addresses[:, :, 12] = rng.choice([10, 198, 224], (2, rows), p=[0.8, 0.15, 0.05])
    addresses[:, :, 15] = rng.integers(0, 6, (2, rows))
    times = rng.integers(0, 20, rows).cumsum() * 10**9 + rng.choice([0, 0, 0, -(10**10), 10**17], rows)
    big = rng.choice([0, 1, 100, 5000, 2**62, -5], (4, rows))

    def texts(values: Any, absent: Any) -> Dictionary:
        codes = rng.integers(0, len(values), rows).astype(np.int32)
        return Dictionary(np.where(rng.random(rows) < absent, np.int32(-1), codes), tuple(values))

    return FlowBatch(
        start_time_ns=times.astype(np.int64),
        src_addr=addresses[0],
        dst_addr=addresses[1],
        protocol=rng.choice([6, 17, 1, 58], rows).astype(np.uint8),
        numeric={
            "src_port": rng.choice([0, 3, 8, 128, 40_000], rows).astype(np.uint16),
            "dst_port": rng.choice([22, 53, 80, 445, 3389, 5353, 65535], rows).astype(np.uint16),
            "conn_state": rng.integers(0, len(CONN_STATES), rows).astype(np.uint8),
            "orig_bytes": big[0],
            "resp_bytes": big[1],
            "orig_pkts": big[2],
            "resp_pkts": big[3],
        },
        text={
            "flow_id": Dictionary.encode(f"C{i}" for i in range(rows)),
            "service": texts(services, 0.3),
            "dns_query": texts(names, 0.2),
            "dns_response_code": texts(["NXDOMAIN", "NOERROR", "x" * 65_536], 0.1),
        },
        present={"orig_bytes": rng.random(rows) < 0.95},
    )


def answer(engine: Engine, batch: FlowBatch) -> Any:
    verdicts = engine.analyze(batch)
    evidence = [[piece for piece in verdicts.evidence(row) if piece.detector in NAMES] for row in range(len(verdicts))]
    return [evidence, [s.evidence for _, s in verdicts.sightings if s.evidence.detector in NAMES]]


@settings(max_examples=60, deadline=None)
@given(batches(), st.lists(st.integers(0, 100), max_size=6))
def test_cut_anywhere(batch: Any, cuts: Any) -> None:
    whole = answer(Engine(SETTINGS, ModelSlot()), batch)
    engine = Engine(SETTINGS, ModelSlot())
    edges = sorted({0, len(batch), *(cut for cut in cuts if cut < len(batch))})
    parts = [answer(engine, batch.take(slice(a, b))) for a, b in pairwise(edges)]
    assert [list(chain.from_iterable(part[i] for part in parts)) for i in range(2)] == whole


@settings(max_examples=25, deadline=None)
@given(batches(), batches())
def test_a_dry_run_in_between_changes_nothing(first: Any, second: Any) -> None:
    plain, visited = Engine(SETTINGS, ModelSlot()), Engine(SETTINGS, ModelSlot())
    assert answer(plain, first) == answer(visited, first)
    visited.analyze(second, dry_run=True)
    assert answer(plain, second) == answer(visited, second)


@settings(max_examples=25, deadline=None)
@given(st.lists(batches(max_rows=40), min_size=1, max_size=4))
def test_evidence_and_state_keep_their_bounds(traces: Any) -> None:
    engine = Engine(SETTINGS, ModelSlot())
    for trace in traces:
        for pieces in answer(engine, trace)[0]:
            for piece in pieces:
                assert 0 < piece.confidence <= 1
                assert piece.measured >= 0
                assert len(piece.flow_ids) <= 10
                assert len(piece.summary) < 600
    for status in engine.detectors():
        assert status.usage.entries <= status.usage.capacity
