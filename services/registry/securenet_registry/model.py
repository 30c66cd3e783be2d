"""What the registry keeps: models, versions, aliases, promotions, events, audit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from securenet_core.exceptions import InvalidArgumentError
from securenet_registry.artifacts.manifest import ArtifactFile
from securenet_registry.training.evaluation import Metric

#: Aliases that may be moved.
ALIASES: Final = ("champion", "challenger")

_NAME: Final = r"[a-z][a-z0-9-]{0,62}"
_MODEL: Final = re.compile(rf"models/({_NAME})")
_PROMOTION: Final = re.compile(rf"models/({_NAME})/promotions/([a-z0-9-]{{1,64}})")
_VERSION: Final = re.compile(rf"models/({_NAME})/versions/([0-9]{{1,9}}|{_NAME}|sha256:[0-9a-f]{{64}})")


class ArtifactFormat(StrEnum):
    """How a source form is serialised."""

    SKOPS = "skops"
    ONNX = "onnx"
    JOBLIB = "joblib"


class VersionState(StrEnum):
    """Whether a version can be promoted."""

    READY = "ready"
    REJECTED = "rejected"


class PromotionState(StrEnum):
    """Where a promotion stands."""

    PENDING = "pending"
    COMMITTED = "committed"
    REJECTED = "rejected"


class EventKind(StrEnum):
    """What happened to a model."""

    VERSION_REGISTERED = "version-registered"
    ALIAS_MOVED = "alias-moved"
    VERSION_DELETED = "version-deleted"
    MODEL_CREATED = "model-created"
    MODEL_DELETED = "model-deleted"
    DRIFT_REPAIRED = "drift-repaired"
    TRAFFIC_DRIFTED = "traffic-drifted"


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that points at a version.

    Attributes:
        alias: champion or challenger.
        version: number that it points at.
        generation: rises by one at each move.
        update_ns: when it was moved last, nanoseconds since the epoch.
        updated_by: who moved it.
        previous_version: what it pointed at before; 0 for nothing.
    """

    alias: str
    version: int
    generation: int
    update_ns: int
    updated_by: str
    previous_version: int


@dataclass(frozen=True, slots=True)
class Model:
    """A named line of versions.

    Attributes:
        tenant: whose it is.
        name: without `models/`.
        description: what it is for.
        tags: free labels.
        aliases: that point at its versions.
        latest_version: highest number ever given; numbers are not given twice.
        version_count: versions that it has now.
        create_ns, update_ns: nanoseconds since the epoch.
    """

    tenant: str
    name: str
    description: str
    tags: Mapping[str, str]
    aliases: tuple[Alias, ...]
    latest_version: int
    version_count: int
    create_ns: int
    update_ns: int

    @property
    def resource(self) -> str:
        """models/{model}."""
        return f"models/{self.name}"

    def alias(self, name: str) -> Alias | None:
        """The alias of that name, if it points anywhere."""
        return next((alias for alias in self.aliases if alias.alias == name), None)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One trained or uploaded model. Times are nanoseconds since the epoch, sizes bytes, digests SHA-256 in hex.

    Attributes:
        mirror_version: its number in MLflow; None until it was mirrored.
        metrics: measured by the registry, or stated by the uploader.
    """

    tenant: str
    model: str
    version: int
    state: VersionState
    format: ArtifactFormat
    digest: str
    size_bytes: int
    files: tuple[ArtifactFile, ...]
    create_ns: int
    created_by: str
    state_detail: str = ""
    feature_schema_hash: str = ""
    metrics: tuple[Metric, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    sample_count: int = 0
    run_id: str = ""
    mirror_version: int | None = None
    runtime: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def resource(self) -> str:
        """models/{model}/versions/{version}."""
        return f"models/{self.model}/versions/{self.version}"


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition of a promotion: its name, whether it holds, what was measured and what is required."""

    name: str
    passed: bool
    measured: str
    required: str


@dataclass(frozen=True, slots=True)
class Promotion:
    """One move of an alias, done or asked for. Times are nanoseconds since the epoch; 0 is not yet.

    Attributes:
        generation: of the alias after it; 0 while it is asked for.
        base_generation: of the alias when it was asked for.
    """

    id: str
    model: str
    alias: str
    from_version: int
    to_version: int
    state: PromotionState
    generation: int
    gates: tuple[Gate, ...]
    requested_by: str
    reason: str
    rollback: bool
    create_ns: int
    decide_ns: int = 0
    decided_by: str = ""
    base_generation: int = 0

    @property
    def resource(self) -> str:
        """models/{model}/promotions/{promotion}."""
        return f"models/{self.model}/promotions/{self.id}"


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """One change of a model, under the registry's revision after it."""

    revision: int
    tenant: str
    model: str
    kind: EventKind
    create_ns: int
    version: int = 0
    alias: Alias | None = None


@dataclass(frozen=True, slots=True)
class DriftSignal:
    """Traffic does not look any more like what a version was trained on; see the contract for the units."""

    kind: str
    feature: str
    measured: float
    limit: float
    signal_ns: int


@dataclass(frozen=True, slots=True)
class ServingReport:
    """What one consumer says that it serves."""

    consumer: str
    model: str
    alias: str
    generation: int
    version: int
    loaded: bool
    detail: str
    report_ns: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of a tenant's audit log; `detail` is JSON."""

    sequence: int
    create_ns: int
    actor: str
    action: str
    resource: str
    detail: str
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """An upload as the database knows it.

    Attributes:
        request_id: the uploader's key.
        header: what was announced, JSON.
        version: what became of it; 0 until it is finished.
        expire_ns: when it is forgotten, nanoseconds since the epoch.
    """

    request_id: str
    header: Mapping[str, Any]
    version: int
    expire_ns: int


@dataclass(frozen=True, slots=True)
class Retraction:
    """A version that is gone here and stands in MLflow still: under which number there, and with which run."""

    tenant: str
    model: str
    mirror_version: int
    run_id: str


@dataclass(frozen=True, slots=True)
class VersionReference:
    """Which version a name means: its number, else an alias, else a digest."""

    model: str
    number: int = 0
    alias: str = ""
    digest: str = ""


def parse_model(name: str, place: str = "name") -> str:
    """The model's own name out of models/{model}.

    Raises:
        InvalidArgumentError: it is no such name.
    """
    match = _MODEL.fullmatch(name)
    if match is None:
        raise InvalidArgumentError.of(place, f"got {name!r}; expected models/{{model}}, a model being [a-z][a-z0-9-]*")
    return match[1]


def parse_version(name: str, place: str = "name") -> VersionReference:
    """What models/{model}/versions/{version} refers to.

    Raises:
        InvalidArgumentError: it is no such name.
    """
    match = _VERSION.fullmatch(name)
    if match is None:
        expected = "models/{model}/versions/{version}, a version being a number, an alias or sha256:{digest}"
        raise InvalidArgumentError.of(place, f"got {name!r}; expected {expected}")
    model, version = match[1], match[2]
    if version.isdigit():
        return VersionReference(model, number=int(version))
    if version.startswith("sha256:"):
        return VersionReference(model, digest=version.removeprefix("sha256:"))
    return VersionReference(model, alias=version)


def parse_promotion(name: str) -> tuple[str, str]:
    """Model and id out of models/{model}/promotions/{promotion}.

    Raises:
        InvalidArgumentError: it is no such name.
    """
    match = _PROMOTION.fullmatch(name)
    if match is None:
        raise InvalidArgumentError.of("name", f"got {name!r}; expected models/{{model}}/promotions/{{promotion}}")
    return match[1], match[2]
