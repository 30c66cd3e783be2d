"""The joblib form of a trained estimator: opening it runs what the file says, so only bytes of a known digest are."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

import joblib

from securenet_core.exceptions import DataLossError, FailedPreconditionError
from securenet_registry.artifacts.trained import TrainedModel

#: Libraries of which another version reads a file wrongly or not at all.
_EXACT: Final = ("scikit-learn",)

#: zlib at a low level: half of the size for a tenth of the time of a fit.
_COMPRESSION: Final = 3


def dump(estimator: Any, path: Path) -> None:
    """Writes an estimator."""
    joblib.dump(estimator, path, compress=_COMPRESSION)


def load(model: TrainedModel) -> Any:
    """The estimator of a version whose manifest was verified; see
    :meth:`~securenet_registry.artifacts.trained.TrainedModels.find`.

    The bytes are read once, compared with the signed digest, and the same bytes are opened.

    Raises:
        DataLossError: they are missing, or are not those that were signed.
        FailedPreconditionError: another scikit-learn wrote them than is installed here.
    """
    try:
        data = model.place.read_bytes()
    except OSError as error:
        raise DataLossError(f"{model.resource}: {model.file.path}: {error}", reason="BLOB_MISSING") from error
    found = hashlib.sha256(data).hexdigest()
    if found != model.file.digest:
        raise DataLossError(
            f"{model.resource}: {model.file.path} has digest {found}; its signed manifest says {model.file.digest}",
            reason="BLOB_CHANGED",
        )
    _check_runtime(model.resource, model.runtime)
    return joblib.load(io.BytesIO(data))


def _check_runtime(resource: str, runtime: Mapping[str, str]) -> None:
    for library in _EXACT:
        needed, here = runtime.get(library, "unknown"), installed(library)
        if needed != here:
            raise FailedPreconditionError(
                f"{resource}: written by {library} {needed}; installed is {here}: train it again",
                reason="RUNTIME_DIFFERS",
            )
