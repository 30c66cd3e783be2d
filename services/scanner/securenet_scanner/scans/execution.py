"""One scan from its checkpoint to its end: probe, ask, store, tell."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from securenet_scanner.network import misconfigurations
from securenet_scanner.network.banners import Banner, printable
from securenet_scanner.network.connecting import Answer, ConnectScan, Pace, PortState
from securenet_scanner.network.services import Service, identify
from securenet_scanner.network.targets import AddressList
from securenet_scanner.scans.exposing import Exposed
from securenet_scanner.scans.scan import Finding, PortFacts, Progress, Scan
from securenet_scanner.scans.stores import Found, ScanStore

_TICK = 0.1
_SAVE_EVERY = 1.0
_AUTHORITY_EVERY = 5.0
_REPORT_ALL_BELOW = 100
"""Ports asked for, below which closed and filtered ones are reported as well, …"""
_REPORT_ALL_PROBES = 25_600
"""… unless there are so many hosts that it would be a flood."""

_MAX_BANNERS_PER_HOST = 1_024
"""A host on which more ports accept answers for everything (a tarpit, a proxy): asking them all would take hours."""


class BannerSource(Protocol):
    """Asks an open port what listens there."""

    async def read(self, address: str, port: int) -> Banner:
        """What the server says of itself; empty where it says nothing."""
        ...


class Advisor(Protocol):
    """Says what is known of the software that listens."""

    async def look(self, facts: PortFacts, service: Service) -> Exposed:
        """Findings of a port whose banner was read."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Whom a scan asks of an open port."""

    banners: BannerSource
    advisor: Advisor


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """How much at once, and how fast."""

    max_running: int = 2
    banner_connections: int = 64
    pace: Pace = field(default_factory=Pace)
    """Defaults that a scan's own wishes replace; `rate` is the limit for scans that leave this machine."""


Authority = Callable[[Scan], Awaitable[str]]
"""Why a scan may not go on; empty where it may."""


@dataclass(slots=True)
class ScanJob:
    scan: Scan
    progress: Progress
    engine: ConnectScan | None = None
    cancelled: bool = False
    suspended: bool = False
    """The process ends: stop, but leave the scan to go on after the restart."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Let no further probe leave."""
        if self.engine is not None:
            self.engine.stopped.set()

    def tell(self) -> None:
        """Wake who waits now; who comes later waits for the next change."""
        self.changed.set()
        self.changed = asyncio.Event()


class ScanExecution:
    """One scan from its checkpoint to its end."""

    def __init__(
        self,
        job: ScanJob,
        store: ScanStore,
        sources: Sources,
        limits: RunnerLimits,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._job = job
        self._store = store
        self._banners = sources.banners
        self._advisor = sources.advisor
        self._threads = threads
        self._answers: deque[Answer] = deque()
        self._slots = asyncio.Semaphore(limits.banner_connections)
        self._asking: set[asyncio.Task[None]] = set()
        self._ports: list[PortFacts] = []
        self._findings: list[Finding] = []
        self._knowledge_version = ""
        self._open: set[tuple[str, int]] = set()
        self._asked: Counter[str] = Counter()
        scan = job.scan
        addresses = AddressList(scan.plan.spans)
        ports = scan.plan.ports
        report_all = len(ports) < _REPORT_ALL_BELOW and scan.plan.probes <= _REPORT_ALL_PROBES
        self._engine = ConnectScan(
            addresses,
            ports,
            _pace(scan, limits.pace),
            self._answers.append,
            open_only=not report_all,
            start_at=scan.checkpoint,
        )
        self._begun = time.monotonic()
        job.engine = self._engine

    async def run(self, authority: Authority) -> str:
        """Probe, ask, store; answers why it had to stop, or nothing."""
        job, scan = self._job, self._job.scan
        for facts in await self._store.opened(scan.id):
            self._open.add((facts.address, facts.port))
            if not facts.identified:
                self._ask(facts)
        if job.cancelled or job.suspended:
            return ""
        probing = asyncio.get_running_loop().run_in_executor(self._threads, self._engine.run)
        problem = ""
        saved = checked = time.monotonic()
        checkpoint = scan.checkpoint
        try:
            while True:
                over = probing.done() and not self._asking
                stopping = job.cancelled or job.suspended or bool(problem)
                if stopping:
                    await self._give_up(probing)
                # The mark is read before the answers: everything below it is among them, and is stored with it.
                mark = self._engine.low_water
                self._take_answers()
                now = time.monotonic()
                job.progress = self._measure()
                fresh = bool(self._ports or self._findings)
                if fresh or over or stopping or (mark > checkpoint and now - saved >= _SAVE_EVERY):
                    await self._save(mark)
                    checkpoint, saved = mark, now
                    job.tell()
                if stopping or (over and not (self._asking or self._answers or self._ports or self._findings)):
                    break
                if now - checked >= _AUTHORITY_EVERY:
                    problem, checked = await authority(scan), now
                await asyncio.wait(self._unfinished(probing), timeout=_TICK)
            if not stopping:
                probing.result()
        finally:
            self._engine.stopped.set()
            await self._give_up(probing)
        return problem

    def _unfinished(self, probing: asyncio.Future[bool]) -> set[asyncio.Future[Any]]:
        tasks: set[asyncio.Future[Any]] = {probing, *self._asking}
        return {task for task in tasks if not task.done()} or {probing}

    async def _give_up(self, probing: asyncio.Future[bool]) -> None:
        self._engine.stopped.set()
        for task in self._asking:
            task.cancel()
        await asyncio.wait(self._unfinished(probing))

    def _take_answers(self) -> None:
        while self._answers:
            answer = self._answers.popleft()
            asked = answer.state is PortState.OPEN and self._may_ask(answer.address)
            facts = PortFacts(answer.address, answer.port, answer.state, answer.round_trip, identified=not asked)
            self._ports.append(facts)
            if answer.state is PortState.OPEN:
                self._open.add((answer.address, answer.port))
            if asked and not (self._job.cancelled or self._job.suspended):
                self._ask(facts)

    def _may_ask(self, address: str) -> bool:
        self._asked[address] += 1
        return not self._job.scan.spec.skip_banners and self._asked[address] <= _MAX_BANNERS_PER_HOST

    def _ask(self, facts: PortFacts) -> None:
        task = asyncio.create_task(self._identify(facts))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _identify(self, facts: PortFacts) -> None:
        async with self._slots:
            banner = await self._banners.read(facts.address, facts.port)
        service = identify(banner)
        known = replace(
            facts,
            identified=True,
            service=service.name,
            product=service.product,
            version=service.version,
            cpe=service.cpe,
            banner=printable(banner.data),
            tls=banner.tls,
        )
        # Before the port counts as identified: a restart in between asks it again, and so loses no finding.
        exposed = await self._advisor.look(known, service)
        self._ports.append(known)
        self._findings += exposed.findings
        self._knowledge_version = exposed.knowledge_version or self._knowledge_version
        now = datetime.now(UTC)
        for problem in misconfigurations.check(facts.address, facts.port, banner, service):
            self._findings.append(
                Finding(
                    id=problem.id,
                    address=problem.address,
                    port=problem.port,
                    severity=problem.severity,
                    title=problem.title,
                    evidence=problem.evidence,
                    remedy=problem.remedy,
                    create_time=now,
                )
            )

    async def _save(self, mark: int) -> None:
        ports, self._ports = self._ports, []
        findings, self._findings = self._findings, []
        found = Found(ports, findings, self._knowledge_version)
        await self._store.record(self._job.scan.id, found, mark, self._job.progress)

    def _measure(self) -> Progress:
        before = self._job.scan
        done, total = self._engine.done, self._engine.total
        here = done - before.checkpoint
        spent = time.monotonic() - self._begun
        return Progress(
            probes_total=total,
            probes_done=done,
            ports_open=len(self._open),
            hosts_up=max(before.progress.hosts_up, self._engine.hosts_up),
            remaining=spent / here * (total - done) if here > 0 else None,
        )


def _pace(scan: Scan, defaults: Pace) -> Pace:
    """The service's pace with the scan's own wishes; what stays on this machine has no limit unless it asks for one."""
    leaves = any(not (span.first.is_loopback and span.last.is_loopback) for span in scan.plan.spans)
    limit = defaults.rate if leaves else 0.0
    wish = float(scan.spec.max_rate)
    rate = min(wish, limit) if wish and limit else wish or limit
    return replace(
        defaults,
        timeout=scan.spec.probe_timeout or defaults.timeout,
        retries=defaults.retries if scan.spec.retries is None else scan.spec.retries,
        rate=rate,
    )
