"""Deletes old findings in small transactions, so that nobody waits long for the database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, case, delete, func, select, tuple_, update
from sqlalchemy.orm import Session

from securenet_detection.findings.finding import FindingStatus
from securenet_detection.findings.interface import Pruned
from securenet_detection.findings.sqlalchemy_tables import CounterRow, EventRow, FindingRow, LabelRow, TenantRow

#: What goes first: what is dealt with, then what nobody wants to see, then the rest.
_WORTH = case(
    (FindingRow.status == int(FindingStatus.RESOLVED), 0),
    (FindingRow.status == int(FindingStatus.SUPPRESSED), 1),
    else_=2,
)


class Retention:
    """The part of a store that forgets."""

    _engine: Engine

    def prune(self, before_ns: int, keep: int, keep_labels: int, limit: int) -> Pruned:
        """Deletes at most `limit` findings of each kind: those not changed since, and a tenant's surplus.

        Labels stay when their finding goes; of them, the oldest beyond `keep_labels` of a tenant go.
        """
        with Session(self._engine) as session, session.begin():
            # Behind the counter, so that no finding that is just being changed is deleted.
            session.execute(update(CounterRow).where(CounterRow.name == "change").values(value=CounterRow.value))
            old = select(FindingRow.tenant, FindingRow.id, FindingRow.change).where(FindingRow.update_ns < before_ns)
            expired = session.execute(old.order_by(_WORTH, FindingRow.change).limit(limit)).all()
            _forget(session, [(row.tenant, row.id, row.change) for row in expired])
            surplus = 0
            crowded = select(FindingRow.tenant, func.count()).group_by(FindingRow.tenant).having(func.count() > keep)
            for tenant, count in session.execute(crowded).all():
                worst = (
                    select(FindingRow.tenant, FindingRow.id, FindingRow.change).where(FindingRow.tenant == tenant)
                    .order_by(_WORTH, FindingRow.change).limit(min(count - keep, limit - surplus))
                )  # fmt: skip
                gone = session.execute(worst).all()
                _forget(session, [(row.tenant, row.id, row.change) for row in gone])
                surplus += len(gone)
                if surplus >= limit:
                    break
            return Pruned(len(expired), surplus, _prune_labels(session, keep_labels, limit))


def _forget(session: Session, rows: Sequence[tuple[str, str, int]]) -> None:
    if not rows:
        return
    keys = [(tenant, finding_id) for tenant, finding_id, _ in rows]
    session.execute(delete(EventRow).where(tuple_(EventRow.tenant, EventRow.finding_id).in_(keys)))
    session.execute(delete(FindingRow).where(tuple_(FindingRow.tenant, FindingRow.id).in_(keys)))
    latest: dict[str, int] = {}
    for tenant, _, change in rows:
        latest[tenant] = max(latest.get(tenant, 0), change)
    for tenant, change in latest.items():
        known = session.get(TenantRow, tenant)
        if known is None:
            session.add(TenantRow(tenant=tenant, newest_ns=None, deleted_change=change))
        else:
            known.deleted_change = max(known.deleted_change, change)


def _prune_labels(session: Session, keep: int, limit: int) -> int:
    deleted = 0
    crowded = select(LabelRow.tenant, func.count()).group_by(LabelRow.tenant).having(func.count() > keep)
    for tenant, count in session.execute(crowded).all():
        oldest = (
            select(LabelRow.finding_id).where(LabelRow.tenant == tenant).order_by(LabelRow.change)
            .limit(min(count - keep, limit))
        )  # fmt: skip
        ids = session.scalars(oldest).all()
        session.execute(delete(LabelRow).where(LabelRow.tenant == tenant, LabelRow.finding_id.in_(ids)))
        deleted += len(ids)
    return deleted
