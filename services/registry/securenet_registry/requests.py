"""Calls that may be repeated: the same key gets the same answer, and another request under that key is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from securenet_core.exceptions import InvalidArgumentError
from securenet_registry.ledger import LedgerTransaction


def remembered(
    tx: LedgerTransaction, method: str, request_id: str, request: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """What the request was answered before; None where it is new or bears no key.

    Raises:
        InvalidArgumentError: the key was used for another request.
    """
    if not request_id:
        return None
    answer = tx.request(method, request_id)
    if answer is not None and answer["fingerprint"] != _fingerprint(request):
        raise InvalidArgumentError.of("request_id", f"{request_id!r} was used for another {method}; expected a new key")
    return answer


def remember(
    tx: LedgerTransaction, method: str, request_id: str, request: Mapping[str, Any], now_ns: int, **answer: Any
) -> None:
    """Notes what the request is answered; nothing where it bears no key."""
    if request_id:
        tx.add_request(method, request_id, {**answer, "fingerprint": _fingerprint(request)}, now_ns)


def _fingerprint(request: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).hexdigest()
