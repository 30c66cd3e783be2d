"""Reads and verifies the audit log."""

from __future__ import annotations

from collections.abc import Sequence

from securenet_core.principal import Principal
from securenet_registry import audit
from securenet_registry.ledger import Ledger
from securenet_registry.model import AuditEntry


class Auditing:
    """Use-cases around the audit log of the caller's tenant."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def entries(self, who: Principal, before: int, limit: int, resource: str) -> Sequence[AuditEntry]:
        """Entries, the latest first, those below a number (0: all), on a resource and below it, or on any (empty)."""
        return await self._ledger.read(who.tenant, lambda tx: tx.audit(before, limit, resource))

    async def verify(self, who: Principal) -> audit.AuditVerdict:
        """Walks the chain."""
        return await self._ledger.read(who.tenant, lambda tx: audit.verify(who.tenant, tx.audit_chain()))
