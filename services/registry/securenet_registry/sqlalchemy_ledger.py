"""The ledger in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from securenet_core.exceptions import AbortedError
from securenet_core.sqlalchemy_database import Database
from securenet_registry.ledger import LedgerTransaction, References
from securenet_registry.model import (
    Model,
    ModelVersion,
    Retraction,
    VersionState,
)
from securenet_registry.sqlalchemy_history import HistoryRecords
from securenet_registry.sqlalchemy_models import ModelRecords
from securenet_registry.sqlalchemy_rows import training_of, version_of
from securenet_registry.sqlalchemy_tables import (
    RetractionRow,
    TrainingRow,
    VersionRow,
)
from securenet_registry.sqlalchemy_work import WorkRecords
from securenet_registry.training.training import Training, TrainingState

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
        return await self._database.run(lambda s: [training_of(row) for row in s.scalars(wanted)])

    async def unmirrored(self) -> Sequence[ModelVersion]:
        """See the port."""
        ready = VersionRow.state == VersionState.READY.value
        wanted = select(VersionRow).where(_UNMIRRORED, ready).order_by(VersionRow.create_ns).limit(1000)
        return await self._database.run(lambda session: [version_of(row, ()) for row in session.scalars(wanted)])

    async def mirrored_models(self) -> Sequence[Model]:
        """See the port."""
        pairs = select(VersionRow.tenant, VersionRow.model).where(~_UNMIRRORED).distinct()

        def unit(session: Session) -> list[Model]:
            found = [SqlalchemyTransaction(session, tenant).model(name) for tenant, name in session.execute(pairs)]
            return [model for model in found if model is not None]

        return await self._database.run(unit)

    async def retractions(self) -> Sequence[Retraction]:
        """See the port."""
        wanted = select(RetractionRow).limit(1000)
        return await self._database.run(
            lambda session: [
                Retraction(row.tenant, row.model, row.mirror_version, row.run_id) for row in session.scalars(wanted)
            ]
        )

    async def references(self) -> References:
        """See the port."""
        wanted = select(VersionRow.tenant, VersionRow.model, VersionRow.version, VersionRow.files)

        def unit(session: Session) -> References:
            digests, versions = set[str](), set[tuple[str, str, int]]()
            for tenant, model, version, files in session.execute(wanted.execution_options(yield_per=1000)):
                digests.update(file["digest"] for file in files)
                versions.add((tenant, model, version))
            return References(frozenset(digests), frozenset(versions))

        return await self._database.run(unit)


class SqlalchemyTransaction(ModelRecords, HistoryRecords, WorkRecords):
    """See :class:`~securenet_registry.ledger.LedgerTransaction`: all of one tenant's records in one session."""
