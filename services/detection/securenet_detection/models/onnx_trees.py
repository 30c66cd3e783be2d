"""Reads the trees out of an ONNX file of the form that the registry writes.

The `onnx` package is not needed for it: the few messages that matter are described here, for protobuf's own parser,
by the field numbers of ONNX's public schema (onnx/onnx.proto); whatever else a file holds is passed over.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from securenet_detection.models.trees import TreeEnsemble

_Field = descriptor_pb2.FieldDescriptorProto

#: What may follow the ensemble: a rising or falling function of its sum, a row at a time.
_AFTER: Final = frozenset({"Sigmoid", "Mul", "Pow", "Reshape"})

#: By message: name, number, type, and the message that it holds.
_FIELDS: Final = {
    "Attribute": (
        ("name", 1, _Field.TYPE_STRING, ""),
        ("i", 3, _Field.TYPE_INT64, ""),
        ("s", 4, _Field.TYPE_BYTES, ""),
    ),
    "Node": (("op_type", 4, _Field.TYPE_STRING, ""),),
    "Graph": (),
    "Model": (("graph", 7, _Field.TYPE_MESSAGE, "Graph"),),
}
_REPEATED: Final = {
    "Attribute": (
        ("floats", 7, _Field.TYPE_FLOAT, ""),
        ("ints", 8, _Field.TYPE_INT64, ""),
        ("strings", 9, _Field.TYPE_BYTES, ""),
    ),
    "Node": (("attribute", 5, _Field.TYPE_MESSAGE, "Attribute"),),
    "Graph": (("node", 1, _Field.TYPE_MESSAGE, "Node"),),
    "Model": (),
}


def read_trees(data: bytes, columns: int) -> TreeEnsemble:
    """The trees of an ONNX model.

    Args:
        data: the file.
        columns: of the feature matrix.

    Raises:
        ValueError: it is not one ensemble of trees with thresholds and leaves of one value; what it is instead.
    """
    model = _model_class()()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ValueError(f"no ONNX model: {error}") from error
    nodes = list(model.graph.node)
    if not nodes or nodes[0].op_type != "TreeEnsembleRegressor" or any(n.op_type not in _AFTER for n in nodes[1:]):
        raise ValueError(f"a graph of {', '.join(n.op_type for n in nodes[:8])[:120]}; expected one ensemble of trees")
    try:
        return _ensemble({attribute.name: attribute for attribute in nodes[0].attribute}, columns)
    except (KeyError, IndexError) as error:
        raise ValueError(f"trees: {error}") from error


def _ensemble(given: dict[str, Any], columns: int) -> TreeEnsemble:
    tree_ids = _ints(given, "nodes_treeids")
    count = len(tree_ids)
    starts = np.flatnonzero(np.diff(tree_ids, prepend=-1) != 0)
    sizes = np.diff(np.append(starts, count))
    offset = np.repeat(starts, sizes)
    if (_ints(given, "nodes_nodeids") + offset != np.arange(count)).any() or len(set(tree_ids[starts].tolist())) != len(
        starts
    ):
        raise ValueError("trees: nodes are not numbered one after another")
    modes = np.array(list(given["nodes_modes"].strings), np.bytes_)
    leaf = modes == b"LEAF"
    if not (leaf | (modes == b"BRANCH_LEQ")).all() or len(leaf) != count:
        raise ValueError("trees: a branch that is not ≤")
    if "nodes_missing_value_tracks_true" in given:
        missing_left = _ints(given, "nodes_missing_value_tracks_true") > 0
    else:
        missing_left = np.zeros(count, np.bool_)
    value = np.zeros(count)
    start_of = dict(zip(tree_ids[starts].tolist(), starts.tolist(), strict=True))
    targets = np.array([start_of[tree] for tree in _ints(given, "target_treeids").tolist()], np.int64)
    np.add.at(value, targets + _ints(given, "target_nodeids"), np.asarray(given["target_weights"].floats, np.float64))
    mean = "aggregate_function" in given and given["aggregate_function"].s == b"AVERAGE"
    bases = list(given["base_values"].floats) if "base_values" in given else []
    covers = list(given["nodes_hitrates"].floats) if "nodes_hitrates" in given else []
    return TreeEnsemble(
        roots=starts,
        feature=_ints(given, "nodes_featureids"),
        threshold=np.asarray(given["nodes_values"].floats, np.float32),
        left=np.where(leaf, -1, _ints(given, "nodes_truenodeids") + offset),
        right=np.where(leaf, -1, _ints(given, "nodes_falsenodeids") + offset),
        missing_left=missing_left,
        value=value / len(starts) if mean else value,
        cover=np.asarray(covers, np.float64) if covers else None,
        base=bases[0] if bases else 0.0,
        columns=columns,
    )


def _ints(given: dict[str, Any], name: str) -> NDArray[np.int64]:
    return np.asarray(given[name].ints, np.int64)


@cache
def _model_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="securenet_onnx.proto", package="onnx", syntax="proto2")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for label, group in ((_Field.LABEL_OPTIONAL, fields), (_Field.LABEL_REPEATED, _REPEATED[name])):
            for field, number, kind, held in group:
                entry = message.field.add(name=field, number=number, type=kind, label=label)
                if held:
                    entry.type_name = f".onnx.{held}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("onnx.Model"))
