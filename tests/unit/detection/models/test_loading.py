"""Loading: a model is served only if it is what its manifest promises."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from securenet_detection.models.interface import Artifact, ModelRejectedError, Promotion
from securenet_detection.models.loading import load_model
from securenet_detection.models.onnx_classifier import load_onnx
from securenet_detection.models.onnx_trees import read_trees
from securenet_registry.training.onnx_trees import to_onnx

pytestmark = pytest.mark.unit


@pytest.fixture
def load(tmp_path: Any, graph: Any, manifest: Any) -> Any:
    def run(data: Any = None, **changes: Any) -> Any:
        data = graph() if data is None else data
        path = tmp_path / "model.onnx"
        path.write_bytes(data)
        document = manifest(data, **changes)
        artifact = Artifact("models/flows/versions/3", "derived/model.onnx", "d" * 64, path, document)
        return load_model(
            artifact, Promotion("models/flows/versions/3", "champion", 7), load=load_onnx, schema_hash="abc",
            names="abcd", trees=read_trees, begun=0.0, clock_ns=lambda: 5,
        )  # fmt: skip

    return run


def test_a_good_model_is_loaded_calibrated_and_named(load: Any) -> None:
    model = load()
    assert (model.reference.name, model.reference.alias, model.generation) == ("models/flows/versions/3", "champion", 7)
    # Raw 0.5 is calibrated to 0.25.
    assert model.score(np.zeros((3, 4), np.float32)).tolist() == pytest.approx([0.25] * 3)
    assert model.points.high == pytest.approx(0.992)


def test_a_model_of_trees_is_loaded_with_what_explains_it(load: Any) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(-4, 5, (400, 4)).astype(np.float32)
    estimator = HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=8, random_state=0).fit(
        x, x[:, 0] * x[:, 1] > 2
    )
    golden = {
        "shape": [8, 4],
        "features": base64.b64encode(x[:8].tobytes()).decode(),
        "raw": estimator.predict_proba(x[:8])[:, 1].tolist(),
        "tolerance": 1e-5,
    }
    model = load(to_onnx(estimator, 4, {}), golden=golden)
    (values,) = model.explainer.values(x[:1])
    raw = float(estimator.predict_proba(x[:1])[0, 1])
    assert model.explainer.expected + values.sum() == pytest.approx(math.log(raw / (1 - raw)), abs=1e-4)
    assert [limitation for limitation in model.limitations if "contributions" in limitation] == []


@pytest.mark.parametrize("lineage", [{"split": "time"}, {}, None, "capture"])
def test_a_model_that_was_not_judged_on_captures_of_its_own_may_not_say_high(load: Any, lineage: Any) -> None:
    assert load(lineage=lineage).points.high is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_schema_hash": "other"}, "schema"),
        ({"serving": None}, "serving"),
        ({"serving": {"file": "elsewhere"}}, "form for serving"),
        ({"calibration": None}, "calibration"),
        ({"calibration": {"kind": "isotonic"}}, "piecewise-linear"),
        ({"calibration": {"kind": "piecewise-linear", "x": [0, 1], "y": [1, 0]}}, "falls"),
        ({"calibration": {"kind": "piecewise-linear", "x": [0, 1], "y": [0, 2]}}, "probabilities"),
        ({"calibration": {"kind": "piecewise-linear", "x": [0, "a"], "y": [0, 1]}}, "numbers"),
        ({"calibration": {"kind": "piecewise-linear", "x": [0], "y": [0]}}, "expected as many"),
        ({"golden": None}, "golden"),
        ({"golden": {"shape": [1, 4], "features": "!!", "raw": [0.5]}}, "golden"),
        ({"golden": {"shape": [2, 4], "features": "AAAA", "raw": [0.5]}}, "golden"),
        ({"thresholds": "none"}, "thresholds"),
        ({"thresholds": [{"score": 2}]}, "probability"),
    ],
)
def test_what_a_manifest_lacks_or_gets_wrong_refuses_the_model(load: Any, changes: Any, message: Any) -> None:
    with pytest.raises(ModelRejectedError, match=message):
        load(**changes)


def test_a_model_that_scores_the_golden_batch_otherwise_is_refused(load: Any, manifest: Any, graph: Any) -> None:
    golden = manifest(graph())["golden"]
    golden["raw"][0] += 0.01
    with pytest.raises(ModelRejectedError, match="differ by"):
        load(golden=golden)


def test_no_manifest_may_allow_any_difference(load: Any, manifest: Any, graph: Any) -> None:
    golden = manifest(graph())["golden"]
    golden["raw"][0] += 0.01
    golden["tolerance"] = 1.0
    with pytest.raises(ModelRejectedError, match="differ by"):
        load(golden=golden)


@pytest.mark.parametrize("data", [b"", b"not onnx", b"\x08\x07" * 100])
def test_bytes_that_are_no_model_are_refused(load: Any, data: Any) -> None:
    with pytest.raises(ModelRejectedError):
        load(data)


def test_a_graph_of_another_shape_is_refused(load: Any, graph: Any) -> None:
    with pytest.raises(ModelRejectedError, match="float32"):
        load(graph(columns=5))
    with pytest.raises(ModelRejectedError, match="score"):
        load(graph(output="probability"))
