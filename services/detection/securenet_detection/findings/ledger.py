"""The findings of the service: recorded before they are acknowledged, listed, watched, edited.

What "acknowledged" means: a response whose rows began a finding or gave it news leaves only after the transaction that
holds them has committed. Sightings of all calls that wait at the same time share one transaction, so that storing costs
a commit for many calls and not for each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from securenet_core.exceptions import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    ResourceExhaustedError,
    UnavailableError,
)
from securenet_detection.findings.fading import FlowClock, faded
from securenet_detection.findings.finding import (
    AnalystVerdict,
    Finding,
    FindingStatus,
    Suppression,
    network_range,
)
from securenet_detection.findings.history import FindingEvent, Label
from securenet_detection.findings.interface import Changes, FindingFilter, FindingStore
from securenet_detection.findings.sighting import Sighting

Answer = TypeVar("Answer")

#: Seconds between looks at the store for changes that another process made, and between signs of life.
_POLL: Final = 1.0
_HEARTBEAT: Final = 15.0

_WATCH_PAGE: Final = 200
_LABEL_PAGE: Final = 200
#: Findings that retention deletes in one transaction.
_PRUNE_PAGE: Final = 500
_SUPPRESSIONS: Final = 1000
_LONGEST_SUPPRESSION_NS: Final = 366 * 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class FindingEdit:
    """What a person changes; None stays."""

    status: FindingStatus | None
    analyst_verdict: AnalystVerdict | None
    comment: str | None
    expected_revision: int
    by: str


@dataclass(frozen=True, slots=True)
class Retention:
    """How long findings are kept.

    Attributes:
        days: since the latest change.
        findings: of a tenant.
        labels: of a tenant.
    """

    days: float = 90.0
    findings: int = 100_000
    labels: int = 100_000


@dataclass(slots=True)
class LedgerCounters:
    """What retention deleted since the start, for metrics."""

    expired: int = 0
    surplus: int = 0
    labels: int = 0


@dataclass(slots=True)
class _Waiting:
    sightings: Sequence[Sighting]
    done: asyncio.Future[None]


class Ledger:
    """Findings and suppressions, for one event loop.

    Args:
        store: where they are kept.
        limit: sightings that may wait for the store.
        half_life_seconds: in which risk halves, by the time of the flows.
        retention: how long findings are kept.
        clock_ns: now, nanoseconds since the epoch.
    """

    def __init__(
        self,
        store: FindingStore,
        *,
        limit: int,
        half_life_seconds: float = 86_400.0,
        retention: Retention | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._limit = limit
        self._half_life_ns = max(int(half_life_seconds * 1e9), 1)
        self._retention = retention or Retention()
        self._clock_ns = clock_ns
        self._flow_clock = FlowClock()
        self.counters = LedgerCounters()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="findings-writer")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="findings-reader")
        self._waiting: list[_Waiting] = []
        self._unsaved: list[Sighting] = []
        self._pending = 0
        self._flushing: asyncio.Task[None] | None = None
        self._closed = False
        self._changed = asyncio.Event()
        # Of watchers, one a turn of the event loop goes on: all at once, they would hold up every call.
        self._door = asyncio.Lock()
        self._looks: dict[tuple[str, int, asyncio.Event], asyncio.Future[Changes]] = {}

    def check_room(self) -> None:
        """Refuses work before it is done, so that no finding is made that could not be kept.

        Raises:
            ResourceExhaustedError: too many sightings wait for the store.
        """
        if self._pending >= self._limit:
            raise ResourceExhaustedError(
                f"{self._pending} changes to findings wait for the store; at most {self._limit} may",
                reason="FINDINGS_BACKLOG",
                retry_after=1.0,
            )

    def advance(self, tenant: str, start_ns: int) -> None:
        """Flows of a tenant came, the latest of which started at `start_ns`: older findings are further in the past."""
        self._flow_clock.advance(tenant, start_ns, self._clock_ns())

    @property
    def settled(self) -> bool:
        """Whether everything that was reported is stored."""
        return not self._pending

    async def record(self, sightings: Sequence[Sighting]) -> None:
        """Returns when the sightings are stored for good, and all that were reported before them.

        Raises:
            UnavailableError: the store failed; the sightings are kept and written with the next ones.
        """
        if self._closed:
            raise UnavailableError("the service has stopped", retry_after=1.0)
        waiting = _Waiting(sightings, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._pending += len(sightings)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await waiting.done

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            sightings = [*self._unsaved, *(sighting for waiting in batch for sighting in waiting.sightings)]
            error: Exception | None = None
            try:
                await self._write(partial(self._store.record, sightings, self._clock_ns()))
            except Exception as failure:  # noqa: BLE001 - whatever the store raises, those who wait must hear of it
                error = failure
            self._unsaved = sightings[-self._limit :] if error else []
            self._pending = len(self._unsaved) + sum(len(waiting.sightings) for waiting in self._waiting)
            for waiting in batch:
                if waiting.done.cancelled():
                    continue
                if error is None:
                    waiting.done.set_result(None)
                else:
                    failed = UnavailableError("the store of findings does not answer", retry_after=1.0)
                    failed.__cause__ = error
                    waiting.done.set_exception(failed)
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _write(self, call: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._writer, call)

    async def _read(self, call: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._readers, call)

    async def page(self, tenant: str, wanted: FindingFilter, before_change: int | None, limit: int) -> list[Finding]:
        """At most `limit` findings in descending order of their latest change.

        Raises:
            InvalidArgumentError: the filter's entity is neither address nor network.
        """
        _check_network("entity", wanted.entity)
        await self._write(lambda: self._store.expire(self._clock_ns()))
        return await self._read(lambda: self._aged(tenant, self._store.page(tenant, wanted, before_change, limit)))

    async def get(self, tenant: str, finding_id: str) -> Finding:
        """One finding.

        Raises:
            NotFoundError: the tenant has none of that id.
        """
        found = await self._read(lambda: self._store.get(tenant, finding_id))
        if found is None:
            raise NotFoundError(f"findings/{finding_id}: there is no such finding")
        return self._aged(tenant, [found])[0]

    def _aged(self, tenant: str, found: list[Finding]) -> list[Finding]:
        """Findings with the share of their risk that is left; reads, so not for the event loop."""
        known, stored = self._flow_clock.now(tenant), self._store.newest(tenant)
        now_ns = max((time for time in (known, stored) if time is not None), default=None)
        return [faded(finding, now_ns, self._half_life_ns) for finding in found]

    async def events(
        self, tenant: str, finding_id: str, before: tuple[int, int] | None, limit: int
    ) -> list[FindingEvent]:
        """Who changed a finding, how and when, the latest first.

        Raises:
            NotFoundError: the tenant has none of that id.
        """
        await self.get(tenant, finding_id)
        return await self._read(lambda: self._store.events(tenant, finding_id, before, limit))

    async def labels(self, tenant: str, after_ns: int) -> AsyncIterator[Label]:
        """What people found out at or after a time, in the order in which they said it."""
        position = 0
        while True:
            page = await self._read(partial(self._store.labels, tenant, after_ns, position, _LABEL_PAGE))
            for label in page:
                yield label
                position = label.change
            if len(page) < _LABEL_PAGE:
                return

    async def edit(self, tenant: str, finding_id: str, edit: FindingEdit) -> Finding:
        """The finding after a person's change.

        Raises:
            NotFoundError: the tenant has none of that id.
            AbortedError: it is at another revision than the one expected.
        """

        def change(finding: Finding) -> Finding:
            if edit.expected_revision and edit.expected_revision != finding.revision:
                raise AbortedError(
                    f"findings/{finding_id} is at revision {finding.revision}, not {edit.expected_revision}",
                    reason="REVISION_MISMATCH",
                )
            by_hand = edit.status == FindingStatus.SUPPRESSED and finding.suppressions
            return replace(
                finding,
                status=finding.status if edit.status is None else edit.status,
                held_status=FindingStatus.SUPPRESSED if by_hand else finding.held_status,
                analyst_verdict=finding.analyst_verdict if edit.analyst_verdict is None else edit.analyst_verdict,
                comment=finding.comment if edit.comment is None else edit.comment,
                updated_by=edit.by,
                revision=finding.revision + 1,
            )

        found = await self._write(lambda: self._store.edit(tenant, finding_id, change, self._clock_ns()))
        if found is None:
            raise NotFoundError(f"findings/{finding_id}: there is no such finding")
        self._notify()
        return (await self._read(lambda: self._aged(tenant, [found])))[0]

    async def identity(self) -> int:
        """A number of the store alone, for tokens that nobody else can make."""
        return await self._read(self._store.identity)

    async def watch(
        self, tenant: str, after_change: int | None, *, existing: bool, min_threat_level: int
    ) -> AsyncIterator[tuple[Finding | None, int]]:
        """Findings as they change with the number of the change, and None as a sign of life.

        Args:
            tenant: whose.
            after_change: go on after this change; None begins now, or at the first stored one with `existing`.
            existing: begin with what is stored.
            min_threat_level: leave out what is below.

        Raises:
            InvalidArgumentError: `after_change` lies in the future.
            OutOfRangeError: a finding that changed after `after_change`, or after what was read, has been deleted.
        """
        latest = await self._read(self._store.latest_change)
        if after_change is not None and after_change > latest:
            raise InvalidArgumentError.of("resume_token", "lies after the latest change; the store has been replaced")
        position = after_change if after_change is not None else 0 if existing else latest
        silent_since = time.monotonic()
        while True:
            changed = self._changed
            changes = await self._look(tenant, position, changed)
            if changes.deleted and (after_change is not None or position != 0):
                raise OutOfRangeError(
                    "findings that changed after this token have been deleted by retention; watch anew with "
                    "include_existing",
                    reason="RESUME_TOKEN_EXPIRED",
                )
            for finding in changes.findings:
                position = finding.change
                if finding.threat_level >= min_threat_level:
                    async with self._door:
                        await asyncio.sleep(0)
                    yield finding, position
                    silent_since = time.monotonic()
            if changes.findings:
                continue
            if time.monotonic() - silent_since >= _HEARTBEAT:
                yield None, position
                silent_since = time.monotonic()
            try:
                await asyncio.wait_for(changed.wait(), _POLL)
            except TimeoutError:
                continue

    async def _look(self, tenant: str, position: int, since: asyncio.Event) -> Changes:
        """What changed after a position; watchers that want to know at the same time look at the store once.

        `since` is what told them to look: a look that began before is not one at what they were told of.
        """
        key = (tenant, position, since)
        look = self._looks.get(key)
        if look is None:
            look = self._looks[key] = asyncio.ensure_future(self._read(partial(self._changes, tenant, position)))
            look.add_done_callback(lambda _: self._looks.pop(key))
        return await asyncio.shield(look)

    def _changes(self, tenant: str, position: int) -> Changes:
        changes = self._store.changed_since(tenant, position, _WATCH_PAGE)
        return replace(changes, findings=self._aged(tenant, changes.findings)) if changes.findings else changes

    async def suppress(self, suppression: Suppression) -> tuple[Suppression, int]:
        """The suppression as stored, and how many findings it holds back.

        Raises:
            InvalidArgumentError: a network is none, the reason is missing, or the end is not within the coming year.
            FailedPreconditionError: the tenant has as many as it may.
        """
        self._check(suppression)
        if not suppression.reason.strip():
            raise InvalidArgumentError.of("suppression.reason", "empty; expected why")
        now = self._clock_ns()
        if not now < suppression.expire_ns <= now + _LONGEST_SUPPRESSION_NS:
            raise InvalidArgumentError.of("suppression.expire_time", "expected a time within the coming year")
        known = await self._read(lambda: self._store.suppressions(suppression.tenant, "", _SUPPRESSIONS))
        if len(known) >= _SUPPRESSIONS:
            raise FailedPreconditionError(f"{_SUPPRESSIONS} suppressions stand already", reason="TOO_MANY_SUPPRESSIONS")
        stored = await self._write(lambda: self._store.suppress(suppression, now))
        self._notify()
        return stored

    async def preview(self, suppression: Suppression, limit: int) -> tuple[int, list[Finding]]:
        """How many findings a suppression would hold back, and the gravest of them.

        Raises:
            InvalidArgumentError: a network is none.
        """
        self._check(suppression)
        count, found = await self._read(lambda: self._store.matching(suppression, limit))
        return count, await self._read(partial(self._aged, suppression.tenant, found))

    async def suppressions(self, tenant: str, after_id: str, limit: int) -> list[Suppression]:
        """Suppressions that have not ended, by id."""
        await self._write(lambda: self._store.expire(self._clock_ns()))
        return await self._read(lambda: self._store.suppressions(tenant, after_id, limit))

    async def unsuppress(self, tenant: str, suppression_id: str, by: str = "") -> int:
        """Ends a suppression; answers how many findings are open again.

        Raises:
            NotFoundError: the tenant has none of that id.
        """
        reopened = await self._write(lambda: self._store.unsuppress(tenant, suppression_id, self._clock_ns(), by))
        if reopened is None:
            raise NotFoundError(f"suppressions/{suppression_id}: there is no such suppression")
        self._notify()
        return reopened

    async def sweep(self) -> None:
        """Ends suppressions that are over, and deletes what retention no longer keeps, some at a time."""
        if await self._write(lambda: self._store.expire(self._clock_ns())):
            self._notify()
        while not self._closed:
            before = self._clock_ns() - int(self._retention.days * 86_400e9)
            pruned = await self._write(
                partial(self._store.prune, before, self._retention.findings, self._retention.labels, _PRUNE_PAGE)
            )
            self.counters.expired += pruned.expired
            self.counters.surplus += pruned.surplus
            self.counters.labels += pruned.labels
            if max(pruned.expired, pruned.surplus, pruned.labels) < _PRUNE_PAGE:
                return

    async def close(self) -> None:
        """Writes what waits, then lets go of the store."""
        # What was handed over in this turn of the loop, by calls that were cut, first gets to wait.
        await asyncio.sleep(0)
        self._closed = True
        if self._flushing is not None:
            await self._flushing
        if self._unsaved:
            unsaved, self._unsaved = self._unsaved, []
            await self._write(lambda: self._store.record(unsaved, self._clock_ns()))
        for tenant, newest_ns in self._flow_clock.items():
            await self._write(partial(self._store.advance, tenant, newest_ns))
        self._writer.shutdown()
        self._readers.shutdown()

    def _check(self, suppression: Suppression) -> None:
        _check_network("suppression.entity_cidr", suppression.entity_cidr)
        _check_network("suppression.peer_cidr", suppression.peer_cidr)


def _check_network(field: str, network: str) -> None:
    try:
        if network:
            network_range(network)
    except ValueError:
        raise InvalidArgumentError.of(
            field, f"{network[:64]!r} is neither an address nor a network such as 10.1.0.0/16"
        ) from None
