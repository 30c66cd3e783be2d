"""Keeps scopes in the service's database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from sqlalchemy import Select, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from securenet_core.sqlalchemy_database import Database
from securenet_scanner.network.scopes import Scope
from securenet_scanner.scans.scan import AuditEntry
from securenet_scanner.scans.sqlalchemy_models import ScopeRow
from securenet_scanner.scans.sqlalchemy_rows import audit_row, to_micros
from securenet_scanner.scans.stores import Page

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SqlalchemyScopeStore:
    """`ScopeStore` on the service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, scope: Scope, request_id: str, audit: AuditEntry) -> Scope:
        """Keep a scope."""

        def work(session: Session) -> Scope:
            if request_id:
                known = session.scalar(
                    select(ScopeRow).where(ScopeRow.tenant == scope.tenant, ScopeRow.request_id == request_id)
                )
                if known is not None:
                    return _scope(known)
            session.add_all([_row(scope, request_id), audit_row(audit)])
            return scope

        try:
            return await self._database.run(work)
        except IntegrityError:
            # Another replica stored the same request in between; now it is there to be read.
            return await self._database.run(work)

    async def active(self, tenant: str, now: datetime) -> list[Scope]:
        """Scopes that hold now."""
        query = _active(tenant, now)
        return await self._database.run(lambda session: [_scope(row) for row in session.scalars(query)])

    async def page(self, tenant: str, now: datetime, page: Page) -> list[Scope]:
        """One page of those that hold now, the latest first."""
        query = _active(tenant, now)
        if page.after is not None:
            query = query.where(tuple_(ScopeRow.create_time, ScopeRow.id) < page.after)
        query = query.order_by(ScopeRow.create_time.desc(), ScopeRow.id.desc()).limit(page.size)
        return await self._database.run(lambda session: [_scope(row) for row in session.scalars(query)])

    async def delete(self, tenant: str, scope_id: str, audit: AuditEntry) -> bool:
        """End a scope; its row stays for the audit."""

        def work(session: Session) -> bool:
            row = session.scalar(
                select(ScopeRow).where(
                    ScopeRow.tenant == tenant, ScopeRow.id == scope_id, ScopeRow.delete_time.is_(None)
                )
            )
            if row is None:
                return False
            row.delete_time = to_micros(audit.time)
            session.add(audit_row(audit))
            return True

        return await self._database.run(work)


def _active(tenant: str, now: datetime) -> Select[ScopeRow]:
    return select(ScopeRow).where(
        ScopeRow.tenant == tenant, ScopeRow.delete_time.is_(None), ScopeRow.expire_time > to_micros(now)
    )


def _row(scope: Scope, request_id: str) -> ScopeRow:
    if scope.expire_time is None or scope.create_time is None:
        raise ValueError("a stored scope has both a time of creation and an end")
    return ScopeRow(
        id=scope.id,
        tenant=scope.tenant,
        request_id=request_id or None,
        cidrs=json.dumps(scope.cidrs),
        authorized_by=scope.authorized_by,
        reason=scope.reason,
        expire_time=to_micros(scope.expire_time),
        created_by=scope.created_by,
        create_time=to_micros(scope.create_time),
    )


def _scope(row: ScopeRow) -> Scope:
    return Scope(
        id=row.id,
        tenant=row.tenant,
        cidrs=tuple(json.loads(row.cidrs)),
        authorized_by=row.authorized_by,
        reason=row.reason,
        expire_time=_EPOCH + timedelta(microseconds=row.expire_time),
        created_by=row.created_by,
        create_time=_EPOCH + timedelta(microseconds=row.create_time),
    )
