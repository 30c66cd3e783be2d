"""Wakes those who wait for something to change. What changed they read themselves, so nobody's backlog grows."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

#: The key of those who want to hear of every change.
ANYTHING: Final = "anything"


class Changes:
    """Waiters by key. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiters: dict[Hashable, set[asyncio.Event]] = {}

    @contextmanager
    def subscribe(self, key: Hashable) -> Iterator[asyncio.Event]:
        """An event that is set whenever the key changes, until the block ends; who woke clears it, then reads."""
        event = asyncio.Event()
        self._waiters.setdefault(key, set()).add(event)
        try:
            yield event
        finally:
            remaining = self._waiters[key]
            remaining.discard(event)
            if not remaining:
                del self._waiters[key]

    def notify(self, key: Hashable) -> None:
        """The key changed; those who subscribed to :data:`ANYTHING` hear of it too."""
        for event in (*self._waiters.get(key, ()), *self._waiters.get(ANYTHING, ())):
            event.set()


async def woken(event: asyncio.Event, seconds: float) -> bool:
    """Waits for the event, at most so long; clears it and says whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True
