"""Answers requests of a stream in their order, while what the answers before them wait for goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")

#: An answer, and what must be done before it may leave; None where nothing must.
Prepared = tuple[Answer, Awaitable[object] | None]


async def in_order(
    requests: AsyncIterator[Request], prepare: Callable[[Request], Awaitable[Prepared[Answer]]], *, window: int
) -> AsyncGenerator[Answer, None]:
    """One answer a request, in order.

    Args:
        requests: read no further than `window` answers ahead of what was taken.
        prepare: answers a request; called for one at a time.
        window: answers that may wait.

    Raises:
        Exception: what reading or preparing raised, after every answer that was prepared before.
    """
    ready: asyncio.Queue[Prepared[Answer] | Exception | None] = asyncio.Queue(window)

    async def feed() -> None:
        try:
            async for request in requests:
                await ready.put(await prepare(request))
        except Exception as error:  # noqa: BLE001 - raised again by the reader, after what was prepared before it
            await ready.put(error)
        else:
            await ready.put(None)

    feeding = asyncio.create_task(feed())
    try:
        while (prepared := await ready.get()) is not None:
            if isinstance(prepared, Exception):
                raise prepared
            answer, pending = prepared
            if pending is not None:
                await pending
            yield answer
    finally:
        feeding.cancel()
        with suppress(asyncio.CancelledError):
            await feeding
