"""Models that this registry trained, in their joblib form: listed by tenant, and found only where they verify.

An uploaded model has no such form and never gets one: opening joblib runs whatever the file says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from securenet_core.exceptions import DataLossError, NotFoundError
from securenet_registry.artifacts.manifest import ArtifactFile, Manifest
from securenet_registry.artifacts.signing import Signer
from securenet_registry.artifacts.store import ArtifactStore

#: Path of the joblib form below a version.
JOBLIB: Final = "model.joblib"


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A joblib form whose manifest was verified; its bytes are not, until they are read.

    Attributes:
        resource: models/{model}/versions/{version}.
        file: its path, size and digest, as they were signed.
        place: where its bytes lie.
        runtime: versions of the libraries that wrote it.
        golden: rows with their scores, see :class:`~securenet_registry.artifacts.manifest.Golden`; None where it has
            none.
    """

    resource: str
    file: ArtifactFile
    place: Path
    runtime: Mapping[str, str]
    golden: Mapping[str, Any] | None


class TrainedModels:
    """The joblib forms in the artifact storage."""

    def __init__(self, artifacts: ArtifactStore, signer: Signer) -> None:
        self._artifacts = artifacts
        self._signer = signer

    def models(self, tenant: str) -> Sequence[TrainedModel]:
        """Those of a tenant, by model and version.

        Raises:
            DataLossError: a manifest is not the one that was signed.
        """
        found = (self._look(tenant, model, version) for model, version in self._artifacts.versions(tenant))
        return [model for model in found if model is not None]

    def find(self, tenant: str, model: str, version: int) -> TrainedModel:
        """That of one version.

        Raises:
            NotFoundError: the version has none: it was uploaded, or its bytes are of an earlier release.
            DataLossError: its manifest is missing or is not the one that was signed, or the bytes are not there.
        """
        found = self._look(tenant, model, version)
        if found is None:
            raise NotFoundError(
                f"models/{model}/versions/{version}: it has no joblib form; only what this registry trained has one",
                reason="NO_JOBLIB_FORM",
            )
        return found

    def _look(self, tenant: str, model: str, version: int) -> TrainedModel | None:
        resource = f"models/{model}/versions/{version}"
        signed = self._artifacts.manifest(tenant, model, version)
        if not self._signer.verify(signed.manifest, signed.signature):
            raise DataLossError(f"{resource}: its manifest was changed", reason="MANIFEST_CHANGED")
        manifest = Manifest.decode(signed.manifest)
        if (manifest.tenant, manifest.model, manifest.version) != (tenant, model, version):
            raise DataLossError(f"{resource}: its manifest is another version's", reason="MANIFEST_CHANGED")
        file = manifest.file(JOBLIB)
        # A signature alone does not say who made the bytes: uploads are signed as well, once they were checked.
        if file is None or "training" not in manifest.lineage:
            return None
        return TrainedModel(resource, file, self._artifacts.local_path(file.digest), manifest.runtime, manifest.golden)
