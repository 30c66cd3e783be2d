"""Rows of the ledger as the domain knows them."""

from __future__ import annotations

from securenet_registry.artifacts.manifest import ArtifactFile
from securenet_registry.model import (
    Alias,
    ArtifactFormat,
    AuditEntry,
    EventKind,
    Gate,
    ModelEvent,
    ModelVersion,
    Promotion,
    PromotionState,
    ServingReport,
    VersionState,
)
from securenet_registry.sqlalchemy_tables import (
    AuditRow,
    EventRow,
    PromotionRow,
    ReportRow,
    TrainingRow,
    VersionRow,
)
from securenet_registry.training.evaluation import Metric
from securenet_registry.training.recipe import TrainingSpec
from securenet_registry.training.training import Training, TrainingState


def version_of(row: VersionRow, aliases: tuple[str, ...]) -> ModelVersion:
    """A version, with the aliases that point at it."""
    return ModelVersion(
        tenant=row.tenant,
        model=row.model,
        version=row.version,
        state=VersionState(row.state),
        format=ArtifactFormat(row.format),
        digest=row.digest,
        size_bytes=row.size_bytes,
        files=tuple(ArtifactFile(**file) for file in row.files),
        create_ns=row.create_ns,
        created_by=row.created_by,
        state_detail=row.state_detail,
        feature_schema_hash=row.feature_schema_hash,
        metrics=tuple(Metric(**metric) for metric in row.metrics),
        params=row.params,
        tags=row.tags,
        sample_count=row.sample_count,
        run_id=row.run_id,
        mirror_version=row.mirror_version,
        runtime=row.runtime,
        description=row.description,
        aliases=aliases,
    )


def promotion_of(row: PromotionRow) -> Promotion:
    """A move."""
    return Promotion(
        id=row.id,
        model=row.model,
        alias=row.alias,
        from_version=row.from_version,
        to_version=row.to_version,
        state=PromotionState(row.state),
        generation=row.generation or 0,
        gates=tuple(Gate(**gate) for gate in row.gates),
        requested_by=row.requested_by,
        reason=row.reason,
        rollback=row.rollback,
        create_ns=row.create_ns,
        decide_ns=row.decide_ns,
        decided_by=row.decided_by,
        base_generation=row.base_generation,
    )


def event_of(row: EventRow) -> ModelEvent:
    """An event."""
    alias = Alias(**row.alias) if row.alias else None
    return ModelEvent(row.revision, row.tenant, row.model, EventKind(row.kind), row.create_ns, row.version, alias)


def audit_of(row: AuditRow) -> AuditEntry:
    """An entry of the audit."""
    return AuditEntry(
        row.sequence, row.create_ns, row.actor, row.action, row.resource, row.detail, row.previous_hash, row.hash
    )


def report_of(row: ReportRow) -> ServingReport:
    """A consumer's word."""
    return ServingReport(
        row.consumer, row.model, row.alias, row.generation, row.version, row.loaded, row.detail, row.report_ns
    )


def training_of(row: TrainingRow) -> Training:
    """A training."""
    return Training(
        id=row.id,
        tenant=row.tenant,
        spec=TrainingSpec.of_document(row.spec),
        state=TrainingState(row.state),
        created_by=row.created_by,
        create_ns=row.create_ns,
        start_ns=row.start_ns,
        end_ns=row.end_ns,
        error=row.error,
        version=row.version,
        attempts=row.attempts,
    )
