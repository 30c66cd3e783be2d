"""What happened in one tenant, in rows: promotions, events, audit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from securenet_registry import audit
from securenet_registry.model import (
    Alias,
    AuditEntry,
    EventKind,
    ModelEvent,
    Promotion,
    PromotionState,
)
from securenet_registry.sqlalchemy_rows import audit_of, event_of, promotion_of
from securenet_registry.sqlalchemy_tables import (
    AuditRow,
    EventRow,
    PromotionRow,
)


class HistoryRecords:
    """See :class:`~securenet_registry.ledger.LedgerTransaction`: promotions, events and audit."""

    def __init__(self, session: Session, tenant: str) -> None:
        self._session = session
        self.tenant = tenant

    def add_promotion(self, promotion: Promotion) -> None:
        """See the port."""
        self._session.add(PromotionRow(tenant=self.tenant, **_promotion_fields(promotion)))
        self._session.flush()

    def decide_promotion(self, promotion: Promotion) -> None:
        """See the port."""
        self._session.merge(PromotionRow(tenant=self.tenant, **_promotion_fields(promotion)))
        self._session.flush()

    def promotion(self, model: str, promotion: str) -> Promotion | None:
        """See the port."""
        row = self._session.get(PromotionRow, promotion)
        return promotion_of(row) if row and (row.tenant, row.model) == (self.tenant, model) else None

    def promotions(self, model: str, before_ns: int, before_id: str, limit: int, state: str) -> Sequence[Promotion]:
        """See the port."""
        wanted = select(PromotionRow).where(PromotionRow.tenant == self.tenant, PromotionRow.model == model)
        if before_ns:
            same = (PromotionRow.create_ns == before_ns) & (PromotionRow.id < before_id)
            wanted = wanted.where(or_(PromotionRow.create_ns < before_ns, same))
        if state:
            wanted = wanted.where(PromotionRow.state == state)
        wanted = wanted.order_by(PromotionRow.create_ns.desc(), PromotionRow.id.desc()).limit(limit)
        return [promotion_of(row) for row in self._session.scalars(wanted)]

    def has_served(self, model: str, alias: str, version: int) -> bool:
        """See the port."""
        wanted = select(PromotionRow.id).where(
            PromotionRow.tenant == self.tenant,
            PromotionRow.model == model,
            PromotionRow.alias == alias,
            PromotionRow.to_version == version,
            PromotionRow.state == PromotionState.COMMITTED.value,
        )
        return self._session.scalars(wanted.limit(1)).first() is not None

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
        return [event_of(row) for row in self._session.scalars(own.order_by(EventRow.revision).limit(limit))]

    def revision(self) -> int:
        """See the port."""
        return self._session.scalar(select(func.max(EventRow.revision))) or 0

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
        return [audit_of(row) for row in self._session.scalars(wanted.order_by(AuditRow.sequence.desc()).limit(limit))]

    def audit_chain(self) -> Iterable[AuditEntry]:
        """See the port."""
        wanted = select(AuditRow).where(AuditRow.tenant == self.tenant).order_by(AuditRow.sequence)
        for row in self._session.scalars(wanted.execution_options(yield_per=1000)):
            yield audit_of(row)


def _promotion_fields(promotion: Promotion) -> dict[str, Any]:
    fields = {**asdict(promotion), "state": promotion.state.value, "gates": [asdict(gate) for gate in promotion.gates]}
    # Moves that are only asked for have no generation yet, and NULLs do not collide.
    fields["generation"] = promotion.generation or None
    return fields
