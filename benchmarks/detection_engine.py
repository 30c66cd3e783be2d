"""Rows a second of the detection engine: all detectors, features, fusion and findings, without and with a model.

    python benchmarks/detection_engine.py [--rows 400000] [--batch 4096] [--rounds 3] [--output json]

Rows are generated: an office of 1,000 hosts that talk to servers and to the Internet, with scans and password guessing
among them. The model is gradient boosting trained on half of the same rows' features and converted to ONNX, as the
registry does it; the bare model is ONNX Runtime on one thread over the same rows, which the ratio refers to. What a
batch costs beyond the model is features, detectors and fusion. The best round counts, since others share the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.engine import Engine
from securenet_detection.models.calibration import Calibration, OperatingPoints
from securenet_detection.models.interface import ModelReference
from securenet_detection.models.onnx_classifier import OnnxClassifier, load_onnx
from securenet_detection.models.serving import ModelSlot, ServingModel
from securenet_flows.batch import CONN_STATES, Dictionary, FlowBatch
from securenet_flows.features import FEATURES, SourceContext, features
from securenet_registry.training.onnx_trees import to_onnx

START_NS = 1_767_225_600 * 10**9


def generate(rows: int, seed: int = 1) -> tuple[FlowBatch, NDArray[np.bool_]]:
    """Flows of half an hour and which of them are attacks."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, rows, p=[0.97, 0.02, 0.01])
    src = np.zeros((rows, 16), np.uint8)
    src[:, 10:12] = 255
    src[:, 12] = 10
    src[:, 14] = rng.integers(0, 4, rows)
    src[:, 15] = rng.integers(1, 251, rows)
    src[kind > 0, 14:] = (9, 9)
    dst = np.zeros((rows, 16), np.uint8)
    dst[:, 10:12] = 255
    popular = rng.zipf(1.3, rows) % 20_000
    dst[:, 12] = 93
    dst[:, 13] = popular // 250
    dst[:, 14] = popular % 250
    dst[kind == 1, 13:] = rng.integers(1, 251, (int((kind == 1).sum()), 3))
    failed = np.where(kind == 1, rng.random(rows) < 0.97, rng.random(rows) < 0.03)
    state = np.where(failed, CONN_STATES.index("S0"), CONN_STATES.index("SF")).astype(np.uint8)
    quiet = failed | (kind == 2)
    numeric: dict[str, NDArray[np.generic]] = {
        "duration_ns": np.where(quiet, rng.exponential(1e9, rows), rng.lognormal(21, 2, rows)).astype(np.int64),
        "src_port": rng.integers(32768, 60999, rows).astype(np.uint16),
        "dst_port": np.choose(kind, [rng.choice([443, 443, 80, 53, 123, 993], rows), 445, 22]).astype(np.uint16),
        "conn_state": state,
        "orig_bytes": np.where(failed, 0, np.where(kind == 2, 1900, rng.lognormal(7, 1.5, rows))).astype(np.int64),
        "resp_bytes": np.where(failed, 0, np.where(kind == 2, 2400, rng.lognormal(9, 2, rows))).astype(np.int64),
        "orig_pkts": np.where(failed, 2, rng.integers(4, 200, rows)).astype(np.int64),
        "resp_pkts": np.where(failed, 0, rng.integers(4, 300, rows)).astype(np.int64),
    }
    # A lookup is a packet or two each way; as large as a download it would be a tunnel.
    lookup = numeric["dst_port"] == 53
    for name, least, most in (
        ("orig_bytes", 30, 60),
        ("resp_bytes", 60, 300),
        ("orig_pkts", 1, 3),
        ("resp_pkts", 1, 3),
    ):
        numeric[name] = np.where(lookup, rng.integers(least, most, rows), numeric[name])
    batch = FlowBatch(
        start_time_ns=START_NS + np.sort(rng.integers(0, 1800 * 10**9, rows)),
        src_addr=src,
        dst_addr=dst,
        protocol=np.where(numeric["dst_port"] == 53, 17, 6).astype(np.uint8),
        numeric=numeric,
        text={"flow_id": Dictionary(np.arange(rows, dtype=np.int32), tuple(f"C{i:08x}" for i in range(rows)))},
    )
    return batch, kind > 0


def train(matrix: NDArray[np.float32], malicious: NDArray[np.bool_]) -> OnnxClassifier:
    """Gradient boosting on the features, in the form that serves."""
    half = len(matrix) // 2
    estimator = HistGradientBoostingClassifier(max_iter=100, random_state=1, early_stopping=False)
    estimator.fit(matrix[:half], malicious[:half])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(to_onnx(estimator, len(FEATURES), {}))
        return load_onnx(path, input_name="features", output_name="score", columns=len(FEATURES))


def rate(rows: int, rounds: int, work: Callable[[], None]) -> float:
    """Rows a second of the best round."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return rows / best


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    rows, size = arguments.rows, arguments.batch
    batch, malicious = generate(rows)
    # As the wire does it: each batch has its own dictionaries.
    names = batch.text["flow_id"].values
    batches = [
        FlowBatch(
            piece.start_time_ns, piece.src_addr, piece.dst_addr, piece.protocol, piece.numeric,
            {"flow_id": Dictionary(np.arange(len(piece), dtype=np.int32), names[n * size : n * size + len(piece)])},
        )
        for n, piece in enumerate(batch.split(size))
    ]  # fmt: skip
    matrix = features(batch, SourceContext())
    classifier = train(matrix, malicious)
    pieces = [matrix[start : start + size] for start in range(0, rows, size)]
    table = np.array([0.0, 1.0])
    model = ServingModel(
        ModelReference("models/bench/versions/1", "champion", ""), classifier, Calibration(table, table),
        OperatingPoints(0.5, None), "", 1, 0, 0.0,
    )  # fmt: skip

    def bare() -> None:
        for piece in pieces:
            classifier.scores(piece)

    def extract() -> None:
        context = SourceContext()
        for piece in batches:
            features(piece, context)

    def analyze(slot: ModelSlot) -> Callable[[], None]:
        def run() -> None:
            engine = Engine(DetectorSettings(state=StateSettings(hash_seed=1)), slot)
            for piece in batches:
                engine.analyze(piece)

        return run

    without, having = ModelSlot(), ModelSlot()
    having.swap(model)
    Engine(DetectorSettings(), without).warm_up()
    base = rate(rows, arguments.rounds, bare)
    results = [
        ("detection.model_bare", base),
        ("detection.features", rate(rows, arguments.rounds, extract)),
        ("detection.engine_without_model", rate(rows, arguments.rounds, analyze(without))),
        ("detection.engine_with_model", rate(rows, arguments.rounds, analyze(having))),
    ]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    for name, value in results:
        line = {
            "name": name, "value": round(value), "unit": "rows/s", "ratio_to": "detection.model_bare",
            "ratio": round(value / base, 3), "machine": machine,
        }  # fmt: skip
        if arguments.output == "json":
            sys.stdout.write(json.dumps(line) + "\n")
        else:
            sys.stdout.write(f"{name:34} {value:12,.0f} rows/s {value / base:8.2f} × bare model\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
