"""Compiled loops of the table of flows that were seen: which rows came before, and what they were answered.

The table is set-associative as those of :mod:`securenet_detection.behaviours.tables` are.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from securenet_detection.compiled import jit

#: Slots of a bucket.
WAYS: Final = 8

#: Columns of a slot: key (0 is empty), when it came, score (the bits of a float64), and the rest of the answer.
KEY, TIME, SCORE, ANSWER = range(4)
WIDTH: Final = 4

# What a compiled function takes and gives; numba goes by inference.
_Array = Any


@numba.njit(inline="always")
def _mix(a: _Array, b: _Array) -> _Array:
    # The finaliser of splitmix64 over both halves.
    x = np.uint64(a) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(b)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64(x ^ (x >> np.uint64(31)))


@jit
def identities(  # noqa: PLR0917 - numba takes arguments by position
    flow_ids: _Array, sensors: _Array, src: _Array, dst: _Array, times: _Array, seed: int
) -> _Array:
    """int64 (n,): keyed identity of each flow, 0 where it has no flow id.

    Args:
        flow_ids, sensors: int64 (n,), hashes of the texts; a flow id of 0 is absent.
        src, dst: uint64 (n, 2), addresses.
        times: int64 (n,), start.
        seed: keys the hash.
    """
    out = np.zeros(len(flow_ids), np.int64)
    for i in range(len(flow_ids)):
        if flow_ids[i] == 0:
            continue
        key = _mix(_mix(flow_ids[i], seed), sensors[i])
        key = _mix(_mix(key, src[i, 0]), src[i, 1])
        key = _mix(_mix(key, dst[i, 0]), dst[i, 1])
        key = _mix(key, times[i])
        out[i] = key if key != 0 else 1
    return out


@jit
def find(  # noqa: PLR0917 - numba takes arguments by position
    table: _Array, keys: _Array, oldest: int, scratch: _Array, first: _Array, slots: _Array
) -> int:
    """Says of each row whether it came before; changes nothing.

    Args:
        table: int64 (slots, WIDTH).
        keys: int64 (n,), 0 is never found.
        oldest: what came before this time is forgotten.
        scratch: int64 (m,), zeros, m a power of two of at least 2 n.
        first: int64 (n,), filled with the row of this batch that came first with the key: the row itself, mostly.
        slots: int64 (n,), filled with the slot that remembers the key from an earlier batch, or −1.

    Returns:
        How many rows came before, in this batch or an earlier one.
    """
    found = 0
    mask = len(scratch) - 1
    for i in range(len(keys)):
        key = keys[i]
        first[i] = i
        slots[i] = -1
        if key == 0:
            continue
        bucket = ((key >> 17) & (len(table) // WAYS - 1)) * WAYS
        for slot in range(bucket, bucket + WAYS):
            if table[slot, KEY] == key and table[slot, TIME] >= oldest:
                slots[i] = slot
                break
        if slots[i] >= 0:
            found += 1
            continue
        at = key & mask
        while scratch[at] != 0 and keys[scratch[at] - 1] != key:
            at = (at + 1) & mask
        if scratch[at] == 0:
            scratch[at] = i + 1
        else:
            first[i] = scratch[at] - 1
            found += 1
    return found


@jit
def keep(  # noqa: PLR0917 - numba takes arguments by position
    table: _Array, keys: _Array, now: int, oldest: int, scores: _Array, answers: _Array
) -> tuple[int, int]:
    """Remembers answers; in a full bucket the one that came first gives way.

    Args:
        table: int64 (slots, WIDTH).
        keys: int64 (n,), distinct but for 0, which is not kept.
        now: when they came.
        oldest: what came before this time is forgotten.
        scores: int64 (n,), bits of the scores.
        answers: int64 (n,).

    Returns:
        How many slots were empty before, and how many answers gave way that were not yet forgotten.
    """
    filled = 0
    evicted = 0
    for i in range(len(keys)):
        key = keys[i]
        if key == 0:
            continue
        bucket = ((key >> 17) & (len(table) // WAYS - 1)) * WAYS
        victim = bucket
        for slot in range(bucket, bucket + WAYS):
            if table[slot, KEY] == 0 or table[slot, KEY] == key:
                victim = slot
                break
            if table[slot, TIME] < table[victim, TIME]:
                victim = slot
        if table[victim, KEY] == 0:
            filled += 1
        elif table[victim, KEY] != key and table[victim, TIME] >= oldest:
            evicted += 1
        table[victim, KEY] = key
        table[victim, TIME] = now
        table[victim, SCORE] = scores[i]
        table[victim, ANSWER] = answers[i]
    return filled, evicted
