"""What an uploaded model must pass. Runs in a process of its own, since opening it may be what it was made for."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier

from securenet_flows.features import FEATURES, SCHEMA_HASH
from securenet_registry.artifacts.manifest import Golden
from securenet_registry.training.calibration import Calibration
from securenet_registry.training.fitting import raw_score
from securenet_registry.training.onnx_agreement import TOLERANCE, disagreement
from securenet_registry.training.onnx_trees import UnsupportedEstimatorError, to_onnx
from securenet_registry.training.runtime import runtime
from securenet_registry.training.skops_estimator import load, untrusted_types
from securenet_registry.uploads.onnx_graph import GraphRefusedError, Scored, open_graph

#: What a skops file may expand to, and its members at most.
EXPANDED: Final = 2 << 30
MEMBERS: Final = 100_000

#: A member that shrinks more than this is a bomb.
RATIO: Final = 1000

#: Rows that two forms are compared on.
ROWS: Final = 64

ALLOWED: Final = (HistGradientBoostingClassifier, RandomForestClassifier, IsolationForest)


class Refused(Exception):  # noqa: N818 - it is a verdict
    """The model is refused; the message says why."""


def check(folder: Path, name: str, schema_hash: str) -> dict[str, Any]:
    """Checks a model and answers fields of its manifest; may write a serving form below `derived/`.

    Args:
        folder: holds the file.
        name: model.skops or model.onnx.
        schema_hash: of the features that it expects, as stated.

    Raises:
        Refused: it does not pass.
    """
    known = schema_hash == SCHEMA_HASH
    details = _skops(folder, name) if name.endswith(".skops") else _onnx(folder, name)
    if known and details.pop("columns") != len(FEATURES):
        raise Refused(f"feature_schema_hash names {len(FEATURES)} features; the model takes another number")
    details.pop("columns", None)
    names = [feature.name for feature in FEATURES] if known else []
    return {**details, "feature_schema_hash": schema_hash, "feature_names": names, "runtime": runtime()}


def _skops(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    _check_archive(path)
    try:
        foreign = untrusted_types(path)
    except Exception as error:
        raise Refused(f"skops cannot read it: {type(error).__name__}") from error
    if foreign:
        raise Refused(f"types {', '.join(foreign[:10])}; expected those of tree ensembles alone")
    try:
        estimator = load(path)
    except Exception as error:
        raise Refused(f"skops cannot build it: {type(error).__name__}") from error
    if type(estimator) not in ALLOWED:
        kinds = ", ".join(kind.__name__ for kind in ALLOWED)
        raise Refused(f"{type(estimator).__name__}; expected one of {kinds}")
    check_nodes(estimator)
    columns = int(estimator.n_features_in_)
    golden = synthetic_rows(columns)
    raw = raw_score(estimator, golden)
    serving = _derive(folder, estimator, golden, raw)
    return {"columns": columns, "serving": serving, "golden": Golden(golden, raw, TOLERANCE).document()}


def _derive(folder: Path, estimator: Any, rows: NDArray[np.float32], raw: NDArray[np.float64]) -> dict[str, str] | None:
    kind = "anomaly" if isinstance(estimator, IsolationForest) else "probability"
    try:
        data = to_onnx(estimator, rows.shape[1], {"score": kind})
    except UnsupportedEstimatorError:
        return None
    difference = disagreement(data, rows, raw)
    agreement = {"rows": len(rows), "largest_difference": difference, "tolerance": TOLERANCE}
    if difference > TOLERANCE:
        return None
    (folder / "derived").mkdir()
    (folder / "derived" / "model.onnx").write_bytes(data)
    (folder / "derived" / "agreement.json").write_text(json.dumps({**agreement, "agrees": True}, indent=1))
    return {"file": "derived/model.onnx", "input": "features", "output": "score", "kind": kind}


def _onnx(folder: Path, name: str) -> dict[str, Any]:
    try:
        graph: Scored = open_graph((folder / name).read_bytes())
    except GraphRefusedError as error:
        raise Refused(str(error)) from error
    rows = synthetic_rows(graph.columns)
    raw = graph.score(rows)
    calibration = None
    if graph.metadata.get("calibration"):
        try:
            calibration = Calibration.of_document(json.loads(graph.metadata["calibration"])).document()
        except (ValueError, AttributeError) as error:
            raise Refused(f"metadata calibration: {error}") from error
    serving = None
    if graph.serving is not None:
        (folder / "derived").mkdir()
        (folder / "derived" / "model.onnx").write_bytes(graph.serving)
        serving = {"file": "derived/model.onnx", "input": graph.input, "output": "score", "kind": "probability"}
    elif graph.output_is_score:
        serving = {"file": name, "input": graph.input, "output": graph.output, "kind": "probability"}
    document = {"columns": graph.columns, "serving": serving, "golden": Golden(rows, raw, TOLERANCE).document()}
    return {**document, "calibration": calibration}


def check_nodes(estimator: Any) -> None:
    """Every node of every tree points at a later node of its tree and at a feature that there is.

    The loops that score rows trust their trees; an index out of range reads foreign memory.

    Raises:
        Refused: a node does not.
    """
    columns = int(estimator.n_features_in_)
    if isinstance(estimator, HistGradientBoostingClassifier):
        for group in estimator._predictors:  # noqa: SLF001 - the only way to the trees
            for predictor in group:
                nodes = predictor.nodes
                _check_tree(
                    leaf=nodes["is_leaf"].astype(bool),
                    left=nodes["left"].astype(np.int64),
                    right=nodes["right"].astype(np.int64),
                    feature=nodes["feature_idx"].astype(np.int64),
                    columns=columns,
                )
        return
    subsets = getattr(estimator, "estimators_features_", None)
    for index, member in enumerate(estimator.estimators_):
        tree = member.tree_
        width = columns if subsets is None else len(subsets[index])
        if subsets is not None and not ((subsets[index] >= 0) & (subsets[index] < columns)).all():
            raise Refused("a tree uses a feature that there is not")
        if int(tree.n_features) != width or tree.value.shape[0] != tree.node_count:
            raise Refused("a tree does not fit the number of features")
        _check_tree(
            leaf=tree.children_left == -1,
            left=tree.children_left,
            right=tree.children_right,
            feature=tree.feature,
            columns=width,
        )


def _check_tree(
    *, leaf: NDArray[np.bool_], left: NDArray[Any], right: NDArray[Any], feature: NDArray[Any], columns: int
) -> None:
    count = len(leaf)
    inner = ~leaf
    here = np.arange(count)[inner]
    for child in (left[inner], right[inner]):
        if not ((child > here) & (child < count)).all():
            raise Refused("a node of a tree points outside of it, or back")
    if not ((feature[inner] >= 0) & (feature[inner] < columns)).all():
        raise Refused("a node of a tree asks for a feature that there is not")
    if not count:
        raise Refused("a tree without nodes")


def synthetic_rows(columns: int) -> NDArray[np.float32]:
    """Rows over the range of the features, with unknown values among them; the same at each call."""
    generator = np.random.default_rng(20)
    rows = np.rint(generator.uniform(-1, 20, (ROWS, columns)) * 1024) / 1024
    rows[::2] = np.rint(rows[::2] % 2)
    rows[generator.random(rows.shape) < 0.15] = np.nan
    return rows.astype(np.float32)


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise Refused(f"no skops file: {error}") from error
    if len(members) > MEMBERS or sum(member.file_size for member in members) > EXPANDED:
        raise Refused(f"{len(members)} members that expand to more than a model may have")
    for member in members:
        parts = Path(member.filename).parts
        if member.filename.startswith("/") or ".." in parts or "\\" in member.filename:
            raise Refused(f"member {member.filename[:80]!r} leads out of the file")
        if member.file_size > RATIO * max(member.compress_size, 1):
            raise Refused(f"member {member.filename[:80]!r} expands {RATIO} times and more")
