"""Columns made of others."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from securenet_flows.readers.arrow import Array, compute, decoded
from securenet_flows.readers.texts import decode_text


def difference(whole: Array, part: Array) -> Array:
    """`whole` − `part` where both are whole numbers and it is not negative, else null."""
    result = compute.subtract(_numbers(whole), _numbers(part))
    return compute.if_else(compute.greater_equal(result, 0), result, pa.scalar(None, pa.int64()))


def _numbers(array: Array) -> Array:
    if pa.types.is_integer(array.type):
        return array
    texts = [None if text is None else text.strip() for text in decoded(array).to_pylist()]
    return pa.array([int(t) if t is not None and t.isdigit() and len(t) < 19 else None for t in texts], pa.int64())


def same_texts(array: Array, change: Callable[[Array], Array]) -> Array:
    """Changes the texts of a column."""
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    try:
        values = compute.cast(array.dictionary, pa.string())
    except pa.ArrowInvalid:
        values = pa.array([decode_text(value) for value in array.dictionary.to_pylist()], pa.string())
    return pa.DictionaryArray.from_arrays(array.indices, change(values))


def trimmed(texts: Array) -> Array:
    """Texts without the spaces around them."""
    return compute.utf8_trim_whitespace(texts)
