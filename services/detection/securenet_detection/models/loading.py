"""From a verified artifact to a model that may score: every promise of its manifest is checked by running it."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from securenet_detection.models.calibration import Calibration, OperatingPoints
from securenet_detection.models.contributions import Explainer, RowExplainer
from securenet_detection.models.distribution import read_distribution
from securenet_detection.models.interface import (
    Artifact,
    Classifier,
    ClassifierLoader,
    ModelReference,
    ModelRejectedError,
    Promotion,
    TreeReader,
)
from securenet_detection.models.paths import PathExplainer
from securenet_detection.models.serving import ServingModel
from securenet_detection.models.tree_scorer import faster
from securenet_detection.models.trees import TreeEnsemble

Part = TypeVar("Part")

#: What says why a flow got its score, by the kind of score.
_EXPLAINERS: Final[Mapping[str, Callable[[TreeEnsemble, Sequence[str], NDArray[np.float64]], RowExplainer]]] = {
    "probability": Explainer,
    "anomaly": PathExplainer,
}

#: Rows of a golden batch at most.
_GOLDEN_ROWS: Final = 65_536

#: Largest disagreement with the golden batch that any manifest may allow.
_TOLERANCE: Final = 1e-4

#: Sizes of batches that the model is warmed up with.
_WARM_UP: Final = (1, 128, 4096)


def load_model(
    artifact: Artifact,
    promotion: Promotion,
    *,
    load: ClassifierLoader,
    trees: TreeReader,
    schema_hash: str,
    names: Sequence[str],
    begun: float,
    kind: str = "probability",
    clock_ns: Callable[[], int] = time.time_ns,
) -> ServingModel:
    """A model that was opened, found to agree with its golden batch, and warmed up. Blocks.

    Args:
        artifact: verified bytes.
        promotion: what asked for it.
        load: opens the file.
        trees: reads the trees in it.
        schema_hash: of the features that are computed here.
        names: of these features, a column each.
        begun: `time.monotonic()` when the download began.
        kind: of score that is wanted: probability, or anomaly.
        clock_ns: now.

    Raises:
        ModelRejectedError: something is not as the manifest says, or cannot be served here.
    """
    manifest, columns = artifact.manifest, len(names)
    theirs = manifest.get("feature_schema_hash")
    if theirs != schema_hash:
        raise ModelRejectedError(
            f"features: trained on schema {str(theirs)[:16]}, computed here is {schema_hash[:16]}",
            reason="FEATURE_SCHEMA_MISMATCH",
        )
    serving = _object(manifest, "serving")
    if serving.get("file") != artifact.file:
        raise ModelRejectedError(f"{artifact.file} is not the form for serving", reason="NOT_FOR_SERVING")
    if serving.get("kind") != kind:
        raise ModelRejectedError(f"serving: kind {serving.get('kind')!r}; expected {kind!r}", reason="WRONG_KIND")
    calibration = Calibration.read(_object(manifest, "calibration"))
    points = OperatingPoints.read(manifest.get("thresholds") or [], captures_held_out=_captures_held_out(manifest))
    classifier = load(
        artifact.path,
        input_name=str(serving.get("input")),
        output_name=str(serving.get("output")),
        columns=columns,
    )
    golden = _object(manifest, "golden")
    features = _golden_features(golden, columns)
    _agree(classifier, features, golden)
    limitations: list[str] = []
    ensemble = _attempt(lambda: trees(artifact.path.read_bytes(), columns), limitations, "contributions")
    if ensemble is not None:
        classifier = faster(classifier, ensemble, features)
        _agree(classifier, features, golden)
    for rows in _WARM_UP:
        classifier.scores(np.resize(features, (rows, columns)))
    spread = _attempt(
        lambda: read_distribution(manifest.get("distribution"), names), limitations, "drift and baselines"
    )
    medians = np.array([feature.median for feature in spread]) if spread else np.full(columns, np.nan)
    explainer = (
        None
        if ensemble is None
        else _attempt(partial(_EXPLAINERS[kind], ensemble, names, medians), limitations, "contributions")
    )
    if explainer is not None:
        explainer.values(features[:1])
    return ServingModel(
        reference=ModelReference(artifact.name, promotion.alias, artifact.digest),
        classifier=classifier,
        calibration=calibration,
        points=points,
        schema_hash=schema_hash,
        generation=promotion.generation,
        since_ns=clock_ns(),
        load_seconds=time.monotonic() - begun,
        explainer=explainer,
        limitations=tuple(limitations),
        spread=spread or (),
    )


def _attempt(make: Callable[[], Part], limitations: list[str], what: str) -> Part | None:
    """A part that a model may lack; why it does is noted."""
    try:
        return make()
    except ValueError as error:
        limitations.append(f"no {what}: {error}")
        return None


def _object(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = manifest.get(name)
    if not isinstance(value, Mapping):
        raise ModelRejectedError(f"{name}: the manifest has none, so the model is not served", reason="INCOMPLETE")
    return value


def _captures_held_out(manifest: Mapping[str, Any]) -> bool:
    lineage = manifest.get("lineage")
    return isinstance(lineage, Mapping) and lineage.get("split") == "capture"


def _golden_features(golden: Mapping[str, Any], columns: int) -> NDArray[np.float32]:
    shape = golden.get("shape")
    try:
        data = base64.b64decode(str(golden.get("features")), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ModelRejectedError(f"golden.features: {error}") from error
    rows = shape[0] if isinstance(shape, list) and len(shape) == 2 else 0
    if not isinstance(rows, int) or not 1 <= rows <= _GOLDEN_ROWS or len(data) != rows * columns * 4:
        raise ModelRejectedError(f"golden: shape {shape} and {len(data)} bytes; expected (rows, {columns}) float32")
    return np.frombuffer(data, "<f4").reshape(rows, columns).astype(np.float32)


def _agree(classifier: Classifier, features: NDArray[np.float32], golden: Mapping[str, Any]) -> None:
    try:
        expected = np.asarray(golden.get("raw"), np.float64)
        tolerance = min(float(golden.get("tolerance", 1e-5)), _TOLERANCE)
    except (TypeError, ValueError) as error:
        raise ModelRejectedError(f"golden.raw: {error}; expected numbers") from error
    if expected.shape != (len(features),):
        raise ModelRejectedError(f"golden.raw: shape {expected.shape}; expected ({len(features)},)")
    worst = float(np.max(np.abs(classifier.scores(features) - expected)))
    if not worst <= tolerance:
        raise ModelRejectedError(
            f"scores of the golden batch differ by {worst:.3g}; at most {tolerance:.3g} is allowed",
            reason="GOLDEN_MISMATCH",
        )
