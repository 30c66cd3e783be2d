"""What consumers say that they serve, and whether all follow an alias."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from securenet_core.exceptions import ResourceExhaustedError
from securenet_core.principal import Principal
from securenet_registry.catalog import find_model
from securenet_registry.changes import Changes
from securenet_registry.ledger import Ledger, LedgerTransaction
from securenet_registry.model import DriftSignal, EventKind, ServingReport

#: Consumers of one alias that are kept.
CONSUMERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Convergence:
    """The generation that all are to follow, whether they do, and the latest word of each."""

    generation: int
    converged: bool
    reports: tuple[ServingReport, ...]


class ServingReports:
    """Use-cases around reports.

    Args:
        changes: wakes those who watch a model.
        interval: seconds within which consumers are to report.
    """

    def __init__(self, ledger: Ledger, changes: Changes, interval: float) -> None:
        self._ledger = ledger
        self._changes = changes
        self.interval = interval

    async def report(self, who: Principal, report: ServingReport, drift: Sequence[DriftSignal] = ()) -> None:
        """Keeps a consumer's word, or what it says that has drifted."""
        if drift:
            await self._note_drift(who, report, drift)
            return
        now = time.time_ns()

        def work(tx: LedgerTransaction) -> None:
            find_model(tx, report.model)
            known = tx.reports(report.model, report.alias)
            if len(known) >= CONSUMERS and all(other.consumer != report.consumer for other in known):
                raise ResourceExhaustedError(f"{CONSUMERS} consumers report already", reason="TOO_MANY_CONSUMERS")
            tx.put_report(replace(report, report_ns=now))

        await self._ledger.run(who.tenant, work)

    async def _note_drift(self, who: Principal, report: ServingReport, drift: Sequence[DriftSignal]) -> None:
        now = time.time_ns()

        def work(tx: LedgerTransaction) -> None:
            find_model(tx, report.model)
            tx.add_event(report.model, EventKind.TRAFFIC_DRIFTED, now, version=report.version)
            detail = {"consumer": report.consumer, "signals": [asdict(signal) for signal in drift]}
            resource = f"models/{report.model}/versions/{report.version}"
            tx.append_audit(who.subject, "drift", resource, detail, now)

        await self._ledger.run(who.tenant, work)
        self._changes.notify((who.tenant, report.model))

    async def convergence(self, who: Principal, model: str, alias: str) -> Convergence:
        """Whether every consumer that reported lately serves what the alias points at."""

        def work(tx: LedgerTransaction) -> tuple[int, Sequence[ServingReport]]:
            pointed = find_model(tx, model).alias(alias)
            return (pointed.generation if pointed else 0), tx.reports(model, alias)

        generation, reports = await self._ledger.read(who.tenant, work)
        since = time.time_ns() - int(3 * self.interval * 1e9)
        recent = tuple(report for report in reports if report.report_ns >= since)
        return Convergence(generation, all(r.loaded and r.generation == generation for r in recent), recent)
