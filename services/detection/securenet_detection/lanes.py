"""One stream of requests whose answers come from several places, each of which answers in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, eq=False)
class _Lane(Generic[Request, Answer]):
    requests: asyncio.Queue[Request | None]
    answers: AsyncGenerator[Answer, None]


async def by_lane(
    requests: AsyncIterator[Request],
    lane_of: Callable[[Request], Hashable],
    opened: Callable[[Hashable, AsyncIterator[Request]], AsyncGenerator[Answer, None]],
    *,
    window: int,
) -> AsyncGenerator[Answer, None]:
    """One answer a request, in the order of the requests. It ends once every lane has ended.

    Args:
        requests: read no further than `window` answers ahead of what was taken.
        lane_of: where a request belongs.
        opened: answers a lane's requests, one each, in order; called once a lane.
        window: requests that may be on their way.

    Raises:
        Exception: what reading or a lane raised, after every answer that came before.
    """
    lanes: dict[Hashable, _Lane[Request, Answer]] = {}
    order: asyncio.Queue[_Lane[Request, Answer] | Exception | None] = asyncio.Queue(window)
    async with AsyncExitStack() as stack:

        async def feed() -> None:
            try:
                async for request in requests:
                    key = lane_of(request)
                    if key not in lanes:
                        queue: asyncio.Queue[Request | None] = asyncio.Queue()
                        answers = await stack.enter_async_context(aclosing(opened(key, _until_none(queue))))
                        lanes[key] = _Lane(queue, answers)
                    lanes[key].requests.put_nowait(request)
                    await order.put(lanes[key])
            except Exception as error:  # noqa: BLE001 - raised again by the reader, after what came before it
                await order.put(error)
            else:
                await order.put(None)

        feeding = asyncio.create_task(feed())
        try:
            while (following := await order.get()) is not None:
                if isinstance(following, Exception):
                    raise following
                yield await anext(following.answers)
            for lane in lanes.values():
                lane.requests.put_nowait(None)
                async for _ in lane.answers:
                    raise RuntimeError("more answers than requests")
        finally:
            feeding.cancel()
            with suppress(asyncio.CancelledError):
                await feeding


async def _until_none(queue: asyncio.Queue[Request | None]) -> AsyncIterator[Request]:
    while (request := await queue.get()) is not None:
        yield request
