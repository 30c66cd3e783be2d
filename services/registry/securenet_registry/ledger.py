"""The port to the registry's own database: what serves, what happened and who did it, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from securenet_registry.model import (
    Alias,
    AuditEntry,
    EventKind,
    Model,
    ModelEvent,
    ModelVersion,
    Promotion,
    Retraction,
    ServingReport,
    UploadRecord,
)
from securenet_registry.training.training import Training, TrainingProgress, TrainingState

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class References:
    """What versions of all tenants refer to: digests of blobs, and (tenant, model, number) of manifests."""

    digests: frozenset[str]
    versions: frozenset[tuple[str, str, int]]


class LedgerTransaction(Protocol):
    """What can be read and written within one transaction of one tenant."""

    tenant: str

    # Models and versions

    def model(self, name: str) -> Model | None:
        """The model with its aliases."""

    def models(self, after: str, limit: int) -> Sequence[Model]:
        """Models by name, those after a name."""

    def create_model(self, name: str, description: str, tags: Mapping[str, str], now_ns: int) -> None:
        """Adds a model without versions."""

    def delete_model(self, name: str) -> int:
        """Removes a model with all that hangs on it, here and in time in MLflow; answers how many versions it had."""

    def take_version_number(self, model: str, now_ns: int) -> int:
        """The next version number, which nobody gets again."""

    def version(self, model: str, number: int) -> ModelVersion | None:
        """A version by number."""

    def version_by_digest(self, model: str, digest: str) -> ModelVersion | None:
        """The latest version whose source form has that digest."""

    def versions(self, model: str, before: int, limit: int) -> Sequence[ModelVersion]:
        """Versions, the latest first, those below a number (0: all)."""

    def add_version(self, version: ModelVersion) -> None:
        """Adds a version under a number that was taken."""

    def set_mirror(self, model: str, number: int, run_id: str, mirror_version: int) -> None:
        """Notes where MLflow keeps a version; of one that is gone meanwhile, that it is to be removed there."""

    def delete_version(self, model: str, number: int) -> None:
        """Removes a version, here and in time in MLflow."""

    def forget_retraction(self, retraction: Retraction) -> None:
        """Notes that MLflow has it no more."""

    def stored_bytes(self) -> int:
        """Bytes of all blobs that versions of the tenant refer to, each counted once."""

    # Aliases, promotions, events

    def set_alias(self, model: str, alias: Alias) -> None:
        """Points an alias at a version."""

    def add_promotion(self, promotion: Promotion) -> None:
        """Adds to the history."""

    def decide_promotion(self, promotion: Promotion) -> None:
        """Notes what became of one that was asked for."""

    def promotion(self, model: str, promotion: str) -> Promotion | None:
        """One move by its id."""

    def promotions(self, model: str, before_ns: int, before_id: str, limit: int, state: str) -> Sequence[Promotion]:
        """Moves, the latest first, those before a position (0: all), in a state or in any (empty)."""

    def has_served(self, model: str, alias: str, version: int) -> bool:
        """Whether an alias ever pointed at a version."""

    def add_event(self, model: str, kind: EventKind, now_ns: int, version: int = 0, alias: Alias | None = None) -> int:
        """Adds an event and answers its revision."""

    def events(self, model: str, after: int, limit: int) -> Sequence[ModelEvent]:
        """Events of a model after a revision, in order."""

    def revision(self) -> int:
        """The latest revision; 0 before the first."""

    # Requests that may be repeated

    def request(self, method: str, request_id: str) -> Mapping[str, Any] | None:
        """What a request of that key was answered, if it was."""

    def add_request(self, method: str, request_id: str, answer: Mapping[str, Any], now_ns: int) -> None:
        """Notes what a request was answered."""

    # Audit

    def append_audit(self, actor: str, action: str, resource: str, detail: Mapping[str, Any], now_ns: int) -> None:
        """Adds to the chain."""

    def audit(self, before: int, limit: int, resource: str) -> Sequence[AuditEntry]:
        """Entries, the latest first, those below a number (0: all), on a resource and below it, or on any (empty)."""

    def audit_chain(self) -> Iterable[AuditEntry]:
        """Every entry from the first."""

    # Uploads

    def upload(self, request_id: str) -> UploadRecord | None:
        """An upload by its key."""

    def put_upload(self, record: UploadRecord) -> None:
        """Adds or replaces an upload."""

    def announced_bytes(self, now_ns: int, besides: str) -> int:
        """Bytes of the uploads that are neither finished nor forgotten by now, one of them left out."""

    # Serving

    def put_report(self, report: ServingReport) -> None:
        """Notes a consumer's latest word."""

    def reports(self, model: str, alias: str) -> Sequence[ServingReport]:
        """The latest word of each consumer."""

    # Trainings

    def training(self, training_id: str) -> Training | None:
        """A training by id."""

    def put_training(self, training: Training) -> None:
        """Adds or replaces a training."""

    def add_progress(self, training_id: str, progress: TrainingProgress) -> int:
        """Adds a step and answers its number."""

    def progress(self, training_id: str, from_seq: int, limit: int) -> Sequence[TrainingProgress]:
        """Steps from a number, in order."""

    def last_progress(self, training_id: str) -> TrainingProgress | None:
        """The latest step; None before the first."""


class Ledger(Protocol):
    """Runs units of work."""

    async def run(self, tenant: str, work: Callable[[LedgerTransaction], Result]) -> Result:
        """Runs `work` in a transaction for a tenant, alone among those of that tenant, and answers after its commit.

        Raises:
            AbortedError: another process of the registry was faster.
        """

    async def read(self, tenant: str, work: Callable[[LedgerTransaction], Result]) -> Result:
        """Runs `work`, which only reads."""

    async def trainings_in(self, states: Sequence[TrainingState]) -> Sequence[Training]:
        """Trainings of all tenants in one of these states, the oldest first."""

    async def unmirrored(self) -> Sequence[ModelVersion]:
        """Versions of all tenants that MLflow does not have yet, the oldest first."""

    async def mirrored_models(self) -> Sequence[Model]:
        """Models of all tenants that have a version in MLflow."""

    async def retractions(self) -> Sequence[Retraction]:
        """What MLflow has still of versions of all tenants that are gone."""

    async def references(self) -> References:
        """What may not be collected."""
