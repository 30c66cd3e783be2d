"""What a model is to the engine, and where models come from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from securenet_core.exceptions import FailedPreconditionError


class ModelRejectedError(FailedPreconditionError):
    """A model version cannot be served: unverified, unreadable, or not what its manifest says."""


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model version: resource name, alias that it was found by, SHA-256 of the artifact in hexadecimal."""

    name: str
    alias: str
    digest: str


class Classifier(Protocol):
    """A loaded model."""

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Raw probability of the malicious class, float64 (n,), of a feature matrix (n, columns)."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What an alias points at since a generation."""

    name: str
    alias: str
    generation: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """A downloaded model version, bytes verified against the manifest.

    Attributes:
        promotion: what asked for it.
        digest: SHA-256 of the served file, hexadecimal.
        path: the file.
        manifest: what the registry says of it.
    """

    promotion: Promotion
    digest: str
    path: Path
    manifest: dict[str, Any] = field(default_factory=dict)


class ModelSource(Protocol):
    """Where models come from. Errors are SecurenetError."""

    def promotions(self) -> AsyncIterator[Promotion | None]:
        """The alias as it stands, then each change; None while it points at nothing. Ends only by an error."""

    async def fetch(self, promotion: Promotion) -> Artifact:
        """Downloads and verifies."""

    async def report(self, promotion: Promotion, *, loaded: bool, detail: str) -> None:
        """Tells the registry what is served."""
