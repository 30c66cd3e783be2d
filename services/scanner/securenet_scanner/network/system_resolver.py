"""Resolves host names as this machine does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence


async def resolve_by_system(name: str) -> Sequence[str]:
    """Every address of a name, in the system's order. Raises OSError where there is none."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in found]
