"""Models in ONNX Runtime: the only form that detection opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from securenet_detection.models.interface import ModelRejectedError


class OnnxClassifier:
    """A session on one thread: it runs inline, where the flows are.

    Args:
        session: opened.
        input_name, output_name: of the graph.
    """

    def __init__(self, session: Any, input_name: str, output_name: str) -> None:
        self._session = session
        self._input = input_name
        self._outputs = [output_name]

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Raw probability of the malicious class, float64 (n,)."""
        (scores,) = self._session.run(self._outputs, {self._input: features})
        return np.asarray(scores, np.float64).reshape(len(features))


def load_onnx(path: Path, *, input_name: str, output_name: str, columns: int) -> OnnxClassifier:
    """Opens an ONNX file that takes float32 (n, columns) and gives one score a row.

    Raises:
        ModelRejectedError: it cannot be opened, or takes or gives something else.
    """
    import onnxruntime  # noqa: PLC0415 - 20 MB, which only a service with a model needs

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime raises whatever its C++ side did; none of it is worth more than "cannot be opened".
        raise ModelRejectedError(f"ONNX Runtime: {str(error)[:200]}", reason="UNREADABLE") from error
    inputs = {given.name: given for given in session.get_inputs()}
    outputs = {given.name for given in session.get_outputs()}
    if list(inputs) != [input_name] or output_name not in outputs:
        raise ModelRejectedError(
            f"the graph takes {sorted(inputs)} and gives {sorted(outputs)}; expected {input_name} and {output_name}"
        )
    wanted = inputs[input_name]
    if wanted.type != "tensor(float)" or len(wanted.shape) != 2 or wanted.shape[1] != columns:
        raise ModelRejectedError(f"the graph takes {wanted.type} {wanted.shape}; expected float32 (n, {columns})")
    classifier = OnnxClassifier(session, input_name, output_name)
    try:
        classifier.scores(np.zeros((2, columns), np.float32))
    except Exception as error:
        raise ModelRejectedError(f"ONNX Runtime: {str(error)[:200]}", reason="UNREADABLE") from error
    return classifier


def warm_up() -> None:
    """Loads the runtime, which holds the interpreter for a tenth of a second: before calls come, not with a model."""
    import onnxruntime  # noqa: F401, PLC0415 - as above
