"""The servicer's own: what it does besides unpacking, calling and packing."""

from __future__ import annotations

import asyncio

import pytest

from securenet_detection.server import _in_turns

pytestmark = pytest.mark.unit


async def test_others_get_their_turn_while_a_page_is_packed() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    assert await _in_turns(str, range(1000)) == list(map(str, range(1000)))
    task.cancel()
    assert turns >= 20
