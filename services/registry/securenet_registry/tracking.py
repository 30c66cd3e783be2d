"""The port to experiment tracking: runs, metrics and the versions that plain MLflow users see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from securenet_registry.artifacts.manifest import Manifest
from securenet_registry.model import ModelVersion, Retraction


@dataclass(frozen=True, slots=True)
class Mirrored:
    """Where a version is kept there: the run, and the number under the model's name."""

    run_id: str
    version: int


class ModelTracking(Protocol):
    """Blocking calls; whoever calls them does so in a thread.

    Every method may raise UnavailableError, which names the tracking URI, where the tool cannot be reached or fails.

    Attributes:
        remote: it is a server, which can be away.
    """

    remote: bool

    def log_version(self, version: ModelVersion, manifest: Manifest, files: Mapping[str, Path]) -> Mirrored:
        """Logs a version as a run with parameters, metrics and files, and registers it. A version that is there
        already, by its tags, is not logged twice."""

    def retract(self, retraction: Retraction) -> None:
        """Removes what was logged of a version, and its model with the last one; nothing where it is gone already."""

    def aliases(self, tenant: str, model: str) -> Mapping[str, int]:
        """Where each alias points, by the tool's numbers."""

    def set_alias(self, tenant: str, model: str, alias: str, version: int) -> None:
        """Points an alias at a version."""

    def delete_alias(self, tenant: str, model: str, alias: str) -> None:
        """Removes an alias."""

    def ping(self) -> str:
        """Asks for a sign of life and answers where it is."""
