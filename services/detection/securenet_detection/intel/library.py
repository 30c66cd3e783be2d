"""Every tenant's feeds: imported, kept on disk, and swapped between batches.

A change is made aside (read, checked, written, compiled) and then shown to the engine by one assignment, so that a
batch is compared with the old set or the new one and no call waits for either.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from securenet_core.exceptions import (
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from securenet_core.logs import get_logger
from securenet_detection.intel.columns import Columns, FeedTooLargeError, Rejection
from securenet_detection.intel.feeds import Feed, FeedHeader, Limits
from securenet_detection.intel.index import Answer, IntelIndex
from securenet_detection.intel.indicator_set import BrokenSetError, IndicatorSet, read_set, write_set
from securenet_detection.intel.reading import read_upload

Changed = TypeVar("Changed")

_SUFFIX: Final = ".intel"

#: Uploads that may stand at once; each has a file of at most the largest feed's size.
_UPLOADS: Final = 8

_ABANDONED_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class LibraryLimits:
    """Bounds: of one feed; indicators and feeds of a tenant, indicators of all tenants."""

    feed: Limits
    feeds: int
    total_indicators: int


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import: the feed as it stands, where it could not be read, and the version of the set."""

    feed: Feed
    rejections: tuple[Rejection, ...]
    version: int


class IntelLibrary:
    """For one event loop.

    Args:
        folder: of the sets; made when it is needed.
        limits: bounds.
        clock: seconds since the epoch.
    """

    def __init__(self, folder: Path, limits: LibraryLimits, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._limits = limits
        self._clock = clock
        self._seed = secrets.randbits(63)
        self._sets: dict[str, IndicatorSet] = {}
        self._indexes: dict[str, IntelIndex] = {}
        self._changing = asyncio.Lock()
        self._uploads = 0
        #: When each file was written, as far as it is known here.
        self._written: dict[Path, int] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._log = get_logger("intel")
        #: Files that could not be read at the start, with the reason.
        self.broken: tuple[str, ...] = ()

    async def open(self) -> None:
        """Loads every tenant's set. A file that is broken is left where it is, said so, and not used."""
        loaded, broken = await asyncio.to_thread(self._load)
        for stored, index in loaded:
            self._sets[stored.tenant] = stored
            self._indexes[stored.tenant] = index
        self.broken = tuple(broken)
        for reason in broken:
            self._log.error("intel set not loaded", reason=reason)

    async def refresh(self) -> None:
        """Takes over what another process on the same folder has imported or deleted."""
        async with self._changing:
            for stored, index in await asyncio.to_thread(self._changed):
                self._sets[stored.tenant] = stored
                self._indexes[stored.tenant] = index

    def _changed(self) -> list[tuple[IndicatorSet, IntelIndex]]:
        found: list[tuple[IndicatorSet, IntelIndex]] = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            try:
                written = path.stat().st_mtime_ns
                if self._written.get(path) == written:
                    continue
                self._written[path] = written
                stored = read_set(path, max_indicators=self._limits.feed.max_indicators)
            except (OSError, BrokenSetError) as error:
                self._log.error("intel set not loaded", reason=str(error))
                continue
            known = self._sets.get(stored.tenant)
            if path == self._path(stored.tenant) and (known is None or known.version != stored.version):
                found.append((stored, self._index_of(stored)))
        return found

    def index(self, tenant: str) -> IntelIndex | None:
        """What the tenant's flows are compared with now; None where nothing was imported."""
        return self._indexes.get(tenant)

    @property
    def indicators(self) -> int:
        """How many are held, of all tenants."""
        return sum(map(len, self._indexes.values()))

    @property
    def nbytes(self) -> int:
        """Memory of all sets."""
        return sum(index.nbytes for index in self._indexes.values())

    def feeds(self, tenant: str) -> tuple[Feed, ...]:
        """The tenant's feeds, by name."""
        index = self._indexes.get(tenant)
        return () if index is None else index.feeds

    def version(self, tenant: str) -> int:
        """Version of the tenant's set; 0 where nothing was ever imported."""
        stored = self._sets.get(tenant)
        return 0 if stored is None else stored.version

    async def lookup(self, tenant: str, values: Sequence[str]) -> tuple[list[Answer], int]:
        """What is known of each value, in their order, and the version of the set that says so."""
        index = self._indexes.get(tenant)
        if index is None:
            index = IntelIndex(Columns.concatenate(()), (), version=0, seed=self._seed)
        asked = index
        return await asyncio.to_thread(lambda: [asked.lookup(value) for value in values]), index.version

    async def import_feed(self, tenant: str, header: FeedHeader, chunks: AsyncIterator[bytes]) -> Imported:
        """Takes a feed in; durable, and in use, when this returns. The same feed again changes nothing but its time.

        Raises:
            AlreadyExistsError: another feed has its name, and is not to be replaced.
            InvalidArgumentError: nothing in it could be used, and something should have been.
            ResourceExhaustedError: a bound is passed, or too many imports run.
        """
        if self._uploads >= _UPLOADS:
            raise ResourceExhaustedError(
                f"{_UPLOADS} feeds are being imported; at most so many may be", reason="TOO_MANY_IMPORTS",
                retry_after=5.0,
            )  # fmt: skip
        self._uploads += 1
        upload = tempfile.TemporaryFile()  # noqa: SIM115 - closed by whoever has it last
        try:
            await self._receive(upload, chunks)
        except BaseException:
            self._dismiss(upload)
            raise
        return await self._finish(self._import(tenant, header, upload))

    async def delete_feed(self, tenant: str, name: str) -> int:
        """Takes a feed out; the version of the set without it.

        Raises:
            NotFoundError: the tenant has no such feed.
        """
        return await self._finish(self._delete(tenant, name))

    async def close(self) -> None:
        """Waits for changes that were begun."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _finish(self, change: Coroutine[Any, Any, Changed]) -> Changed:
        """Ends what was begun, also where the caller leaves: a file must not be newer than what is in use."""
        task = asyncio.create_task(change)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    def _dismiss(self, upload: IO[bytes]) -> None:
        upload.close()
        self._uploads -= 1

    async def _delete(self, tenant: str, name: str) -> int:
        async with self._changing:
            stored = self._sets.get(tenant)
            if stored is None or stored.feed(name) is None:
                raise NotFoundError(f"indicatorFeeds/{name}: there is no such feed")
            await self._swap(await asyncio.to_thread(stored.without, name))
            self._log.info("intel feed deleted", tenant=tenant, feed=name)
            return self._sets[tenant].version

    async def _receive(self, upload: IO[bytes], chunks: AsyncIterator[bytes]) -> None:
        size = 0
        limit = self._limits.feed.max_bytes
        async for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise ResourceExhaustedError(
                    f"more than {limit:,} bytes, which is all that a feed may have", reason="FEED_TOO_LARGE"
                )
            await asyncio.to_thread(upload.write, chunk)
        upload.seek(0)

    async def _import(self, tenant: str, header: FeedHeader, upload: IO[bytes]) -> Imported:
        try:
            async with self._changing:
                return await self._take_in(tenant, header, upload)
        finally:
            self._dismiss(upload)

    async def _take_in(self, tenant: str, header: FeedHeader, upload: IO[bytes]) -> Imported:
        stored = self._sets.get(tenant) or IndicatorSet.empty(tenant)
        known = stored.feed(header.name)
        digest = await asyncio.to_thread(lambda: hashlib.file_digest(upload, "sha256").hexdigest())  # type: ignore[arg-type]  # any file
        if known is not None and known.digest != digest and not header.replace:
            raise AlreadyExistsError(
                f"indicatorFeeds/{header.name}: there is such a feed with other content; replace it or name another"
            )
        if known is None and len(stored.feeds) >= self._limits.feeds:
            raise ResourceExhaustedError(
                f"{len(stored.feeds)} feeds; at most {self._limits.feeds} may be kept", reason="TOO_MANY_FEEDS"
            )
        try:
            read = await read_upload(upload, header, self._limits.feed, digest=digest, now=int(self._clock()))
            feed, columns = read.feed, read.columns
            if feed.rejected and not len(columns):
                first = read.rejections[0]
                raise InvalidArgumentError.of(
                    "chunk", f"nothing could be used of {feed.rejected:,} entries; {first.place}: {first.reason}"
                )
            self._check_room(stored, known, len(columns))
            changed = await asyncio.to_thread(stored.with_feed, feed, columns)
        except FeedTooLargeError as error:
            raise ResourceExhaustedError(f"{header.name}: {error}", reason="FEED_TOO_LARGE") from error
        await self._swap(changed)
        self._log.info(
            "intel feed imported", tenant=tenant, feed=header.name, format=feed.format, indicators=len(columns),
            rejected=feed.rejected, version=changed.version,
        )  # fmt: skip
        now = next(found for found in self._indexes[tenant].feeds if found.name == header.name)
        return Imported(now, read.rejections, changed.version)

    def _check_room(self, stored: IndicatorSet, known: Feed | None, more: int) -> None:
        mine = len(stored.columns) - (known.count if known else 0) + more
        others = sum(len(other.columns) for tenant, other in self._sets.items() if tenant != stored.tenant)
        if mine > self._limits.feed.max_indicators:
            raise FeedTooLargeError(f"{mine:,} indicators with those of other feeds; at most "
                                    f"{self._limits.feed.max_indicators:,} may be kept")  # fmt: skip
        if mine + others > self._limits.total_indicators:
            raise FeedTooLargeError(f"{mine + others:,} indicators of all tenants; at most "
                                    f"{self._limits.total_indicators:,} may be kept")  # fmt: skip

    async def _swap(self, changed: IndicatorSet) -> None:
        """Makes a set durable and ready, then shows it."""
        index = await asyncio.to_thread(self._index_of, changed)
        await asyncio.to_thread(write_set, changed, self._path(changed.tenant))
        self._sets[changed.tenant] = changed
        self._indexes[changed.tenant] = index

    def _index_of(self, stored: IndicatorSet) -> IntelIndex:
        return IntelIndex(stored.columns, stored.feeds, version=stored.version, seed=self._seed)

    def _path(self, tenant: str) -> Path:
        # A tenant's name may hold what a file's may not.
        return self._folder / f"{hashlib.blake2b(tenant.encode(), digest_size=16).hexdigest()}{_SUFFIX}"

    def _load(self) -> tuple[list[tuple[IndicatorSet, IntelIndex]], list[str]]:
        loaded: list[tuple[IndicatorSet, IntelIndex]] = []
        broken: list[str] = []
        room = self._limits.total_indicators
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            try:
                stored = read_set(path, max_indicators=min(room, self._limits.feed.max_indicators))
            except (OSError, BrokenSetError) as error:
                broken.append(str(error))
                continue
            if path != self._path(stored.tenant):
                broken.append(f"{path.name}: belongs to another tenant")
                continue
            room -= len(stored.columns)
            loaded.append((stored, self._index_of(stored)))
        for path in self._folder.glob("*.new"):
            # What a killed process left half written; a younger one may be another process's that still writes.
            if path.stat().st_mtime < self._clock() - _ABANDONED_SECONDS:
                path.unlink(missing_ok=True)
        return loaded, broken
