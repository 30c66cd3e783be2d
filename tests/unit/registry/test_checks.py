"""What uploaded models must pass, called directly; that it runs in a process of its own is tested elsewhere."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skops.io
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier

from securenet_flows.features import FEATURES, SCHEMA_HASH
from securenet_registry.training.onnx_trees import to_onnx
from securenet_registry.uploads import checks
from securenet_registry.uploads.checks import Refused, check
from securenet_registry.uploads.onnx_graph import GraphRefusedError, open_graph

pytestmark = pytest.mark.unit

COLUMNS = len(FEATURES)


def fitted(estimator: Any, columns: int = COLUMNS) -> Any:
    rng = np.random.default_rng(0)
    x = (np.rint(rng.normal(size=(200, columns)) * 64) / 64).astype(np.float32)
    return estimator.fit(x, (x[:, 0] > 0).astype(int))


@pytest.mark.parametrize(
    "estimator",
    [HistGradientBoostingClassifier(max_iter=3), RandomForestClassifier(3), IsolationForest(n_estimators=3)],
    ids=lambda estimator: type(estimator).__name__,
)
def test_tree_ensembles_pass_and_get_a_serving_form(tmp_path: Path, estimator: Any) -> None:
    skops.io.dump(fitted(estimator), tmp_path / "model.skops")
    details = check(tmp_path, "model.skops", SCHEMA_HASH)
    assert details["serving"]["file"] == "derived/model.onnx"
    assert json.loads((tmp_path / "derived/agreement.json").read_text())["agrees"]
    assert details["golden"]["shape"] == [checks.ROWS, COLUMNS]


def test_the_stated_schema_must_fit(tmp_path: Path) -> None:
    skops.io.dump(fitted(RandomForestClassifier(2), 5), tmp_path / "model.skops")
    with pytest.raises(Refused, match="another number"):
        check(tmp_path, "model.skops", SCHEMA_HASH)


def bend(estimator: Any) -> None:
    tree = estimator.estimators_[0].tree_
    state = tree.__getstate__()
    inner = int(np.flatnonzero(state["nodes"]["left_child"] >= 0)[0])
    state["nodes"]["right_child"][inner] = inner
    tree.__setstate__(state)


def test_nodes_that_lead_back_are_refused() -> None:
    forest = fitted(RandomForestClassifier(2))
    checks.check_nodes(forest)
    bend(forest)
    with pytest.raises(Refused, match="points outside of it, or back"):
        checks.check_nodes(forest)


@pytest.mark.parametrize(("name", "value"), [("left", 2**31), ("right", 0), ("feature_idx", COLUMNS)])
def test_nodes_of_boosting_are_checked(name: str, value: int) -> None:
    boosting = fitted(HistGradientBoostingClassifier(max_iter=2))
    boosting._predictors[0][0].nodes[name][0] = value
    with pytest.raises(Refused, match="node of a tree"):
        checks.check_nodes(boosting)


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a\\..\\b"])
def test_members_that_lead_out(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(Refused, match="leads out"):
        check(tmp_path, "model.skops", "")


def graph(outputs: list[Any], op: str = "Softmax", columns: Any = 2, domain: str = "", **attributes: Any) -> bytes:
    node = helper.make_node(op, ["x"], ["y"], domain=domain, **attributes)
    made = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", columns])], outputs
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    return bytes(model.SerializeToString())


def value(name: str, *shape: Any) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def test_two_classes_get_a_score_of_their_own() -> None:
    opened = open_graph(graph([value("y", "n", 2)]))
    rows = np.array([[0.0, 1.0], [2.0, 0.0]], np.float32)
    scores = opened.score(rows)
    assert opened.serving is not None
    served = open_graph(opened.serving)
    assert served.output_is_score
    assert served.score(rows) == pytest.approx(scores)
    assert not onnx.load_model_from_string(opened.serving).graph.output[1:]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"junk", "no ONNX model"),
        (b"", "no ONNX model|one input"),
        (graph([value("y", "n", 3)], columns=3), "no output"),
        (graph([value("y", "n", "k")], columns="k"), "fixed number of features"),
        (graph([value("y", "n", 2)], domain="com.evil"), "com.evil"),
    ],
)
def test_graphs_that_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(GraphRefusedError, match=said):
        open_graph(data)


def test_scores_must_be_probabilities() -> None:
    opened = open_graph(graph([value("y", "n", 2)], op="Relu"))
    with pytest.raises(GraphRefusedError, match="expected 0 to 1"):
        opened.score(np.array([[0.0, 5.0]], np.float32))


def test_calibration_in_metadata_must_be_a_table(tmp_path: Path) -> None:
    for text in ("[]", "{}", "junk", '{"kind": "piecewise-linear", "x": [1], "y": [1]}'):
        data = to_onnx(fitted(HistGradientBoostingClassifier(max_iter=2)), COLUMNS, {"calibration": text})
        (tmp_path / "model.onnx").write_bytes(data)
        with pytest.raises(Refused, match="calibration"):
            check(tmp_path, "model.onnx", SCHEMA_HASH)
