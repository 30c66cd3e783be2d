"""Housekeeping beside the calls: what must be let go of although nobody asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog


@asynccontextmanager
async def swept(work: Callable[[], Awaitable[None]], *, name: str, seconds: float) -> AsyncIterator[None]:
    """Does `work` every so many seconds while the context is open. A round that fails is logged; the next one tries."""
    task = asyncio.create_task(_rounds(work, name, seconds), name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def lateness(tell: Callable[[float], None], *, seconds: float = 0.1) -> AsyncIterator[None]:
    """Tells again and again by how many seconds the event loop is late, while the context is open."""
    task = asyncio.create_task(_ticks(tell, seconds), name="lateness")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _ticks(tell: Callable[[float], None], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + seconds
        await asyncio.sleep(seconds)
        tell(max(loop.time() - due, 0.0))


async def _rounds(work: Callable[[], Awaitable[None]], name: str, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception:  # noqa: BLE001 - the next round may find the database in better health, which probes tell of
            structlog.get_logger().exception("sweep_failed", sweep=name)
