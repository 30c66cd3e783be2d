"""Compiled loops that make the tables of :mod:`.table_kernels` of stored columns."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from securenet_detection.compiled import jit
from securenet_detection.intel.table_kernels import (
    finish,
    hash_address,
    probe_address,
    probe_text,
    start,
    step,
)

# What a compiled function takes and gives; numba goes by inference.
_Array = Any
_Int = Any


@numba.njit(inline="always")
def _mark(sieve: _Array, hashed: _Int) -> None:
    at = (hashed >> np.uint64(40)) & np.uint64(64 * len(sieve) - 1)
    sieve[np.int64(at >> np.uint64(6))] |= np.uint64(1) << (at & np.uint64(63))


@numba.njit(inline="always")
def _place(slots: _Array, slot: _Int, hashed: _Int, entry: _Int) -> None:
    slots[slot] = ((hashed >> np.uint64(32)) << np.uint64(32)) | np.uint64(entry + 1)


@numba.njit(inline="always")
def _join(  # noqa: PLR0917 - numba takes arguments by position
    node: _Int, entry: _Int, following: _Array, feeds: _Array, flags: _Array, confidence: _Array, since: _Array,
    until: _Array,
) -> bool:  # fmt: skip
    """Adds an entry to its value's chain; or into the one that the same feed has there already, and says so."""
    at = node
    while at >= 0:
        if feeds[at] == feeds[entry] and flags[at] == flags[entry]:
            # Twice in one feed: valid while either is, believed as much as the surer one.
            confidence[at] = max(confidence[at], confidence[entry])
            since[at] = min(since[at], since[entry])
            if until[at] != 0 and (until[entry] == 0 or until[entry] > until[at]):
                until[at] = until[entry]
            return True
        at = following[at]
    following[entry] = following[node]
    following[node] = entry
    return False


@jit
def build(  # noqa: PLR0917 - numba takes arguments by position
    kinds: _Array, prefixes: _Array, flags: _Array, confidence: _Array, feeds: _Array, highs: _Array, lows: _Array,
    blob: _Array, ends: _Array, since: _Array, until: _Array, seed: _Int, address_slots: _Array, text_slots: _Array,
    address_sieve: _Array, text_sieve: _Array, following: _Array, duplicate: _Array,
) -> _Int:  # fmt: skip
    """Fills the hash tables and chains. Entries of one feed stand together.

    Args:
        kinds … until: the columns, (n,); confidence, since and until of an entry may grow by its duplicates.
        seed: keys the hashes.
        address_slots, text_slots: uint64, zeroed, a power of two and at least twice as many as entries.
        address_sieve, text_sieve: uint64, zeroed, a power of two and at most 2¹⁸; get a bit for each hash.
        following: int32 (n,), filled with −1.
        duplicate: boolean (n,), zeroed; set where the same feed has the value already.

    Returns:
        How many are duplicates.
    """
    found = 0
    for entry in range(len(kinds)):
        if kinds[entry] <= 2:
            node = probe_address(address_slots, highs, lows, prefixes, highs[entry], lows[entry], prefixes[entry], seed)
            hashed = hash_address(highs[entry], lows[entry], prefixes[entry], seed)
            if node < 0:
                _place(address_slots, -1 - node, hashed, entry)
                _mark(address_sieve, hashed)
        else:
            first, last = start(ends, entry), np.int64(ends[entry])
            state = np.uint64(seed) ^ np.uint64(kinds[entry])
            for i in range(last - 1, first - 1, -1):
                state = step(state, blob[i])
            hashed = finish(state)
            node = probe_text(text_slots, kinds, blob, ends, hashed, kinds[entry], blob, first, last, False)
            if node < 0:
                _place(text_slots, -1 - node, hashed, entry)
                _mark(text_sieve, hashed)
        if node >= 0 and _join(node, entry, following, feeds, flags, confidence, since, until):
            duplicate[entry] = True
            found += 1
    return found


@numba.njit(inline="always")
def _last_of(high: _Int, low: _Int, prefix: _Int) -> _Array:
    ones = np.uint64(0xFFFFFFFFFFFFFFFF)
    if prefix >= 64:
        return high, low | (ones >> np.uint64(prefix - 64) if prefix < 128 else np.uint64(0))
    return high | (ones >> np.uint64(prefix)), ones


@numba.njit(inline="always")
def _bound(high: _Array, low: _Array, owner: _Array, count: _Int, h: _Int, l: _Int, node: _Int) -> _Int:  # noqa: E741, PLR0917
    if count > 0 and high[count - 1] == h and low[count - 1] == l:
        owner[count - 1] = node
        return count
    high[count] = h
    low[count] = l
    owner[count] = node
    return count + 1


@numba.njit(inline="always")
def _close(  # noqa: PLR0917 - numba takes arguments by position
    stack: _Array, depth: _Int, highs: _Array, lows: _Array, prefixes: _Array, out_high: _Array, out_low: _Array,
    out_owner: _Array, count: _Int,
) -> _Int:  # fmt: skip
    """Ends the innermost open network: what follows its last address belongs to the one around it."""
    node = stack[depth - 1]
    h, l = _last_of(highs[node], lows[node], prefixes[node])  # noqa: E741
    l += np.uint64(1)  # noqa: E741
    if l == 0:
        h += np.uint64(1)
        if h == 0:
            return count
    return _bound(out_high, out_low, out_owner, count, h, l, stack[depth - 2] if depth > 1 else -1)


@jit
def flatten(  # noqa: PLR0917 - numba takes arguments by position
    order: _Array, highs: _Array, lows: _Array, prefixes: _Array, above: _Array, out_high: _Array, out_low: _Array,
    out_owner: _Array,
) -> _Int:  # fmt: skip
    """Turns nested networks into ranges that do not overlap, each owned by the narrowest network that holds it.

    Args:
        order: int64 (m,), nodes of networks by first address, the wider first.
        highs, lows, prefixes: columns of all entries.
        above: int32 (n,), gets the network around each network.
        out_high, out_low: uint64 (2m + 1,), get the first address of each range.
        out_owner: int32 (2m + 1,), gets its node, −1 for none.

    Returns:
        How many ranges there are.
    """
    stack = np.empty(130, np.int32)
    depth = 0
    count = 0
    for node in order:
        while depth > 0:
            h, l = _last_of(highs[stack[depth - 1]], lows[stack[depth - 1]], prefixes[stack[depth - 1]])  # noqa: E741
            if h > highs[node] or (h == highs[node] and l >= lows[node]):
                break
            count = _close(stack, depth, highs, lows, prefixes, out_high, out_low, out_owner, count)
            depth -= 1
        above[node] = stack[depth - 1] if depth > 0 else -1
        count = _bound(out_high, out_low, out_owner, count, highs[node], lows[node], node)
        stack[depth] = node
        depth += 1
    while depth > 0:
        count = _close(stack, depth, highs, lows, prefixes, out_high, out_low, out_owner, count)
        depth -= 1
    return count


@jit
def gather(blob: _Array, ends: _Array, keep: _Array, out: _Array, out_ends: _Array) -> None:
    """Copies the texts of the entries that are kept, one after another."""
    at = 0
    kept = 0
    for entry in range(len(ends)):
        if not keep[entry]:
            continue
        for i in range(start(ends, entry), np.int64(ends[entry])):
            out[at] = blob[i]
            at += 1
        out_ends[kept] = at
        kept += 1
