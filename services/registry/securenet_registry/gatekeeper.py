"""Looks whether a version may serve: every condition, with what was measured and what is required."""

from __future__ import annotations

from collections.abc import Sequence

from securenet_core.exceptions import DataLossError
from securenet_registry.artifacts.manifest import Manifest
from securenet_registry.artifacts.signing import Signer
from securenet_registry.artifacts.store import ArtifactStore
from securenet_registry.artifacts.trained import JOBLIB, TrainedModels
from securenet_registry.model import Gate, ModelVersion, VersionState
from securenet_registry.training.reopening import Reopener


class Gatekeeper:
    """Looks whether a version may serve.

    Args:
        schema_hash: of the feature schema that serving knows.
        reopener: opens the joblib form of what was trained here.
    """

    def __init__(self, artifacts: ArtifactStore, signer: Signer, schema_hash: str, reopener: Reopener) -> None:
        self._artifacts = artifacts
        self._signer = signer
        self._schema_hash = schema_hash
        self._reopener = reopener
        self._trained = TrainedModels(artifacts, signer)

    def check(self, version: ModelVersion, serves: ModelVersion | None) -> tuple[Gate, ...]:
        """Every gate, in order. Reads all bytes of the version, so it belongs in a thread.

        Args:
            version: that is to serve.
            serves: what consumers have now, None where they have nothing.
        """
        ready = Gate("state", version.state is VersionState.READY, version.state.value, VersionState.READY.value)
        integrity, manifest = self._integrity(version)
        if manifest is None:
            return (ready, integrity)
        return (
            ready,
            integrity,
            *self._reopened(version, manifest),
            *self._serving(manifest),
            *self._same_kind(manifest, serves),
        )

    def check_integrity(self, version: ModelVersion) -> tuple[Gate, ...]:
        """Signature and digests alone, as for a rollback to what served before."""
        return (self._integrity(version)[0],)

    def _integrity(self, version: ModelVersion) -> tuple[Gate, Manifest | None]:
        required = "a manifest signed by this registry, and every file's digest as it says"
        try:
            signed = self._artifacts.manifest(version.tenant, version.model, version.version)
            if not self._signer.verify(signed.manifest, signed.signature):
                return Gate(
                    "signature", False, f"signature of key {signed.key_id[:16]} does not verify", required
                ), None
            manifest = Manifest.decode(signed.manifest)
        except DataLossError as error:
            return Gate("signature", False, error.message, required), None
        if (manifest.tenant, manifest.model, manifest.version) != (version.tenant, version.model, version.version):
            return Gate("signature", False, "the manifest is another version's", required), None
        for file in manifest.files:
            if not self._artifacts.verify(file.digest):
                return Gate("signature", False, f"{file.path}: its bytes are missing or changed", required), None
        return Gate("signature", True, f"{len(manifest.files)} files verified", required), manifest

    def _reopened(self, version: ModelVersion, manifest: Manifest) -> Sequence[Gate]:
        if manifest.file(JOBLIB) is None:
            return ()
        problem = self._reopener.problem(self._trained.find(version.tenant, version.model, version.version))
        return (Gate("joblib-form", not problem, problem or "opens", "a joblib form that gives the golden scores"),)

    def _serving(self, manifest: Manifest) -> Sequence[Gate]:
        serving = manifest.serving is not None and manifest.file(manifest.serving["file"]) is not None
        try:
            calibrated = manifest.table() is not None
            calibration = "a table" if calibrated else "none"
        except ValueError as error:
            calibrated, calibration = False, str(error)
        known = manifest.feature_schema_hash == self._schema_hash
        return (
            Gate("serving-form", serving, "agrees" if serving else "none", "an ONNX form that agrees with the source"),
            Gate(
                "golden-batch", manifest.golden is not None, "there" if manifest.golden else "none", "rows with scores"
            ),
            Gate("calibration", calibrated, calibration, "a table from raw score to probability"),
            Gate("feature-schema", known, manifest.feature_schema_hash[:16] or "unknown", self._schema_hash[:16]),
        )

    def _same_kind(self, manifest: Manifest, serves: ModelVersion | None) -> Sequence[Gate]:
        """Consumers of a probability would refuse a tail of an anomaly score, and the other way round."""
        if manifest.serving is None or serves is None:
            return ()
        try:
            now = Manifest.decode(
                self._artifacts.manifest(serves.tenant, serves.model, serves.version).manifest
            ).serving
        except DataLossError:
            # What serves was damaged since: that must not keep a sound version from taking its place.
            return ()
        if now is None:
            return ()
        kind, wanted = str(manifest.serving["kind"]), str(now["kind"])
        return (Gate("score-kind", kind == wanted, kind, f"{wanted}, as the version that serves now"),)
