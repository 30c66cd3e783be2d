"""Runs scans: a few at a time, each stored as it goes, so that a restart goes on where it was."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

from securenet_core.logs import get_logger
from securenet_scanner.scans.execution import Authority, RunnerLimits, ScanExecution, ScanJob, Sources
from securenet_scanner.scans.scan import Progress, Scan, ScanState
from securenet_scanner.scans.stores import ScanStore, StateChangeAt

_log = get_logger(__name__)


class ScanRunner:
    """Takes scans that are stored, and sees each to its end."""

    def __init__(self, store: ScanStore, sources: Sources, limits: RunnerLimits, authority: Authority) -> None:
        self._store = store
        self._sources = sources
        self._limits = limits
        self._authority = authority
        self._jobs: dict[str, ScanJob] = {}
        self._waiting: deque[str] = deque()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._threads = ThreadPoolExecutor(limits.max_running, thread_name_prefix="scan")
        self._closing = False

    async def open(self) -> None:
        """Take up what was pending or running when the process ended."""
        for scan in await self._store.unfinished():
            self.submit(scan)

    async def close(self) -> None:
        """Stop what runs and keep where it is."""
        self._closing = True
        for job in self._jobs.values():
            job.suspended = True
            job.stop()
        if self._running:
            await asyncio.wait(self._running.values())
        await asyncio.to_thread(self._threads.shutdown)

    def submit(self, scan: Scan) -> None:
        """Queue a stored scan."""
        self._jobs[scan.id] = ScanJob(scan, scan.progress)
        self._waiting.append(scan.id)
        self._start_waiting()

    async def cancel(self, scan_id: str) -> None:
        """End a scan, keeping what it found, and return once that is stored."""
        job = self._jobs.get(scan_id)
        if job is None:
            return
        job.cancelled = True
        job.stop()
        if scan_id in self._waiting:
            self._waiting.remove(scan_id)
            await self._end(job, ScanState.CANCELLED, "")
        await job.ended.wait()

    def progress(self, scan_id: str) -> Progress | None:
        """How far an unfinished scan is, fresher than what is stored; None where it has ended."""
        job = self._jobs.get(scan_id)
        return None if job is None else job.progress

    def changed(self, scan_id: str) -> asyncio.Event | None:
        """Set when next something is stored of an unfinished scan; None where it has ended."""
        job = self._jobs.get(scan_id)
        return None if job is None else job.changed

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < self._limits.max_running and not self._closing:
            scan_id = self._waiting.popleft()
            task = asyncio.create_task(self._run(self._jobs[scan_id]), name=f"scan {scan_id}")
            self._running[scan_id] = task
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running = {scan_id: other for scan_id, other in self._running.items() if other is not task}
        self._start_waiting()

    async def _run(self, job: ScanJob) -> None:
        try:
            problem = await self._authority(job.scan)
            if problem:
                await self._end(job, ScanState.FAILED, problem)
                return
            await self._store.begin(job.scan.id, datetime.now(UTC))
            job.tell()
            problem = await ScanExecution(job, self._store, self._sources, self._limits, self._threads).run(
                self._authority
            )
        except Exception as error:  # noqa: BLE001 - one scan's failure must end that scan, and no other
            _log.error("scan broke", scan=job.scan.name, exc_info=error)
            await self._end(job, ScanState.FAILED, "the scan broke; the scanner's log has the particulars")
            return
        if job.cancelled:
            await self._end(job, ScanState.CANCELLED, "")
        elif problem:
            await self._end(job, ScanState.FAILED, problem)
        elif job.suspended:
            job.ended.set()
        else:
            await self._end(job, ScanState.SUCCEEDED, "")

    async def _end(self, job: ScanJob, state: ScanState, error: str) -> None:
        progress = replace(job.progress, remaining=None)
        try:
            await self._store.finish(job.scan.id, StateChangeAt(state, datetime.now(UTC), error, progress))
        finally:
            self._jobs.pop(job.scan.id, None)
            job.ended.set()
            job.tell()
        _log.info("scan ended", scan=job.scan.name, state=state.value, error=error, ports_open=progress.ports_open)
