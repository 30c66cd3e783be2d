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
    """Dotted quads without leading zeros: finds the dots of all rows at once, then reads four octets of each."""
    octets = np.zeros((len(starts), 4), dtype=np.uint8)
    valid = np.zeros(len(starts), dtype=np.bool_)
    ends = starts + lengths
    dots = np.flatnonzero(data == _DOT)
    first = np.searchsorted(dots, starts)
    rows = np.flatnonzero((np.searchsorted(dots, ends) - first == 3) & (lengths <= _LONGEST_IPV4))
    if not len(rows):
        return octets, valid
    first = first[rows]
    edges = np.stack([starts[rows] - 1, dots[first], dots[first + 1], dots[first + 2], ends[rows]], axis=1)
    begin, last = edges[:, :-1] + 1, edges[:, 1:] - 1
    digits = last - begin + 1
    value = np.zeros(begin.shape, dtype=np.int32)
    sound = (digits >= 1) & (digits <= 3)
    for place, weight in enumerate((1, 10, 100)):
        used = digits > place
        digit = data[np.maximum(last - place, 0)].astype(np.int32) - _ZERO
        sound &= ~used | ((digit >= 0) & (digit <= 9))
        value += np.where(used, digit * weight, 0)
    sound &= (value <= 0xFF) & ((digits == 1) | (data[np.minimum(begin, len(data) - 1)] != _ZERO))
    valid[rows] = sound.all(axis=1)
    octets[rows] = value.astype(np.uint8)
    return octets, valid


def _parse_ipv6(text: bytes) -> bytes | None:
    try:
        return socket.inet_pton(socket.AF_INET6, text.partition(b"%")[0].decode("ascii"))
    except (OSError, ValueError):
        return None
