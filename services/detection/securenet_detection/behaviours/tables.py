"""Bounded tables as the compiled loops see them: where a key stands, who gives way, what is needed next.

A table is set-associative: a key's hash picks a bucket of :data:`WAYS` slots, and in a full bucket the slot that was
used longest ago gives way. Its counters end with a filter of the keys of which a finding was ever reported, so that a
row that adds nothing need not be looked up to know that there is nothing to say of it.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from securenet_flows.kernel_memory import prefetch

#: Slots of a bucket.
WAYS: Final = 8

#: Counters of a table: entries held, live entries that had to give way, sample positions given out, keys ever reported;
#: then the filter of those keys.
ENTRIES, EVICTIONS, POSITIONS, REPORTS, FILTER = range(5)
_FILTER_WORDS: Final = 256
COUNTERS: Final = FILTER + _FILTER_WORDS

#: How many rows ahead a bucket is fetched, and what the bucket then points at.
_FAR: Final = 12
_NEAR: Final = 6

# What a compiled function takes and gives; numba goes by inference.
_Array = Any


@numba.njit(nogil=True, forceinline=True)
def find(index: _Array, key: int) -> int:
    """The slot of a key, −1 where it has none."""
    first = ((key >> 17) & (len(index) // WAYS - 1)) * WAYS
    for slot in range(first, first + WAYS):
        if index[slot, 0] == key and index[slot, 1] > 0:
            return slot
    return -1


@numba.njit(nogil=True, forceinline=True)
def oldest(index: _Array, key: int) -> int:
    """The slot of a key's bucket that was used longest ago."""
    first = ((key >> 17) & (len(index) // WAYS - 1)) * WAYS
    found = first
    for slot in range(first, first + WAYS):
        if index[slot, 1] < index[found, 1]:
            found = slot
    return found


@numba.njit(nogil=True, forceinline=True)
def fetch_bucket(table: _Array, key: int) -> None:
    """Fetches the bucket of a key."""
    first = ((key >> 17) & (len(table) // WAYS - 1)) * WAYS
    # A bucket of two columns of int64 is two lines; a table need not begin with one.
    for line in range(table.shape[1] + 1):
        prefetch(table, first, line)


@numba.njit(nogil=True, forceinline=True)
def fetch_slot(index: _Array, rows: _Array, key: int) -> None:
    """Fetches what is known of a key, or of the one that will give way to it."""
    slot = find(index, key)
    if slot < 0:
        slot = oldest(index, key)
    for line in range(rows.shape[1] // 8 + 1):
        prefetch(rows, slot, line)


@numba.njit(nogil=True, forceinline=True)
def fetch_ahead(index: _Array, rows: _Array, keys: _Array, counted: _Array, i: int) -> None:
    """Fetches what the rows that follow row i will ask for; `counted` is 0 for rows that hardly ask for anything."""
    far, near = i + _FAR, i + _NEAR
    if far < len(keys) and counted[far] > 0:
        fetch_bucket(index, keys[far])
    if near < len(keys) and counted[near] > 0:
        fetch_slot(index, rows, keys[near])


@numba.njit(nogil=True, forceinline=True)
def mark_reported(counters: _Array, key: int) -> None:
    """Puts a key into the filter, for good."""
    counters[REPORTS] += 1
    counters[FILTER + ((key >> 40) & (_FILTER_WORDS - 1))] |= np.int64(1) << ((key >> 48) & 63)


@numba.njit(nogil=True, forceinline=True)
def was_reported(counters: _Array, key: int) -> Any:
    """Whether a finding may have been reported of a key; False is certain."""
    return counters[FILTER + ((key >> 40) & (_FILTER_WORDS - 1))] & (np.int64(1) << ((key >> 48) & 63)) != 0
