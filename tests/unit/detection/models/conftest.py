"""A tiny model, its manifest and its key."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from onnx import TensorProto, helper

COLUMNS = 4


def sigmoid_graph(columns: int = COLUMNS, *, output: str = "score") -> bytes:
    """Takes features (n, columns), gives the logistic of their sum (n,)."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["features", "axes"], ["total"], keepdims=0),
            helper.make_node("Sigmoid", ["total"], [output]),
        ],
        "sum",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None])],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture
def graph() -> Callable[..., bytes]:
    return sigmoid_graph


@pytest.fixture
def manifest() -> Callable[..., dict[str, Any]]:
    def make(data: bytes, **changes: Any) -> dict[str, Any]:
        features = np.linspace(-1, 1, 8 * COLUMNS, dtype=np.float32).reshape(8, COLUMNS)
        raw = 1 / (1 + np.exp(-features.sum(axis=1, dtype=np.float64)))
        return {
            "schema": "securenet.manifest/1",
            "model": "flows",
            "version": 3,
            "files": [
                {"path": "derived/model.onnx", "size_bytes": len(data), "digest": hashlib.sha256(data).hexdigest()}
            ],
            "feature_schema_hash": "abc",
            "serving": {
                "file": "derived/model.onnx", "input": "features", "output": "score", "kind": "probability",
            },
            "calibration": {"kind": "piecewise-linear", "x": [0.0, 0.5, 1.0], "y": [0.0, 0.25, 1.0]},
            "golden": {
                "shape": [8, COLUMNS],
                "features": base64.b64encode(features.astype("<f4").tobytes()).decode(),
                "raw": raw.tolist(),
                "tolerance": 1e-5,
            },
            "thresholds": [
                {"score": 0.5, "precision": 0.9, "tpr": 0.8, "alarms": 2000},
                {"score": 0.992, "precision": 1.0, "tpr": 0.4, "alarms": 900},
            ],
            "lineage": {"split": "capture"},
            **changes,
        }  # fmt: skip

    return make


class Key:
    """Signs as the registry does."""

    def __init__(self, folder: Path) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.path = folder / "registry.pem"
        self.path.write_bytes(
            self.key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))

    def signed(self, document: dict[str, Any]) -> tuple[bytes, bytes]:
        data = json.dumps(document).encode()
        return data, self.sign(data)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path)
