"""Arrow under types that can be checked: its published stubs do not know what an array of a given type can do."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

#: An Arrow array of any type.
Array: TypeAlias = Any

#: Arrow's vector functions.
compute: Final[Any] = pyarrow.compute


def is_text(array: Array) -> bool:
    """Whether an array holds bytes or strings, not dictionary-encoded."""
    return bool(pa.types.is_binary(array.type) or pa.types.is_string(array.type))


def decoded(array: Array) -> Array:
    """A dictionary-encoded array as its values; others as they are."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def buffer_of(array: Array, number: int, dtype: type[np.generic]) -> NDArray[Any]:
    """One of an array's buffers as numbers, without a copy; empty where the array has none."""
    buffer = array.buffers()[number]
    return np.zeros(0, dtype) if buffer is None or buffer.size == 0 else np.frombuffer(buffer, dtype=dtype)


def repeated(value: bytes, rows: int) -> Array:
    """The same text in each row."""
    return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([value], pa.binary()))
