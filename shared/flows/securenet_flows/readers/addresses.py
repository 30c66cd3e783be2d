"""Addresses in text to 16 bytes in network order, without a Python call for each IPv4 address."""

from __future__ import annotations

import socket
from typing import Final, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from securenet_flows.readers.arrow import Array, compute

_OCTETS: Final = 4
#: What IPv4 has before its four bytes (RFC 4291, 2.5.5.2).
_MAPPED: Final = bytes(10) + b"\xff\xff"


def parse_addresses(texts: Array) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Parses addresses, IPv4 into IPv6 by mapping (RFC 4291 §2.5.5.2).

    Args:
        texts: n addresses as bytes without nulls. A zone (``fe80::1%eth0``) is dropped.

    Returns:
        uint8 (n, 16), and boolean (n,) that is False where the text is no address.
    """
    rows = len(texts)
    addresses = np.zeros((rows, 16), dtype=np.uint8)
    octets = _dotted_quads(texts)
    if octets is not None:
        addresses[:, :12] = np.frombuffer(_MAPPED, np.uint8)
        addresses[:, 12:] = octets
        return addresses, np.ones(rows, np.bool_)
    packed = [_packed(text) for text in texts.to_pylist()]
    valid = np.fromiter((one is not None for one in packed), np.bool_, rows)
    sound = b"".join(one for one in packed if one is not None)
    addresses[valid] = np.frombuffer(sound, np.uint8).reshape(-1, 16)
    return addresses, valid


def _dotted_quads(texts: Array) -> NDArray[np.uint8] | None:
    """uint8 (n, 4), where all are IPv4 without leading zeros, which some take for octal; else None."""
    try:
        parts = compute.split_pattern(compute.cast(texts, pa.string()), ".")
        if not compute.all(compute.equal(compute.list_value_length(parts), _OCTETS)).as_py():
            return None
        numbers = parts.flatten()
        long = compute.greater(compute.binary_length(numbers), 1)
        if compute.any(compute.and_(long, compute.starts_with(numbers, "0"))).as_py():
            return None
        octets = compute.cast(numbers, pa.uint8()).to_numpy()
    except pa.ArrowInvalid:
        return None
    return cast("NDArray[np.uint8]", octets.reshape(-1, _OCTETS))


def _packed(text: bytes) -> bytes | None:
    try:
        address = text.decode("ascii")
        if ":" not in address:
            return _MAPPED + socket.inet_pton(socket.AF_INET, address)
        return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        return None
