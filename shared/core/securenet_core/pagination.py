"""Page tokens of list methods (AIP-158): opaque to callers, bound to the request that they continue."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Final

from securenet_core.exceptions import InvalidArgumentError

DEFAULT_PAGE_SIZE: Final = 100

Scalar = str | int | float | None


def encode_page_token(position: Sequence[Scalar], query: Sequence[Scalar] = ()) -> str:
    """A token that continues after `position`.

    Args:
        position: sort key of the last item of the page.
        query: every parameter of the request that chooses the items; the next request must bear the same.
    """
    payload = json.dumps([list(position), _fingerprint(query)], separators=(",", ":"))
    return base64.urlsafe_b64encode(payload.encode()).decode().rstrip("=")


def decode_page_token(token: str, query: Sequence[Scalar] = (), *, length: int = 1) -> list[Scalar] | None:
    """The position that `token` continues after; None for an empty token, the first page.

    Args:
        token: what the caller sent.
        query: as for :func:`encode_page_token`.
        length: how many parts a position has.

    Raises:
        InvalidArgumentError: the token was not made by this service, or for another request.
    """
    if not token:
        return None
    try:
        payload = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        position, fingerprint = payload
        valid = (
            isinstance(position, list)
            and len(position) == length
            and all(part is None or isinstance(part, str | int | float) for part in position)
        )
    except (binascii.Error, ValueError, TypeError, RecursionError):
        valid, position, fingerprint = False, None, None
    if not valid:
        raise InvalidArgumentError.of("page_token", "not a token of this service; take next_page_token as it came")
    if fingerprint != _fingerprint(query):
        raise InvalidArgumentError.of("page_token", "made for another request; keep all other fields the same")
    return list(position)


def page_size(requested: int) -> int:
    """The number of items of a page: what was asked for, or the default where nothing was."""
    return requested or DEFAULT_PAGE_SIZE


def _fingerprint(query: Sequence[Scalar]) -> str:
    return hashlib.sha256(json.dumps(list(query)).encode()).hexdigest()[:12]
