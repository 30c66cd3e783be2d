"""Versions that a training goes out from: what it needs of them, verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from securenet_core.exceptions import DataLossError, FailedPreconditionError
from securenet_registry.artifacts.manifest import Manifest
from securenet_registry.artifacts.signing import Signer
from securenet_registry.artifacts.store import ArtifactStore
from securenet_registry.model import ModelVersion

#: Input and output of the form for serving that this registry makes.
_SERVING: Final = ("features", "score")


@dataclass(frozen=True, slots=True)
class Base:
    """A version that is adapted.

    Attributes:
        version: as the registry knows it.
        manifest: signed.
        files: where its bytes lie, by their paths below the version.
    """

    version: ModelVersion
    manifest: Manifest
    files: Mapping[str, Path]

    def job(self) -> dict[str, Any]:
        """What the worker needs."""
        serving = self.manifest.serving or {}
        return {
            "onnx": str(self.files[serving["file"]]),
            "kind": serving["kind"],
            "calibration": self.manifest.calibration,
            "thresholds": list(self.manifest.thresholds),
        }


class Bases:
    """Finds them in the artifact storage."""

    def __init__(self, artifacts: ArtifactStore, signer: Signer) -> None:
        self._artifacts = artifacts
        self._signer = signer

    def open(self, version: ModelVersion) -> Base:
        """A version with its files. Reads all of its bytes, so it belongs in a thread.

        Raises:
            DataLossError: manifest or bytes are not what was signed.
            FailedPreconditionError: it cannot be served, so there is nothing to adapt.
        """
        signed = self._artifacts.manifest(version.tenant, version.model, version.version)
        if not self._signer.verify(signed.manifest, signed.signature):
            raise DataLossError(f"{version.resource}: its manifest was changed", reason="MANIFEST_CHANGED")
        manifest = Manifest.decode(signed.manifest)
        for file in manifest.files:
            if not self._artifacts.verify(file.digest):
                raise DataLossError(f"{version.resource}: {file.path}: its bytes are missing or changed")
        serving = manifest.serving
        if serving is None or manifest.calibration is None or (serving["input"], serving["output"]) != _SERVING:
            raise FailedPreconditionError(
                f"{version.resource}: it has no calibrated form for serving; expected one that was trained here",
                reason="NOT_ADAPTABLE",
            )
        files = {file.path: self._artifacts.local_path(file.digest) for file in manifest.files}
        return Base(version, manifest, files)
