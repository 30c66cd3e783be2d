"""Addresses in text to 16 bytes in network order, without a Python call for each IPv4 address."""

from __future__ import annotations

import socket
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_flows.readers.arrow import Array, buffer_of

_LONGEST_IPV4: Final = 15
_DOT: Final = ord(".")
_ZERO: Final = ord("0")


def parse_addresses(texts: Array) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Parses addresses, IPv4 into IPv6 by mapping (RFC 4291 §2.5.5.2).

    Args:
        texts: n addresses as bytes without nulls. A zone (``fe80::1%eth0``) is dropped.

    Returns:
        uint8 (n, 16), and boolean (n,) that is False where the text is no address.
    """
    rows = len(texts)
    addresses = np.zeros((rows, 16), dtype=np.uint8)
    octets, valid = _parse_ipv4(*_buffers(texts))
    addresses[valid, 10:12] = 0xFF
    addresses[valid, 12:] = octets[valid]
    rest = np.flatnonzero(~valid)
    for row in rest.tolist():
        packed = _parse_ipv6(texts[row].as_py())
        if packed is not None:
            addresses[row] = np.frombuffer(packed, dtype=np.uint8)
            valid[row] = True
    return addresses, valid


def _buffers(texts: Array) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """The bytes of an Arrow binary array, with the start and the length of each value."""
    rows = len(texts)
    data = buffer_of(texts, 2, np.uint8)
    if not len(data):
        return np.zeros(1, np.uint8), np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    offsets = buffer_of(texts, 1, np.int32)[texts.offset : texts.offset + rows + 1].astype(np.int64)
    return data, offsets[:-1], np.diff(offsets)


def _parse_ipv4(
    data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Dotted quads without leading zeros, one character position of all rows at a time."""
    rows = len(starts)
    octets = np.zeros((rows, 4), dtype=np.uint8)
    valid = (lengths >= len("0.0.0.0")) & (lengths <= _LONGEST_IPV4)  # noqa: S104  # a text length, nothing is bound
    octet = np.zeros(rows, dtype=np.int32)
    digits = np.zeros(rows, dtype=np.int8)
    dots = np.zeros(rows, dtype=np.int8)
    every = np.arange(rows)
    for position in range(_LONGEST_IPV4 + 1):
        inside = position < lengths
        character = np.where(inside, data[np.minimum(starts + position, len(data) - 1)], _DOT).astype(np.int32)
        # Past the end every position counts as a dot; only the first of them closes an octet.
        closes = (character == _DOT) & (inside | (position == lengths))
        digit = character - _ZERO
        is_digit = (digit >= 0) & (digit <= 9)
        valid &= is_digit | (character == _DOT)
        valid &= ~closes | ((digits > 0) & (dots < 4))
        place = np.minimum(dots, 3)
        octets[every, place] = np.where(closes, octet, octets[every, place]).astype(np.uint8)
        valid &= ~(is_digit & (digits > 0) & (octet == 0))
        octet = np.where(is_digit, octet * 10 + digit, 0)
        digits = np.where(is_digit, digits + 1, 0).astype(np.int8)
        dots = (dots + closes).astype(np.int8)
        valid &= octet <= 0xFF
        octet = np.minimum(octet, 0xFFF)
    valid &= dots == 4
    return octets, valid


def _parse_ipv6(text: bytes) -> bytes | None:
    try:
        return socket.inet_pton(socket.AF_INET6, text.partition(b"%")[0].decode("ascii"))
    except (OSError, ValueError):
        return None
