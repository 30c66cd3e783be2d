"""What callers may ask of the knowledge base."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from securenet_core.exceptions import (
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
)
from securenet_scanner.advisories.knowledge import AdvisorySource, Knowledge, KnowledgeBase, KnowledgeFileError
from securenet_scanner.advisories.matching import PackageMatch, PurlsError, match_packages


class Packages:
    """Matches packages in threads of its own: a thousand of them take longer than the event loop may stand still."""

    def __init__(self, base: KnowledgeBase) -> None:
        self._base = base
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="match")

    async def match(self, purls: Sequence[str]) -> tuple[list[PackageMatch], Knowledge]:
        """What is known of package URLs, in their order, all from one version of the knowledge.

        Raises `FailedPreconditionError` where nothing has been imported, and `InvalidArgumentError` naming every URL
        that cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._match, tuple(purls))

    async def knowledge(self) -> Knowledge | None:
        """What the knowledge base holds; None where nothing has been imported."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._knowledge)

    async def close(self) -> None:
        """End what runs."""
        await asyncio.to_thread(self._threads.shutdown)

    @contextmanager
    def _reading(self) -> Iterator[AdvisorySource | None]:
        try:
            with self._base.reading() as source:
                yield source
        except KnowledgeFileError as error:
            raise FailedPreconditionError(str(error), reason="KNOWLEDGE_UNUSABLE") from error

    def _match(self, purls: Sequence[str]) -> tuple[list[PackageMatch], Knowledge]:
        with self._reading() as source:
            if source is None:
                raise FailedPreconditionError(
                    "no knowledge has been imported; UpdateKnowledge imports it (securenet knowledge import)",
                    reason="NO_KNOWLEDGE",
                )
            try:
                return match_packages(source, purls), source.knowledge
            except PurlsError as error:
                fields = [FieldViolation(f"purls[{place}]", reason) for place, reason in error.problems]
                raise InvalidArgumentError(str(error), reason="PURL_INVALID", fields=fields) from error

    def _knowledge(self) -> Knowledge | None:
        with self._reading() as source:
            return None if source is None else source.knowledge
