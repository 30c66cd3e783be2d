"""The serving form of tree ensembles: one ONNX graph, `features` float32 (rows, k) in, `score` float32 (rows,) out.

Written from the fitted trees instead of by a general converter, because then a missing value goes the way that the tree
learned (a general one sends NaN astray in forests), the score is the only output, and isolation forests cost no more
than others. The result is accepted only if it agrees with the estimator on real rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier

#: Operator sets that every ONNX Runtime since 1.12 knows.
OPSETS: Final = (("", 15), ("ai.onnx.ml", 3))
IR_VERSION: Final = 8

#: Euler–Mascheroni constant, in the mean path length of an unsuccessful search in a binary tree.
_EULER: Final = 0.5772156649015329


class UnsupportedEstimatorError(Exception):
    """There is no serving form of this estimator."""


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """Nodes of one tree. `left` is taken where value ≤ threshold, or where it is unknown and `missing_left`.

    `cover` is how many rows of the training came to each node: what tree SHAP weighs branches by.
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    leaf: NDArray[np.bool_]
    value: NDArray[np.float64]
    cover: NDArray[np.float64]


def to_onnx(estimator: Any, columns: int, metadata: dict[str, str]) -> bytes:
    """The ONNX form of an estimator.

    Args:
        estimator: a fitted HistGradientBoostingClassifier, RandomForestClassifier (both of two classes) or
            IsolationForest.
        columns: features that it takes.
        metadata: goes into the model's metadata_props.

    Raises:
        UnsupportedEstimatorError: it is none of these.
    """
    trees = list(_trees(estimator))
    nodes = [_ensemble(trees, estimator)]
    constants = [numpy_helper.from_array(np.array([-1], np.int64), "flat")]
    last = "raw"
    if isinstance(estimator, HistGradientBoostingClassifier):
        nodes.append(helper.make_node("Sigmoid", [last], ["probability"]))
        last = "probability"
    elif isinstance(estimator, IsolationForest):
        # 2^(−E[h] / c(samples)), Liu, Ting & Zhou 2008.
        scale = -1.0 / float(_mean_path(np.array([estimator.max_samples_]))[0])
        constants.append(numpy_helper.from_array(np.array(scale, np.float32), "scale"))
        constants.append(numpy_helper.from_array(np.array(2.0, np.float32), "two"))
        nodes.append(helper.make_node("Mul", [last, "scale"], ["exponent"]))
        nodes.append(helper.make_node("Pow", ["two", "exponent"], ["anomaly"]))
        last = "anomaly"
    nodes.append(helper.make_node("Reshape", [last, "flat"], ["score"]))
    graph = helper.make_graph(
        nodes,
        "securenet",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", columns])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["rows"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*opset) for opset in OPSETS])
    model.ir_version = IR_VERSION
    model.producer_name = "securenet-registry"
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _trees(estimator: Any) -> Iterator[Tree]:
    if isinstance(estimator, HistGradientBoostingClassifier):
        if len(estimator.classes_) != 2:
            raise UnsupportedEstimatorError(f"{len(estimator.classes_)} classes; expected 2")
        for (predictor,) in estimator._predictors:  # noqa: SLF001 - the only way to the fitted trees
            n = predictor.nodes
            if n["is_categorical"].any():
                raise UnsupportedEstimatorError("categorical splits; expected numeric ones")
            yield Tree(
                feature=n["feature_idx"].astype(np.int64),
                threshold=n["num_threshold"].astype(np.float64),
                left=n["left"].astype(np.int64),
                right=n["right"].astype(np.int64),
                missing_left=n["missing_go_to_left"].astype(np.bool_),
                leaf=n["is_leaf"].astype(np.bool_),
                value=n["value"].astype(np.float64),
                cover=n["count"].astype(np.float64),
            )
    elif isinstance(estimator, RandomForestClassifier):
        if list(estimator.classes_) != [0, 1]:
            raise UnsupportedEstimatorError(f"classes {list(estimator.classes_)}; expected [0, 1]")
        for member in estimator.estimators_:
            votes = member.tree_.value[:, 0, :]
            yield _of_tree(member.tree_, np.arange(estimator.n_features_in_), votes[:, 1] / votes.sum(axis=1))
    elif isinstance(estimator, IsolationForest):
        for member, chosen in zip(estimator.estimators_, estimator.estimators_features_, strict=True):
            tree = member.tree_
            yield _of_tree(tree, np.asarray(chosen), _depth(tree) + _mean_path(tree.n_node_samples))
    else:
        raise UnsupportedEstimatorError(
            f"{type(estimator).__name__}; expected a histogram gradient boosting, random forest or isolation forest"
        )


def _of_tree(tree: Any, columns: NDArray[np.int64], value: NDArray[np.float64]) -> Tree:
    leaf = tree.children_left < 0
    return Tree(
        feature=columns[np.where(leaf, 0, tree.feature)].astype(np.int64),
        threshold=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        missing_left=tree.missing_go_to_left.astype(np.bool_),
        leaf=leaf,
        value=value,
        cover=tree.weighted_n_node_samples.astype(np.float64),
    )


def _depth(tree: Any) -> NDArray[np.float64]:
    """Edges from the root to each node; scikit-learn numbers parents before children."""
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):
        if tree.children_left[node] >= 0:
            depth[tree.children_left[node]] = depth[tree.children_right[node]] = depth[node] + 1
    return depth


def _mean_path(samples: NDArray[Any]) -> NDArray[np.float64]:
    """c(n) = 2 (ln(n − 1) + γ) − 2 (n − 1) / n; 1 for two and 0 for one (Liu, Ting & Zhou 2008, eq. 1)."""
    n = np.asarray(samples, np.float64)
    safe = np.maximum(n, 3.0)
    many = 2.0 * (np.log(safe - 1.0) + _EULER) - 2.0 * (safe - 1.0) / safe
    return np.where(n <= 1, 0.0, np.where(n <= 2, 1.0, many))


def _ensemble(trees: list[Tree], estimator: Any) -> onnx.NodeProto:
    sizes = [len(tree.leaf) for tree in trees]
    leaf = np.concatenate([tree.leaf for tree in trees])
    tree_ids = np.repeat(np.arange(len(trees)), sizes)
    node_ids = np.concatenate([np.arange(size) for size in sizes])

    def inner(name: str) -> NDArray[Any]:
        return np.where(leaf, 0, np.concatenate([getattr(tree, name) for tree in trees]))

    boosting = isinstance(estimator, HistGradientBoostingClassifier)
    base = float(np.ravel(estimator._baseline_prediction)[0]) if boosting else 0.0  # noqa: SLF001 - fitted state
    values = np.concatenate([tree.value for tree in trees])
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["features"],
        ["raw"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM" if boosting else "AVERAGE",
        base_values=[base],
        post_transform="NONE",
        nodes_treeids=tree_ids.tolist(),
        nodes_nodeids=node_ids.tolist(),
        nodes_featureids=inner("feature").tolist(),
        nodes_values=inner("threshold").astype(np.float32).tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_truenodeids=inner("left").tolist(),
        nodes_falsenodeids=inner("right").tolist(),
        nodes_hitrates=np.concatenate([tree.cover for tree in trees]).astype(np.float32).tolist(),
        nodes_missing_value_tracks_true=inner("missing_left").astype(np.int64).tolist(),
        target_treeids=tree_ids[leaf].tolist(),
        target_nodeids=node_ids[leaf].tolist(),
        target_ids=np.zeros(int(leaf.sum()), np.int64).tolist(),
        target_weights=values[leaf].astype(np.float32).tolist(),
    )
