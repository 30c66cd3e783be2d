"""The use-case: flows in, verdicts out, findings kept before the answer leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from securenet_detection.engine import Engine
from securenet_detection.findings.ledger import Ledger
from securenet_detection.mixed_verdicts import Verdicts
from securenet_detection.states import ScopeLease
from securenet_flows.batch import FlowBatch


@dataclass(slots=True)
class Counters:
    """What was done since the start, for metrics."""

    flows: int = 0
    sightings: int = 0


class Analysis:
    """Runs the engine in order of arrival and records what it reports.

    Args:
        engine: for this event loop alone.
        ledger: keeps findings.
        chunk_rows: rows that are scored at a stretch before other calls get their turn.
    """

    def __init__(self, engine: Engine, ledger: Ledger, *, chunk_rows: int) -> None:
        self._engine = engine
        self._ledger = ledger
        self._chunk_rows = chunk_rows
        self.counters = Counters()

    def check_room(self) -> None:
        """Refuses new work while too many findings wait for the store.

        Raises:
            ResourceExhaustedError: they do.
        """
        self._ledger.check_room()

    def score(self, batch: FlowBatch, *, tenant: str, scope: str = "", dry_run: bool) -> Verdicts:
        """Verdicts of a batch at a stretch. What they report must be handed to :meth:`keep`."""
        verdicts = self._engine.analyze(batch, dry_run=dry_run, tenant=tenant, scope=scope)
        self.counters.flows += len(batch)
        self.counters.sightings += len(verdicts.sightings)
        if not dry_run and not scope and len(batch):
            self._ledger.advance(tenant, int(batch.start_time_ns.max()))
        return verdicts

    def keep(self, verdicts: Verdicts) -> asyncio.Task[None] | None:
        """Begins to store what verdicts report; the response waits for the task. None where nothing is to be stored.

        Rows that came before wait as well, for what they reported then may not be stored yet.
        """
        sightings = [sighting for _, sighting in verdicts.sightings]
        if not sightings and (not len(verdicts.again) or self._ledger.settled):
            return None
        return asyncio.create_task(self._ledger.record(sightings))

    def lease(self, tenant: str) -> ScopeLease:
        """Holds the named states that a stream uses until it ends."""
        return self._engine.states.lease(tenant)

    async def chunks(
        self, batch: FlowBatch, *, tenant: str, scope: str = "", dry_run: bool
    ) -> AsyncIterator[tuple[int, Verdicts]]:
        """Verdicts of a batch piece by piece, with the position of each piece's first row.

        The engine's answer does not depend on where a batch is cut; other calls get their turn between pieces.
        """
        for start in range(0, len(batch), self._chunk_rows):
            if start:
                await asyncio.sleep(0)
            piece = batch if len(batch) <= self._chunk_rows else batch.take(slice(start, start + self._chunk_rows))
            yield start, self.score(piece, tenant=tenant, scope=scope, dry_run=dry_run)
