"""Whether a form for serving gives the scores of the source form."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

#: Largest difference of a raw score between source and serving form.
TOLERANCE: Final = 1e-5


def onnx_scores(data: bytes, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Raw scores, float64 (n,), of an ONNX form."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["score"], {"features": x})[0], np.float64).reshape(len(x))


def disagreement(data: bytes, x: NDArray[np.float32], expected: NDArray[np.float64]) -> float:
    """Largest difference between an ONNX form's scores and the expected ones; infinite where one is not finite."""
    gap = np.abs(onnx_scores(data, x) - expected)
    return float(gap.max(initial=0.0)) if np.isfinite(gap).all() else float("inf")
