"""The manifest of a version: everything that a consumer must know before it opens a byte.

The JSON bytes are stored, signed and sent as they are; nobody re-serialises them before checking the signature.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from securenet_core.exceptions import DataLossError
from securenet_registry.training.calibration import Calibration
from securenet_registry.training.evaluation import Metric

#: Kind and version of the document; consumers refuse another major number.
SCHEMA: Final = "securenet.manifest/1"

#: Largest manifest that is read, in bytes.
LIMIT: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """One file of a version: path below the version, size in bytes, SHA-256 in hex."""

    path: str
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Rows with the scores that a faithful copy of the model gives them.

    Attributes:
        features: float32 (rows, columns).
        raw: float64 (rows,), raw scores of the source form.
        tolerance: largest difference of a raw score that counts as agreement.
    """

    features: NDArray[np.float32]
    raw: NDArray[np.float64]
    tolerance: float = 1e-5

    def document(self) -> dict[str, Any]:
        """As in a manifest: little-endian float32 in C order, in base64."""
        return {
            "shape": list(self.features.shape),
            "features": base64.b64encode(self.features.astype("<f4").tobytes()).decode(),
            "raw": self.raw.tolist(),
            "tolerance": self.tolerance,
        }

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Golden:
        """The inverse of :meth:`document`.

        Raises:
            ValueError: shape and bytes do not fit.
        """
        features = np.frombuffer(base64.b64decode(document["features"], validate=True), "<f4")
        raw = np.asarray(document["raw"], np.float64)
        return cls(features.reshape(document["shape"]).astype(np.float32), raw, float(document["tolerance"]))


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is signed of a version.

    Attributes:
        tenant, model, version: which version it is.
        source: path of the source form.
        format: skops or onnx.
        files: every file.
        feature_schema_hash: see :data:`securenet_flows.features.SCHEMA_HASH`; empty where it is not known.
        feature_names: columns of `features`.
        serving: the form for serving: file, input, output, kind of score (probability or anomaly); None where there is
            none that agrees.
        calibration: document of :class:`~securenet_registry.training.calibration.Calibration`, or None.
        golden: document of :class:`Golden`, or None.
        thresholds: score → precision, TPR, FPR on held-out rows.
        distribution: see :func:`~securenet_registry.training.distribution.spread`; None where it is not known.
        metrics: on held-out rows.
        params: of the estimator.
        runtime: versions of the libraries that made it.
        lineage: what it was made from.
        sample_count: rows that it was fitted on.
        created_by: who made it.
        created_at: when, RFC 3339.
    """

    tenant: str
    model: str
    version: int
    source: str
    format: str
    files: Sequence[ArtifactFile]
    feature_schema_hash: str = ""
    feature_names: Sequence[str] = ()
    serving: Mapping[str, str] | None = None
    calibration: Mapping[str, Any] | None = None
    golden: Mapping[str, Any] | None = None
    thresholds: Sequence[Mapping[str, float]] = ()
    distribution: Mapping[str, Any] | None = None
    metrics: Sequence[Metric] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    runtime: Mapping[str, str] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    sample_count: int = 0
    created_by: str = ""
    created_at: str = ""

    def encode(self) -> bytes:
        """The bytes that are stored and signed."""
        document = {"schema": SCHEMA, **asdict(self)}
        return json.dumps(document, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1).encode()

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """From stored bytes whose signature was checked.

        Raises:
            DataLossError: they are no manifest of this kind.
        """
        try:
            document = json.loads(data)
            _check_schema(document.pop("schema", None))
            document["files"] = [ArtifactFile(**file) for file in document["files"]]
            document["metrics"] = [Metric(**metric) for metric in document["metrics"]]
            return cls(**document)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataLossError(f"manifest: {error}") from error

    def file(self, path: str) -> ArtifactFile | None:
        """The file at a path, if the version has it."""
        return next((file for file in self.files if file.path == path), None)

    def table(self) -> Calibration | None:
        """The calibration, if there is one.

        Raises:
            ValueError: it is none.
        """
        return Calibration.of_document(self.calibration) if self.calibration else None


def _check_schema(schema: object) -> None:
    if schema != SCHEMA:
        raise ValueError(f"schema {schema!r}; expected {SCHEMA!r}")
