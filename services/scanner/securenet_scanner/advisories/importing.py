"""Importing knowledge: one import at a time, in a thread, told step by step, given up when nobody listens any more."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from securenet_core.exceptions import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    UnavailableError,
)
from securenet_core.principal import Principal
from securenet_scanner.advisories.feeds import FeedError
from securenet_scanner.advisories.knowledge import Knowledge, KnowledgeBase
from securenet_scanner.scans.scan import AuditEntry


@dataclass(frozen=True, slots=True)
class ImportStep:
    """How far an import is. The last step carries what serves now."""

    feed: str
    records_read: int = 0
    bytes_read: int = 0
    bytes_total: int | None = None
    rejected: int = 0
    rejections: tuple[str, ...] = ()
    knowledge: Knowledge | None = None


Teller = Callable[[ImportStep], None]


class KnowledgeBuilder(Protocol):
    """Builds the file of the knowledge base. Both methods block; they run in a thread."""

    def build(
        self, folder: Path, source: str, tell: Teller, cancelled: threading.Event, *, validate_only: bool
    ) -> None:
        """Import a folder of feeds; raises `FeedError`, and leaves everything as it was, where one is broken."""
        ...


class FeedSource(Protocol):
    """Brings feeds from addresses into a folder."""

    def check(self, url: str) -> str:
        """Why an address is not fetched; empty where it is."""
        ...

    def fetch(self, urls: Sequence[str], folder: Path, tell: Teller, cancelled: threading.Event) -> None:
        """Fetch every address into the folder; raises `FeedError`."""
        ...


@dataclass(frozen=True, slots=True)
class ImportPermissions:
    """Where feeds may lie."""

    roots: tuple[Path, ...]
    """Folders below which a caller may name one; empty: none."""
    any_folder: bool
    """Where no roots are named: every folder, because callers are on this machine already."""


class AuditLog(Protocol):
    """Where it is kept who did what."""

    async def audit(self, entry: AuditEntry) -> None:
        """Keep it; answers after the commit."""
        ...


class KnowledgeImports:
    """Brings the knowledge base up to date.

    Args:
        draining: set when the process ends; an import is given up then, for it may last longer than the grace.
    """

    def __init__(
        self,
        base: KnowledgeBase,
        builder: KnowledgeBuilder,
        source: FeedSource,
        permissions: ImportPermissions,
        audit: AuditLog,
        *,
        draining: asyncio.Event,
    ) -> None:
        self._audit = audit
        self._draining = draining
        self._base = base
        self._builder = builder
        self._source = source
        self._permissions = permissions
        self._busy = asyncio.Lock()

    async def run(
        self, principal: Principal, directory: str, urls: Sequence[str], *, validate_only: bool
    ) -> AsyncIterator[ImportStep]:
        """Import from a folder, or from addresses, with progress.

        Raises `InvalidArgumentError` for a wrong request, `PermissionDeniedError` for a folder outside the roots,
        `AbortedError` while another import runs, `FailedPreconditionError` where a feed is broken and
        `UnavailableError` where the process ends first; then what served before still serves.
        """
        if bool(directory) == bool(urls):
            raise InvalidArgumentError.of("directory", "expected either a directory or urls")
        folder = self._folder(directory) if directory else None
        for place, url in enumerate(urls):
            if problem := self._source.check(url):
                raise InvalidArgumentError.of(f"urls[{place}]", problem)
        if self._busy.locked():
            raise AbortedError("another import is running", reason="IMPORT_RUNNING", retry_after=10.0)
        async with self._busy:
            detail = directory or ", ".join(urls)
            await self._audit.audit(
                AuditEntry(
                    time=datetime.now(UTC),
                    tenant=principal.tenant,
                    subject=principal.subject,
                    action="knowledge.check" if validate_only else "knowledge.update",
                    resource="knowledge",
                    authority=(),
                    detail=detail[:4_000],
                )
            )
            async with aclosing(self._steps(folder, urls, validate_only=validate_only)) as steps:
                async for step in steps:
                    yield step

    async def _steps(
        self, folder: Path | None, urls: Sequence[str], *, validate_only: bool
    ) -> AsyncGenerator[ImportStep, None]:
        loop = asyncio.get_running_loop()
        steps: asyncio.Queue[ImportStep | None] = asyncio.Queue()
        cancelled = threading.Event()

        def tell(step: ImportStep) -> None:
            loop.call_soon_threadsafe(steps.put_nowait, step)

        def work() -> None:
            try:
                self._work(folder, urls, tell, cancelled, validate_only=validate_only)
            finally:
                loop.call_soon_threadsafe(steps.put_nowait, None)

        async def give_up() -> None:
            await self._draining.wait()
            cancelled.set()

        giving_up = asyncio.create_task(give_up())
        working = loop.run_in_executor(None, work)
        last = ImportStep("")
        try:
            while (step := await steps.get()) is not None:
                last = step
                yield step
            try:
                await working
            except FeedError as error:
                if self._draining.is_set():
                    raise UnavailableError(
                        "the scanner is draining, and the import was given up; what served before still serves",
                        reason="DRAINING",
                        retry_after=10.0,
                    ) from error
                raise FailedPreconditionError(
                    f"{error}; what served before still serves", reason="FEED_BROKEN"
                ) from error
            with self._base.reading() as source:
                yield replace(last, knowledge=None if source is None else source.knowledge)
        finally:
            giving_up.cancel()
            cancelled.set()
            if not working.done():
                await asyncio.wait({working})

    def _work(
        self,
        folder: Path | None,
        urls: Sequence[str],
        tell: Teller,
        cancelled: threading.Event,
        *,
        validate_only: bool,
    ) -> None:
        if folder is not None:
            self._builder.build(folder, str(folder), tell, cancelled, validate_only=validate_only)
            return
        fetched = Path(tempfile.mkdtemp(prefix="securenet-feeds-"))
        try:
            self._source.fetch(urls, fetched, tell, cancelled)
            self._builder.build(fetched, ", ".join(urls)[:2_000], tell, cancelled, validate_only=validate_only)
        finally:
            shutil.rmtree(fetched, ignore_errors=True)

    def _folder(self, directory: str) -> Path:
        if "\0" in directory:
            raise InvalidArgumentError.of("directory", "holds a zero byte")
        try:
            folder = Path(directory).resolve()
            is_folder = folder.is_dir()
        except OSError as error:
            raise InvalidArgumentError.of("directory", f"no path: {error.strerror}") from error
        roots = [root.resolve() for root in self._permissions.roots]
        if not (any(folder.is_relative_to(root) for root in roots) or (not roots and self._permissions.any_folder)):
            below = ", ".join(str(root) for root in roots) or "none; the setting knowledge_roots names them"
            raise PermissionDeniedError(
                f"feeds are not read from {directory}; allowed folders: {below}", reason="FOLDER_NOT_ALLOWED"
            )
        if not is_folder:
            raise InvalidArgumentError.of("directory", f"{directory} is no folder on the scanner's machine")
        return folder
