"""Any flows, and a small engine for them, for property tests of detection."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from securenet_detection.detector_settings import (
    BruteForceSettings,
    DetectorSettings,
    HorizontalScanSettings,
    StateSettings,
    VerticalScanSettings,
)
from securenet_detection.models.calibration import Calibration, OperatingPoints
from securenet_detection.models.interface import ModelReference
from securenet_detection.models.serving import ModelSlot, ServingModel
from securenet_flows.batch import CONN_STATES, Dictionary, FlowBatch

#: Low thresholds and the smallest tables, so that a short trace meets findings, doublings and evictions.
SETTINGS = DetectorSettings(
    state=StateSettings(entities=64, members=64, contexts=64, repeats=4096, hash_seed=3),
    horizontal_scan=HorizontalScanSettings(remote_destinations=3, local_destinations=4, window_seconds=20),
    vertical_scan=VerticalScanSettings(ports=3, window_seconds=20),
    brute_force=BruteForceSettings(attempts=4, window_seconds=40),
)


class SomeFeature:
    """Scores by the source's failure rate, so that a lost or doubled update of context shows."""

    def scores(self, features: Any) -> Any:
        return np.nan_to_num(features[:, 22].astype(np.float64), nan=0.1).clip(0, 1)


def slot() -> ModelSlot:
    """A model that looks at one feature."""
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
def batches(draw: Any, max_rows: int = 120, named: str = "C") -> FlowBatch:
    """Any batch; identities begin with `named`."""
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
        text={"flow_id": Dictionary.encode(f"{named}{i}" for i in range(rows))},
        present={"dst_port": rng.random(rows) < 0.95},
    )
