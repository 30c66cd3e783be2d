"""What a model is to the engine, and where models come from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from securenet_core.exceptions import FailedPreconditionError
from securenet_detection.models.trees import TreeEnsemble


class ModelRejectedError(FailedPreconditionError):
    """A model version cannot be served: unverified, unreadable, or not what its manifest says."""


class ModelReference(NamedTuple):
    """A model version: resource name, alias that it was found by, SHA-256 of the artifact in hexadecimal."""

    name: str
    alias: str
    digest: str


class Classifier(Protocol):
    """A loaded model."""

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Raw probability of the malicious class, float64 (n,), of a feature matrix (n, columns)."""


class ClassifierLoader(Protocol):
    """Opens a verified file."""

    def __call__(self, path: Path, *, input_name: str, output_name: str, columns: int) -> Classifier:
        """The model in the file.

        Raises:
            ModelRejectedError: it cannot be opened, or takes or gives something else.
        """


class TreeReader(Protocol):
    """Reads the trees out of a verified file."""

    def __call__(self, data: bytes, columns: int) -> TreeEnsemble:
        """The trees of a model that takes so many features.

        Raises:
            ValueError: it is no ensemble of trees.
        """


@dataclass(frozen=True, slots=True)
class Promotion:
    """What an alias points at since a generation: resource name of a version."""

    name: str
    alias: str
    generation: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """A downloaded model version, signature and bytes verified.

    Attributes:
        name: resource name of the version, with its number.
        file: path of the served file as the manifest names it.
        digest: SHA-256 of that file, hexadecimal.
        path: where it is.
        manifest: the signed document.
    """

    name: str
    file: str
    digest: str
    path: Path
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DriftSignal:
    """Something has drifted.

    Attributes:
        kind: feature or alert-rate.
        feature: which, of kind feature.
        measured: the index, or the share of alarms now.
        limit: what the index may be, or the share of alarms before.
        time_ns: when it was seen, nanoseconds since the epoch.
        model: resource name of the version that served.
    """

    kind: str
    feature: str
    measured: float
    limit: float
    time_ns: int
    model: str

    def __str__(self) -> str:
        if self.kind == "feature":
            return f"{self.feature}: stability index {self.measured:.2f}; up to {self.limit:g} is usual"
        return f"alert rate: {self.limit:.2%} before, {self.measured:.2%} now"


class ModelSource(Protocol):
    """Where models come from. What goes wrong on the way is a SecurenetError; ModelRejectedError is for good."""

    def promotions(self) -> AsyncIterator[Promotion | None]:
        """The alias as it stands, then each change; None while it points at nothing. Ends only by an error."""

    async def fetch(self, promotion: Promotion) -> Artifact:
        """Downloads and verifies."""

    async def report(self, promotion: Promotion, *, serves: str, detail: str) -> None:
        """Tells the registry which version is served, and why it is not the promoted one; empty where it is."""


class DriftListener(Protocol):
    """Who is told of drift. What goes wrong on the way is a SecurenetError."""

    async def report_drift(self, signals: Sequence[DriftSignal]) -> None:
        """Takes what has drifted, of one version."""
