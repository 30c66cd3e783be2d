"""The ledger in SQLite or PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from securenet_core.exceptions import AbortedError
from securenet_core.sqlalchemy_database import Database
from securenet_registry import audit
from securenet_registry.artifacts.manifest import ArtifactFile
from securenet_registry.ledger import LedgerTransaction
from securenet_registry.model import (
    Alias,
    ArtifactFormat,
    AuditEntry,
    EventKind,
    Gate,
    Model,
    ModelEvent,
    ModelVersion,
    Promotion,
    PromotionState,
    ServingReport,
    UploadRecord,
    VersionState,
)
from securenet_registry.sqlalchemy_tables import (
    AliasRow,
    AuditRow,
    EventRow,
    ModelRow,
    ProgressRow,
    PromotionRow,
    ReportRow,
    RequestRow,
    TrainingRow,
    UploadRow,
    VersionRow,
)
from securenet_registry.training.evaluation import Metric
from securenet_registry.training.recipe import TrainingSpec
from securenet_registry.training.training import Training, TrainingProgress, TrainingState

Result = TypeVar("Result")

#: A version that MLflow does not have yet.
_UNMIRRORED = VersionRow.mirror_version.is_(None)


class SqlalchemyLedger:
    """See :class:`~securenet_registry.ledger.Ledger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, tenant: str, work: Callable[[LedgerTransaction], Result]) -> Result:
        """See the port. On PostgreSQL an advisory lock keeps a tenant's writers apart; SQLite has one writer anyway."""

        def unit(session: Session) -> Result:
            if session.get_bind().dialect.name == "postgresql":
                session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:tenant))"), {"tenant": tenant})
            result = work(SqlalchemyTransaction(session, tenant))
            session.flush()
            return result

        try:
            return await self._database.run(unit)
        except IntegrityError as error:
            raise AbortedError("somebody else changed the same thing; read again and retry") from error

    async def read(self, tenant: str, work: Callable[[LedgerTransaction], Result]) -> Result:
        """See the port."""
        return await self._database.run(lambda session: work(SqlalchemyTransaction(session, tenant)))

    async def trainings_in(self, states: Sequence[TrainingState]) -> Sequence[Training]:
        """See the port."""
        wanted = (
            select(TrainingRow).where(TrainingRow.state.in_([s.value for s in states])).order_by(TrainingRow.create_ns)
        )
        return await self._database.run(lambda s: [_training(row) for row in s.scalars(wanted)])

    async def unmirrored(self) -> Sequence[ModelVersion]:
        """See the port."""
        ready = VersionRow.state == VersionState.READY.value
        wanted = select(VersionRow).where(_UNMIRRORED, ready).order_by(VersionRow.create_ns).limit(1000)
        return await self._database.run(lambda session: [_version(row, ()) for row in session.scalars(wanted)])

    async def mirrored_models(self) -> Sequence[Model]:
        """See the port."""
        pairs = select(VersionRow.tenant, VersionRow.model).where(~_UNMIRRORED).distinct()

        def unit(session: Session) -> list[Model]:
            found = [SqlalchemyTransaction(session, tenant).model(name) for tenant, name in session.execute(pairs)]
            return [model for model in found if model is not None]

        return await self._database.run(unit)


class SqlalchemyTransaction:
    """See :class:`~securenet_registry.ledger.LedgerTransaction`."""

    def __init__(self, session: Session, tenant: str) -> None:
        self._session = session
        self.tenant = tenant

    def model(self, name: str) -> Model | None:
        """See the port."""
        row = self._session.get(ModelRow, (self.tenant, name))
        return self._models([row])[0] if row else None

    def models(self, after: str, limit: int) -> Sequence[Model]:
        """See the port."""
        own = select(ModelRow).where(ModelRow.tenant == self.tenant, ModelRow.name > after)
        return self._models(list(self._session.scalars(own.order_by(ModelRow.name).limit(limit))))

    def create_model(self, name: str, description: str, tags: Mapping[str, str], now_ns: int) -> None:
        """See the port."""
        self._session.add(
            ModelRow(
                tenant=self.tenant,
                name=name,
                description=description,
                tags=dict(tags),
                latest_version=0,
                create_ns=now_ns,
                update_ns=now_ns,
            )
        )
        self._session.flush()

    def delete_model(self, name: str) -> int:
        """See the port."""
        count = self._count_versions([name]).get(name, 0)
        for table in (VersionRow, AliasRow, PromotionRow, ReportRow):
            self._session.execute(delete(table).where(table.tenant == self.tenant, table.model == name))
        self._session.execute(delete(ModelRow).where(ModelRow.tenant == self.tenant, ModelRow.name == name))
        return count

    def take_version_number(self, model: str, now_ns: int) -> int:
        """See the port."""
        row = self._session.get_one(ModelRow, (self.tenant, model))
        row.latest_version += 1
        row.update_ns = now_ns
        self._session.flush()
        return row.latest_version

    def version(self, model: str, number: int) -> ModelVersion | None:
        """See the port."""
        row = self._session.get(VersionRow, (self.tenant, model, number))
        return self._versions(model, [row])[0] if row else None

    def version_by_digest(self, model: str, digest: str) -> ModelVersion | None:
        """See the port."""
        same = self._own_versions(model).where(VersionRow.digest == digest).order_by(VersionRow.version.desc())
        row = self._session.scalars(same.limit(1)).first()
        return self._versions(model, [row])[0] if row else None

    def versions(self, model: str, before: int, limit: int) -> Sequence[ModelVersion]:
        """See the port."""
        wanted = self._own_versions(model).order_by(VersionRow.version.desc()).limit(limit)
        if before:
            wanted = wanted.where(VersionRow.version < before)
        return self._versions(model, list(self._session.scalars(wanted)))

    def add_version(self, version: ModelVersion) -> None:
        """See the port."""
        self._session.add(
            VersionRow(
                tenant=self.tenant,
                model=version.model,
                version=version.version,
                state=version.state.value,
                state_detail=version.state_detail,
                format=version.format.value,
                digest=version.digest,
                size_bytes=version.size_bytes,
                files=[asdict(file) for file in version.files],
                feature_schema_hash=version.feature_schema_hash,
                metrics=[asdict(metric) for metric in version.metrics],
                params=dict(version.params),
                tags=dict(version.tags),
                sample_count=version.sample_count,
                run_id=version.run_id,
                mirror_version=version.mirror_version,
                runtime=dict(version.runtime),
                description=version.description,
                created_by=version.created_by,
                create_ns=version.create_ns,
            )
        )
        self._session.flush()

    def set_mirror(self, model: str, number: int, run_id: str, mirror_version: int) -> None:
        """See the port."""
        mine = (VersionRow.tenant == self.tenant, VersionRow.model == model, VersionRow.version == number)
        self._session.execute(update(VersionRow).where(*mine).values(run_id=run_id, mirror_version=mirror_version))

    def delete_version(self, model: str, number: int) -> None:
        """See the port."""
        mine = (VersionRow.tenant == self.tenant, VersionRow.model == model, VersionRow.version == number)
        self._session.execute(delete(VersionRow).where(*mine))

    def set_alias(self, model: str, alias: Alias) -> None:
        """See the port."""
        self._session.merge(AliasRow(tenant=self.tenant, model=model, **asdict(alias)))
        row = self._session.get_one(ModelRow, (self.tenant, model))
        row.update_ns = alias.update_ns

    def add_promotion(self, promotion: Promotion) -> None:
        """See the port."""
        fields = {**asdict(promotion), "state": promotion.state.value, "gates": [asdict(g) for g in promotion.gates]}
        # Moves that are only asked for have no generation yet, and NULLs do not collide.
        fields["generation"] = promotion.generation or None
        self._session.add(PromotionRow(tenant=self.tenant, **fields))
        self._session.flush()

    def promotion(self, model: str, promotion: str) -> Promotion | None:
        """See the port."""
        row = self._session.get(PromotionRow, promotion)
        return _promotion(row) if row and (row.tenant, row.model) == (self.tenant, model) else None

    def promotions(self, model: str, before_ns: int, before_id: str, limit: int, state: str) -> Sequence[Promotion]:
        """See the port."""
        wanted = select(PromotionRow).where(PromotionRow.tenant == self.tenant, PromotionRow.model == model)
        if before_ns:
            same = (PromotionRow.create_ns == before_ns) & (PromotionRow.id < before_id)
            wanted = wanted.where(or_(PromotionRow.create_ns < before_ns, same))
        if state:
            wanted = wanted.where(PromotionRow.state == state)
        wanted = wanted.order_by(PromotionRow.create_ns.desc(), PromotionRow.id.desc()).limit(limit)
        return [_promotion(row) for row in self._session.scalars(wanted)]

    def add_event(self, model: str, kind: EventKind, now_ns: int, version: int = 0, alias: Alias | None = None) -> int:
        """See the port."""
        row = EventRow(
            tenant=self.tenant,
            model=model,
            kind=kind.value,
            version=version,
            alias=asdict(alias) if alias else None,
            create_ns=now_ns,
        )
        self._session.add(row)
        self._session.flush()
        return row.revision

    def events(self, model: str, after: int, limit: int) -> Sequence[ModelEvent]:
        """See the port."""
        own = select(EventRow).where(EventRow.tenant == self.tenant, EventRow.model == model, EventRow.revision > after)
        return [_event(row) for row in self._session.scalars(own.order_by(EventRow.revision).limit(limit))]

    def revision(self) -> int:
        """See the port."""
        return self._session.scalar(select(func.max(EventRow.revision))) or 0

    def request(self, method: str, request_id: str) -> Mapping[str, Any] | None:
        """See the port."""
        row = self._session.get(RequestRow, (self.tenant, method, request_id))
        return row.answer if row else None

    def add_request(self, method: str, request_id: str, answer: Mapping[str, Any], now_ns: int) -> None:
        """See the port."""
        row = RequestRow(
            tenant=self.tenant, method=method, request_id=request_id, answer=dict(answer), create_ns=now_ns
        )
        self._session.add(row)
        self._session.flush()

    def append_audit(self, actor: str, action: str, resource: str, detail: Mapping[str, Any], now_ns: int) -> None:
        """See the port."""
        last = next(iter(self.audit(0, 1, "")), None)
        entry = AuditEntry(0, now_ns, actor, action, resource, json.dumps(detail, ensure_ascii=False), "", "")
        self._session.add(AuditRow(tenant=self.tenant, **asdict(audit.chain(self.tenant, last, entry))))
        self._session.flush()

    def audit(self, before: int, limit: int, resource: str) -> Sequence[AuditEntry]:
        """See the port."""
        wanted = select(AuditRow).where(AuditRow.tenant == self.tenant)
        if before:
            wanted = wanted.where(AuditRow.sequence < before)
        if resource:
            below = AuditRow.resource.startswith(f"{resource}/", autoescape=True)
            wanted = wanted.where(or_(AuditRow.resource == resource, below))
        return [_audit(row) for row in self._session.scalars(wanted.order_by(AuditRow.sequence.desc()).limit(limit))]

    def audit_chain(self) -> Iterable[AuditEntry]:
        """See the port."""
        wanted = select(AuditRow).where(AuditRow.tenant == self.tenant).order_by(AuditRow.sequence)
        for row in self._session.scalars(wanted.execution_options(yield_per=1000)):
            yield _audit(row)

    def upload(self, request_id: str) -> UploadRecord | None:
        """See the port."""
        row = self._session.get(UploadRow, (self.tenant, request_id))
        return UploadRecord(row.request_id, row.header, row.version, row.expire_ns) if row else None

    def put_upload(self, record: UploadRecord) -> None:
        """See the port."""
        self._session.merge(UploadRow(tenant=self.tenant, **asdict(record)))

    def put_report(self, report: ServingReport) -> None:
        """See the port."""
        self._session.merge(ReportRow(tenant=self.tenant, **asdict(report)))

    def reports(self, model: str, alias: str) -> Sequence[ServingReport]:
        """See the port."""
        own = (ReportRow.tenant == self.tenant, ReportRow.model == model, ReportRow.alias == alias)
        rows = self._session.scalars(select(ReportRow).where(*own).order_by(ReportRow.consumer).limit(10_000))
        return [_report(row) for row in rows]

    def training(self, training_id: str) -> Training | None:
        """See the port."""
        row = self._session.get(TrainingRow, training_id)
        return _training(row) if row and row.tenant == self.tenant else None

    def put_training(self, training: Training) -> None:
        """See the port."""
        fields = {name: getattr(training, name) for name in TrainingRow.__table__.columns.keys()}  # noqa: SIM118 - names
        fields |= {"spec": training.spec.document(), "state": training.state.value}
        self._session.merge(TrainingRow(**fields))
        self._session.flush()

    def add_progress(self, training_id: str, progress: TrainingProgress) -> int:
        """See the port."""
        last = select(func.max(ProgressRow.seq)).where(ProgressRow.training == training_id)
        seq = (self._session.scalar(last) or 0) + 1
        self._session.add(ProgressRow(training=training_id, seq=seq, step=progress.document()))
        self._session.flush()
        return seq

    def progress(self, training_id: str, from_seq: int, limit: int) -> Sequence[TrainingProgress]:
        """See the port."""
        own = select(ProgressRow).where(ProgressRow.training == training_id, ProgressRow.seq >= from_seq)
        rows = self._session.scalars(own.order_by(ProgressRow.seq).limit(limit))
        return [TrainingProgress.of_document(row.seq, row.step) for row in rows]

    def last_progress(self, training_id: str) -> TrainingProgress | None:
        """See the port."""
        own = select(ProgressRow).where(ProgressRow.training == training_id)
        row = self._session.scalars(own.order_by(ProgressRow.seq.desc()).limit(1)).first()
        return TrainingProgress.of_document(row.seq, row.step) if row else None

    def _own_versions(self, model: str) -> Any:
        return select(VersionRow).where(VersionRow.tenant == self.tenant, VersionRow.model == model)

    def _count_versions(self, names: Sequence[str]) -> dict[str, int]:
        own = (VersionRow.tenant == self.tenant, VersionRow.model.in_(names))
        counts = self._session.execute(select(VersionRow.model, func.count()).where(*own).group_by(VersionRow.model))
        return {name: count for name, count in counts}  # noqa: C416 - rows are no pairs to the type checker

    def _aliases(self, names: Sequence[str]) -> Iterator[tuple[str, Alias]]:
        own = (AliasRow.tenant == self.tenant, AliasRow.model.in_(names))
        for row in self._session.scalars(select(AliasRow).where(*own).order_by(AliasRow.alias)):
            yield (
                row.model,
                Alias(row.alias, row.version, row.generation, row.update_ns, row.updated_by, row.previous_version),
            )

    def _models(self, rows: Sequence[ModelRow]) -> list[Model]:
        names = [row.name for row in rows]
        counts = self._count_versions(names)
        aliases = list(self._aliases(names))
        return [
            Model(
                tenant=row.tenant,
                name=row.name,
                description=row.description,
                tags=row.tags,
                aliases=tuple(alias for name, alias in aliases if name == row.name),
                latest_version=row.latest_version,
                version_count=counts.get(row.name, 0),
                create_ns=row.create_ns,
                update_ns=row.update_ns,
            )
            for row in rows
        ]

    def _versions(self, model: str, rows: Sequence[VersionRow]) -> list[ModelVersion]:
        aliases = [alias for _, alias in self._aliases([model])]
        return [_version(row, tuple(a.alias for a in aliases if a.version == row.version)) for row in rows]


def _version(row: VersionRow, aliases: tuple[str, ...]) -> ModelVersion:
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


def _promotion(row: PromotionRow) -> Promotion:
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
    )


def _event(row: EventRow) -> ModelEvent:
    alias = Alias(**row.alias) if row.alias else None
    return ModelEvent(row.revision, row.tenant, row.model, EventKind(row.kind), row.create_ns, row.version, alias)


def _audit(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        row.sequence, row.create_ns, row.actor, row.action, row.resource, row.detail, row.previous_hash, row.hash
    )


def _report(row: ReportRow) -> ServingReport:
    return ServingReport(
        row.consumer, row.model, row.alias, row.generation, row.version, row.loaded, row.detail, row.report_ns
    )


def _training(row: TrainingRow) -> Training:
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
