"""What the model registry answers, as records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ModelAlias:
    """A name that points at a version; `generation` rises by one at each move."""

    alias: str
    version: int
    generation: int
    update_time: datetime | None
    updated_by: str
    previous_version: int


@dataclass(frozen=True, slots=True)
class Model:
    """A named line of versions."""

    name: str
    description: str
    aliases: tuple[ModelAlias, ...]
    latest_version: int
    version_count: int
    create_time: datetime | None
    update_time: datetime | None
    tags: dict[str, str]

    @property
    def id(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]

    def alias(self, alias: str = "champion") -> ModelAlias | None:
        """Where an alias points; None where it does not."""
        return next((found for found in self.aliases if found.alias == alias and found.version), None)


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that was measured of a version; `dataset` is empty for all of the evaluation data."""

    name: str
    value: float
    dataset: str


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """One file of a version; `digest` is SHA-256 in hexadecimal."""

    path: str
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One trained or uploaded model."""

    name: str
    version: int
    state: str
    state_detail: str
    format: str
    digest: str
    size_bytes: int
    files: tuple[ArtifactFile, ...]
    feature_schema_hash: str
    metrics: tuple[Metric, ...]
    params: dict[str, str]
    tags: dict[str, str]
    sample_count: int
    run_id: str
    aliases: tuple[str, ...]
    created_by: str
    create_time: datetime | None
    runtime: dict[str, str]
    description: str

    @property
    def model(self) -> str:
        """The model's own name, without `models/`."""
        return self.name.split("/")[1]

    def overall_metrics(self) -> dict[str, float]:
        """Metrics over all of the evaluation data, by name."""
        return {metric.name: metric.value for metric in self.metrics if not metric.dataset}


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition of a promotion."""

    name: str
    passed: bool
    measured: str
    required: str


@dataclass(frozen=True, slots=True)
class Promotion:
    """One move of an alias, done or asked for."""

    name: str
    alias: str
    from_version: int
    to_version: int
    state: str
    generation: int
    gates: tuple[Gate, ...]
    requested_by: str
    decided_by: str
    reason: str
    rollback: bool
    create_time: datetime | None
    decide_time: datetime | None


@dataclass(frozen=True, slots=True)
class Training:
    """One training; `model_version` once it has succeeded."""

    name: str
    state: str
    error: str
    model_version: ModelVersion | None
    created_by: str
    create_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in {"succeeded", "failed", "cancelled"}


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """One step of a training; `training` in the first and the last, and whenever its state changes."""

    seq: int
    phase: str
    fraction: float
    rows_read: int
    message: str
    metrics: tuple[Metric, ...]
    training: Training | None
    elapsed: float | None


@dataclass(frozen=True, slots=True)
class Signature:
    """Who vouches for a manifest."""

    value: bytes
    key_id: str
    bundle: str


@dataclass(frozen=True, slots=True)
class DownloadHeader:
    """What a download sends: the version, the file, and the signed manifest."""

    model_version: ModelVersion | None
    file: ArtifactFile | None
    manifest: bytes
    signature: Signature | None


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One entry of the audit log."""

    sequence: int
    create_time: datetime | None
    actor: str
    action: str
    resource: str
    detail: str
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class AuditVerification:
    """What a walk along the audit log's hashes found; `head_hash` is to be kept elsewhere."""

    valid: bool
    entries: int
    first_invalid_sequence: int
    detail: str
    head_hash: str


@dataclass(frozen=True, slots=True)
class CollectedGarbage:
    """What a collection found that no version refers to, or removed.

    Attributes:
        bytes: of all blobs.
        digests: of at most 1,000 of them, SHA-256 in hexadecimal.
        grace: least age of what goes, seconds.
    """

    blobs: int
    bytes: int
    digests: tuple[str, ...]
    grace: float


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One metric of several versions, in their order; NaN where a version has none."""

    name: str
    dataset: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """Versions side by side, a row a metric that was measured on the same data."""

    model_versions: tuple[ModelVersion, ...]
    metrics: tuple[MetricComparison, ...]


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """One change of a model: version-registered, alias-moved, version-deleted, model-deleted and so on."""

    revision: int
    model: str
    kind: str
    alias: ModelAlias | None
    version: int
    create_time: datetime | None


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """A model as it is; None where there is none of that name."""

    model: Model | None


@dataclass(frozen=True, slots=True)
class ModelUpdate:
    """What a watcher hears: all there is, a change, or neither, which is a sign of life."""

    revision: int
    snapshot: ModelSnapshot | None
    event: ModelEvent | None


@dataclass(frozen=True, slots=True)
class ServingReport:
    """What one consumer says that it serves; version 0 is none. `state`: loaded, or failed with `detail`."""

    consumer: str
    model: str
    alias: str
    generation: int
    version: int
    state: str
    detail: str
    report_time: datetime | None


@dataclass(frozen=True, slots=True)
class Convergence:
    """Whether every consumer that reported lately follows an alias."""

    generation: int
    converged: bool
    reports: tuple[ServingReport, ...]


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload by its key: what is stored, or the version that it became."""

    name: str
    committed_bytes: int
    size_bytes: int
    model_version: ModelVersion | None
    expire_time: datetime | None
