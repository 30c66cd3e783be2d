"""Tokens from which a watch goes on: made by one store for one tenant, and worth nothing to any other."""

from __future__ import annotations

from securenet_core.exceptions import InvalidArgumentError
from securenet_core.pagination import decode_page_token, encode_page_token


def resume_token(change: int, *, tenant: str, identity: int) -> str:
    """A token that goes on after a change, at most 64 characters.

    Args:
        identity: a number that only the store knows, so that nobody else can make a token.
    """
    return encode_page_token([change], ("watch", tenant, identity))


def resume_position(token: str, *, tenant: str, identity: int) -> int | None:
    """The change that a token goes on after, None without a token.

    Raises:
        InvalidArgumentError: the token is not of this store and tenant.
    """
    try:
        position = decode_page_token(token, ("watch", tenant, identity))
    except InvalidArgumentError as error:
        raise InvalidArgumentError.of(
            "resume_token", "not a token of this service and tenant; take resume_token as it came"
        ) from error
    if position is None:
        return None
    change = position[0]
    if type(change) is not int or change < 0:
        raise InvalidArgumentError.of("resume_token", "not a token of this service; take resume_token as it came")
    return change
