"""Versions of what a model depends on."""

from __future__ import annotations

import platform
from importlib.metadata import version as installed
from typing import Final

_LIBRARIES: Final = ("scikit-learn", "numpy", "joblib", "skops", "onnx", "onnxruntime")


def runtime() -> dict[str, str]:
    """Version by name: of Python, and of the libraries that fit, store and serve."""
    return {"python": platform.python_version(), **{name: installed(name) for name in _LIBRARIES}}
