"""What every request that changes something shares: a name, an audit entry, an end that it reaches."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from securenet_core.exceptions import InvalidArgumentError
from securenet_core.principal import Principal
from securenet_scanner.scans.scan import AuditEntry

T = TypeVar("T")


def new_id() -> str:
    """A name that nobody has yet."""
    return secrets.token_hex(8)


def refuse_zero_bytes(texts: dict[str, str]) -> None:
    """Databases do not keep them in texts."""
    for field, text in texts.items():
        if "\0" in text:
            raise InvalidArgumentError.of(field, "holds a zero byte")


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await work that goes on to its end even where the one who waits is cancelled."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise


def audit_entry(
    principal: Principal, action: str, resource: str, authority: tuple[str, ...], detail: str
) -> AuditEntry:
    """Who does what now."""
    return AuditEntry(datetime.now(UTC), principal.tenant, principal.subject, action, resource, authority, detail)
