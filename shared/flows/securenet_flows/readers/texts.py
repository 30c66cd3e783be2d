"""Bytes of a file as text."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import numpy as np
import pyarrow as pa

from securenet_flows.batch import Dictionary
from securenet_flows.readers.arrow import Array, compute, is_text

_CAME_CHARACTERS: Final = 60


def encode_text(array: Array, unescape: Callable[[bytes], bytes] | None = None) -> Dictionary:
    """A text column. Bytes that are not UTF-8 are read as Windows-1252, which any byte is."""
    if not pa.types.is_dictionary(array.type):
        if not is_text(array):
            array = compute.cast(array, pa.string())
        array = array.dictionary_encode()
    indices = array.indices.fill_null(-1) if array.indices.null_count else array.indices
    codes = indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    values = compute.cast(array.dictionary, pa.binary())
    empty = compute.index(values, b"").as_py()
    if empty >= 0:
        codes = np.where(codes == empty, np.int32(-1), codes)
    escaped = unescape is not None and len(values) > 0 and compute.any(compute.match_substring(values, "\\")).as_py()
    if not escaped:
        try:
            return Dictionary(codes, tuple(compute.cast(values, pa.string()).to_pylist()))
        except pa.ArrowInvalid:
            pass
    texts = [decode_text(unescape(value) if unescape is not None else value) for value in values.to_pylist()]
    distinct = Dictionary.encode(texts)
    return Dictionary(np.append(distinct.codes, np.int32(-1))[codes], distinct.values)


def decode_text(value: bytes) -> str:
    """Text of bytes: UTF-8, else Windows-1252 with its five undefined bytes as Latin-1 has them."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "".join(_windows_1252(byte) for byte in value)


def _windows_1252(byte: int) -> str:
    return bytes((byte,)).decode("cp1252", "ignore") or chr(byte)


def show(came: object) -> str:
    """A value for a message: short, printable, "nothing" for None."""
    if came is None:
        return "nothing"
    if isinstance(came, Decimal):
        came = f"{came:f}".rstrip("0").rstrip(".")
    text = decode_text(came) if isinstance(came, bytes) else str(came)
    return repr(text if len(text) <= _CAME_CHARACTERS else text[:_CAME_CHARACTERS] + "…")
