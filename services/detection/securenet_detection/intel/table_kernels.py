"""The tables of indicators as the compiled loops see them: hashes, and where a value stands.

Entries are the rows of the stored columns. An entry that is the first of its value is the value's *node*: the slots of
a hash table point to nodes, `following` chains the entries of other feeds for the same value, and `above` points to
the node of the nearest network or domain that holds this one. All comparisons are of whole keys; a hash only says where
to look.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

# What a compiled function takes and gives; numba goes by inference.
_Array = Any
_Int = Any

_EMPTY: Final = 0


@numba.njit(inline="always")
def finish(x: _Array) -> _Array:
    """Spreads a hash over all its bits."""
    # The finaliser of splitmix64.
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(inline="always")
def hash_address(high: _Array, low: _Array, prefix: _Int, seed: _Array) -> _Array:
    """The hash of a network, or of an address as a network of 128 bits."""
    return finish(finish(high ^ seed) ^ low ^ (np.uint64(prefix) << np.uint64(56)))


@numba.njit(inline="always")
def step(state: _Array, byte: _Int) -> _Array:
    """A text's hash with one byte more."""
    # FNV-1a over the text from its end, so that a name's parents are hashed on the way; keyed by where it starts.
    return (state ^ np.uint64(byte)) * np.uint64(0x100000001B3)


@numba.njit(inline="always")
def lowercase(byte: _Int) -> _Int:
    """An ASCII letter in lower case, any other byte as it is."""
    return byte + 32 if 65 <= byte <= 90 else byte


@numba.njit(inline="always")
def start(ends: _Array, entry: _Int) -> _Int:
    """Where an entry's text begins."""
    return np.int64(ends[entry - 1]) if entry > 0 else 0


@numba.njit(inline="always")
def may_hold(sieve: _Array, hashed: _Int) -> _Array:
    """False where no entry has this hash; a bit in a small table, since most values of most flows are not listed."""
    at = (hashed >> np.uint64(40)) & np.uint64(64 * len(sieve) - 1)
    return (sieve[np.int64(at >> np.uint64(6))] >> (at & np.uint64(63))) & np.uint64(1) != 0


@numba.njit(inline="always")
def probe_address(  # noqa: PLR0917 - numba takes arguments by position
    slots: _Array, highs: _Array, lows: _Array, prefixes: _Array, high: _Int, low: _Int, prefix: _Int, seed: _Int
) -> _Int:
    """Node of an address or network: −1 − slot where there is none, slot being where it would stand."""
    mask = len(slots) - 1
    hashed = hash_address(high, low, prefix, seed)
    tag = hashed >> np.uint64(32)
    at = np.int64(hashed & np.uint64(mask))
    while slots[at] != _EMPTY:
        if slots[at] >> np.uint64(32) == tag:
            entry = np.int64(slots[at] & np.uint64(0xFFFFFFFF)) - 1
            if highs[entry] == high and lows[entry] == low and prefixes[entry] == prefix:
                return entry
        at = (at + 1) & mask
    return -1 - at


@numba.njit(inline="always")
def same_text(blob: _Array, first: _Int, last: _Int, other: _Array, begin: _Int, end: _Int, fold: bool) -> bool:  # noqa: PLR0917 - as above
    if last - first != end - begin:
        return False
    for i in range(last - first):
        byte = other[begin + i]
        if blob[first + i] != (lowercase(byte) if fold else byte):
            return False
    return True


@numba.njit(inline="always")
def probe_text(  # noqa: PLR0917 - numba takes arguments by position
    slots: _Array, kinds: _Array, blob: _Array, ends: _Array, hashed: _Int, kind: _Int, other: _Array, begin: _Int,
    end: _Int, fold: bool,
) -> _Int:  # fmt: skip
    """Node of a text, as :func:`probe_address` gives that of an address."""
    mask = len(slots) - 1
    tag = hashed >> np.uint64(32)
    at = np.int64(hashed & np.uint64(mask))
    while slots[at] != _EMPTY:
        if slots[at] >> np.uint64(32) == tag:
            entry = np.int64(slots[at] & np.uint64(0xFFFFFFFF)) - 1
            first = start(ends, entry)
            if kinds[entry] == kind and same_text(blob, first, np.int64(ends[entry]), other, begin, end, fold):
                return entry
        at = (at + 1) & mask
    return -1 - at
