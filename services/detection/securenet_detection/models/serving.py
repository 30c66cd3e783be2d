"""Which model scores now."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from securenet_detection.models.calibration import Calibration, OperatingPoints
from securenet_detection.models.contributions import RowExplainer
from securenet_detection.models.distribution import FeatureSpread
from securenet_detection.models.interface import Classifier, ModelReference


@dataclass(frozen=True, slots=True, eq=False)
class ServingModel:
    """A model that passed its checks.

    Attributes:
        since_ns: when it began to score, nanoseconds since the epoch.
        load_seconds: how long download, checks and warm-up took.
        generation: of the alias.
        explainer: says why it gave a score; None where that cannot be told.
        spread: of the features of the training, a column each; empty where the manifest does not say.
        limitations: what cannot be told of it, and why.
    """

    reference: ModelReference
    classifier: Classifier
    calibration: Calibration
    points: OperatingPoints
    schema_hash: str
    generation: int
    since_ns: int
    load_seconds: float
    explainer: RowExplainer | None = None
    limitations: tuple[str, ...] = ()
    spread: tuple[FeatureSpread, ...] = ()

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated probability that each flow is malicious, float64 (n,); of an anomaly model the share of ordinary
        flows that score lower.
        """
        return self.calibration.apply(self.classifier.scores(features))


class ModelSlot:
    """Holds the model that scores and the one before it. Swapping is one assignment, seen by the next batch."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._models: tuple[ServingModel | None, ServingModel | None] = (None, None)
        self._detail = "no model yet"

    @property
    def current(self) -> ServingModel | None:
        """The model that scores."""
        return self._models[0]

    @property
    def previous(self) -> ServingModel | None:
        """The model that scored before, kept loaded for a rollback."""
        return self._models[1]

    @property
    def detail(self) -> str:
        """Why there is no model, or why the latest promotion is not followed; empty when all is well."""
        return self._detail

    def swap(self, model: ServingModel) -> None:
        """Makes `model` score from the next batch on."""
        with self._lock:
            self._models = (model, self._models[0])
            self._detail = ""

    def explain(self, detail: str) -> None:
        """Says why things are as they are."""
        self._detail = detail
