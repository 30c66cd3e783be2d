"""The use-case: flows in, verdicts out, findings kept before the answer leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from securenet_detection.engine import Engine
from securenet_detection.findings.ledger import Ledger
from securenet_detection.load import Load, Taken
from securenet_detection.mixed_verdicts import Verdicts
from securenet_detection.states import ScopeLease
from securenet_flows.batch import FlowBatch

#: Turns of the event loop between two pieces of batches: gRPC takes about eight to hand over a call with its message.
#: They cost some microseconds each.
_TURNS: Final = 8


@dataclass(slots=True)
class Counters:
    """What was done since the start, for metrics."""

    flows: int = 0
    sightings: int = 0
    repeats: int = 0


class Analysis:
    """Runs the engine in order of arrival and records what it reports.

    Args:
        engine: for this event loop alone.
        ledger: keeps findings.
        load: knows how much waits.
        chunk_rows: rows that are scored at a stretch before other calls get their turn.
    """

    def __init__(self, engine: Engine, ledger: Ledger, load: Load, *, chunk_rows: int) -> None:
        self._engine = engine
        self._ledger = ledger
        #: How much waits.
        self.load = load
        self._chunk_rows = chunk_rows
        self._turn = asyncio.Lock()
        self.counters = Counters()

    def take(self, rows: int, *, refusable: bool = True) -> Taken:
        """Takes the work of a call, or refuses it before anything is done.

        Args:
            rows: to be scored.
            refusable: False for a further message of a stream that was let in.

        Raises:
            ResourceExhaustedError: too much work waits, or too many findings wait for the store.
        """
        self._ledger.check_room()
        return self.load.take(rows, refusable=refusable)

    def score(
        self, batch: FlowBatch, *, tenant: str, scope: str = "", dry_run: bool, without_model: bool = False
    ) -> Verdicts:
        """Verdicts of a batch at a stretch. What they report must be handed to :meth:`keep`."""
        begun = self.load.clock()
        verdicts = self._engine.analyze(batch, dry_run=dry_run, tenant=tenant, scope=scope, without_model=without_model)
        self.load.measure(len(batch), self.load.clock() - begun)
        self.counters.flows += len(batch)
        self.counters.sightings += len(verdicts.sightings)
        self.counters.repeats += len(verdicts.again)
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
        self, batch: FlowBatch, taken: Taken, *, tenant: str, scope: str = "", dry_run: bool
    ) -> AsyncIterator[tuple[int, Verdicts]]:
        """Verdicts of a batch piece by piece, with the position of each piece's first row.

        The engine's answer does not depend on where a batch is cut. Between pieces other calls get their turn, and
        those that gRPC has not handed over yet are taken: until then they can neither be refused nor count as waiting.
        """
        for start in range(0, len(batch), self._chunk_rows):
            piece = batch if len(batch) <= self._chunk_rows else batch.take(slice(start, start + self._chunk_rows))
            async with self._turn:
                if start or self.load.rows > len(batch):
                    for _ in range(_TURNS):
                        await asyncio.sleep(0)
                verdicts = self.score(
                    piece, tenant=tenant, scope=scope, dry_run=dry_run, without_model=taken.without_model
                )
            taken.scored(len(piece))
            yield start, verdicts
