"""Models, versions and aliases of one tenant, in rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from securenet_registry.model import (
    Alias,
    Model,
    ModelVersion,
    Retraction,
)
from securenet_registry.sqlalchemy_rows import version_of
from securenet_registry.sqlalchemy_tables import (
    AliasRow,
    ModelRow,
    PromotionRow,
    ReportRow,
    RetractionRow,
    VersionRow,
)


class ModelRecords:
    """See :class:`~securenet_registry.ledger.LedgerTransaction`: models, versions and aliases."""

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
        self._retract(self._own_versions(name))
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
        row = self._session.get(VersionRow, (self.tenant, model, number))
        if row is None:
            self._session.merge(
                RetractionRow(tenant=self.tenant, model=model, mirror_version=mirror_version, run_id=run_id)
            )
        else:
            row.run_id, row.mirror_version = run_id, mirror_version
        self._session.flush()

    def delete_version(self, model: str, number: int) -> None:
        """See the port."""
        self._retract(self._own_versions(model).where(VersionRow.version == number))
        mine = (VersionRow.tenant == self.tenant, VersionRow.model == model, VersionRow.version == number)
        self._session.execute(delete(VersionRow).where(*mine))

    def forget_retraction(self, retraction: Retraction) -> None:
        """See the port."""
        row = self._session.get(RetractionRow, (self.tenant, retraction.model, retraction.mirror_version))
        if row is not None:
            self._session.delete(row)

    def _retract(self, wanted: Any) -> None:
        for row in self._session.scalars(wanted):
            if row.mirror_version is not None:
                self._session.add(
                    RetractionRow(
                        tenant=self.tenant, model=row.model, mirror_version=row.mirror_version, run_id=row.run_id
                    )
                )

    def stored_bytes(self) -> int:
        """See the port."""
        wanted = select(VersionRow.files).where(VersionRow.tenant == self.tenant)
        listed = self._session.scalars(wanted.execution_options(yield_per=1000))
        return sum({file["digest"]: int(file["size_bytes"]) for files in listed for file in files}.values())

    def set_alias(self, model: str, alias: Alias) -> None:
        """See the port."""
        self._session.merge(AliasRow(tenant=self.tenant, model=model, **asdict(alias)))
        row = self._session.get_one(ModelRow, (self.tenant, model))
        row.update_ns = alias.update_ns

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
        return [version_of(row, tuple(a.alias for a in aliases if a.version == row.version)) for row in rows]
