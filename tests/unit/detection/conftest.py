"""Flows for detection's tests."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_flows.batch import CONN_STATES, NUMERIC, TEXT, Dictionary, FlowBatch

#: 2026-01-01T00:00:00Z.
START = 1_767_225_600 * 10**9

SECOND = 10**9

Flow = dict[str, Any]


def packed(address: str) -> bytes:
    parsed = ipaddress.ip_address(address)
    return parsed.packed if parsed.version == 6 else b"\0" * 10 + b"\xff\xff" + parsed.packed


def make_batch(flows: Sequence[Flow]) -> FlowBatch:
    """A batch of flows as dictionaries: src, dst, at (seconds), state, and columns by their names."""
    rows = [
        {"protocol": 6, "conn_state": CONN_STATES.index(flow.get("state", "SF")), "flow_id": f"C{i}", **flow}
        for i, flow in enumerate(flows)
    ]
    numeric: dict[str, np.ndarray] = {}
    present: dict[str, np.ndarray] = {}
    for name, dtype in NUMERIC.items():
        mask = np.array([name in row for row in rows])
        if mask.any():
            numeric[name] = np.array([row.get(name, 0) for row in rows], dtype)
            if not mask.all():
                present[name] = mask
    return FlowBatch(
        start_time_ns=np.array([START + int(row.get("at", 0) * SECOND) for row in rows], np.int64),
        src_addr=np.frombuffer(b"".join(packed(row["src"]) for row in rows), np.uint8).reshape(-1, 16),
        dst_addr=np.frombuffer(b"".join(packed(row["dst"]) for row in rows), np.uint8).reshape(-1, 16),
        protocol=np.array([row["protocol"] for row in rows], np.uint8),
        numeric=numeric,
        text={n: Dictionary.encode(row.get(n) for row in rows) for n in TEXT if any(n in row for row in rows)},
        present=present,
    )


@pytest.fixture
def batch() -> Callable[[Sequence[Flow]], FlowBatch]:
    return make_batch


@pytest.fixture
def models() -> ModelSlot:
    return ModelSlot()


@pytest.fixture
def settings() -> DetectorSettings:
    return DetectorSettings(state=StateSettings(entities=1024, members=4096, contexts=1024, hash_seed=7))


@pytest.fixture
def engine(settings: DetectorSettings, models: ModelSlot) -> Engine:
    return Engine(settings, models)


@pytest.fixture
def levels(engine: Engine) -> Callable[[Sequence[Flow]], dict[str, int]]:
    """The gravest level of evidence by detector over a trace of flows."""

    def run(flows: Sequence[Flow]) -> dict[str, int]:
        verdicts = engine.analyze(make_batch(flows))
        found: dict[str, int] = {}
        for row in range(len(verdicts)):
            for piece in verdicts.evidence(row):
                found[piece.detector] = max(found.get(piece.detector, 0), piece.level)
        return found

    return run
