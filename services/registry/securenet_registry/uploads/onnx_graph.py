"""Opens an uploaded ONNX graph, as far as it is self-contained and only computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

#: Operator sets whose operators do nothing but compute.
DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})

#: Nodes at most, and features at most.
NODES: Final = 10_000
COLUMNS: Final = 4096


class GraphRefusedError(Exception):
    """The graph is refused; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A graph that was opened and gives scores.

    Attributes:
        columns: features that it takes.
        input, output: names.
        output_is_score: the output has one value a row.
        serving: the graph with a single `score` output, where its own output has two classes; else None.
        metadata: what its maker wrote into it.
        session: opened.
    """

    columns: int
    input: str
    output: str
    output_is_score: bool
    serving: bytes | None
    metadata: dict[str, str]
    session: Any

    def score(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Raw scores (n,) of the second class."""
        (values,) = self.session.run([self.output], {self.input: rows})
        raw = np.asarray(values, np.float64)
        raw = raw[:, 1] if raw.ndim == 2 and raw.shape[1] == 2 else raw.reshape(-1)
        if raw.shape != (len(rows),) or not np.isfinite(raw).all():
            raise GraphRefusedError(f"output {self.output} has shape {np.shape(values)}, or values that are not finite")
        if raw.min() < 0 or raw.max() > 1:
            raise GraphRefusedError(f"output {self.output} reaches {raw.min():g} to {raw.max():g}; expected 0 to 1")
        return raw


def open_graph(data: bytes) -> Scored:
    """Opens a graph.

    Raises:
        GraphRefusedError: it refers to other files, uses other operators, or does not map features to scores.
    """
    try:
        model = onnx.load_model_from_string(data)
        _check(model)
        onnx.checker.check_model(model)
        session = _session(data)
    except (DecodeError, onnx.checker.ValidationError, UnicodeDecodeError) as error:
        raise GraphRefusedError(f"no ONNX model: {str(error)[:200]}") from error
    inputs = session.get_inputs()
    shape: list[Any] = list(inputs[0].shape) if len(inputs) == 1 else []
    if len(shape) != 2 or inputs[0].type != "tensor(float)" or not isinstance(shape[1], int):
        raise GraphRefusedError("expected one input, float32 (rows, features) with a fixed number of features")
    if not 1 <= shape[1] <= COLUMNS:
        raise GraphRefusedError(f"{shape[1]} features; expected at most {COLUMNS}")
    output = _score_output(session)
    two_classes = len(output.shape) == 2 and output.shape[1] == 2
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return Scored(
        columns=shape[1],
        input=inputs[0].name,
        output=output.name,
        output_is_score=not two_classes,
        serving=_second_class(model, output.name) if two_classes else None,
        metadata=metadata,
        session=session,
    )


def _check(model: Any) -> None:
    foreign = {opset.domain for opset in model.opset_import} - DOMAINS
    if foreign:
        raise GraphRefusedError(f"operators of {', '.join(sorted(foreign))[:200]}; expected those of ONNX alone")
    if len(model.graph.node) > NODES or model.functions:
        raise GraphRefusedError(f"{len(model.graph.node)} nodes, {len(model.functions)} functions; too many")
    for node in model.graph.node:
        if node.domain not in DOMAINS:
            raise GraphRefusedError(f"operator {node.op_type[:80]} of {node.domain[:80]}; expected those of ONNX alone")
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise GraphRefusedError(f"operator {node.op_type[:80]} holds a graph of its own")
            _check_tensors([attribute.t, *attribute.tensors])
    _check_tensors(model.graph.initializer)
    if model.graph.sparse_initializer:
        raise GraphRefusedError("sparse initializers; expected dense ones")


def _check_tensors(tensors: Any) -> None:
    for tensor in tensors:
        if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
            raise GraphRefusedError(f"tensor {tensor.name[:80]!r} lies in another file")


def _session(data: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime raises whatever its C++ side did.
        raise GraphRefusedError(f"ONNX Runtime: {str(error)[:200]}") from error


def _score_output(session: Any) -> Any:
    floats = [output for output in session.get_outputs() if output.type == "tensor(float)"]
    for output in floats:
        if len(output.shape) == 1 or (len(output.shape) == 2 and output.shape[1] in (1, 2)):
            return output
    raise GraphRefusedError("no output of one score or two classes a row")


def _second_class(model: Any, output: str) -> bytes:
    """The graph with one output, `score`, the second class's."""
    served = onnx.ModelProto()
    served.CopyFrom(model)
    graph = served.graph
    graph.initializer.append(numpy_helper.from_array(np.array(1, np.int64), "securenet_second"))
    graph.node.append(helper.make_node("Gather", [output, "securenet_second"], ["score"], axis=1))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("score", TensorProto.FLOAT, ["rows"]))
    try:
        onnx.checker.check_model(served)
    except onnx.checker.ValidationError as error:
        raise GraphRefusedError(f"no form for serving: {str(error)[:200]}") from error
    return bytes(served.SerializeToString(deterministic=True))
