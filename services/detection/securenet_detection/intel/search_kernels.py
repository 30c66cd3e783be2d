"""Compiled loops that look for the values of flows in the tables of :mod:`.table_kernels`."""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from securenet_detection.compiled import jit
from securenet_detection.intel.table_kernels import (
    finish,
    hash_address,
    lowercase,
    may_hold,
    probe_address,
    probe_text,
    start,
    step,
)

# What a compiled function takes and gives; numba goes by inference.
_Array = Any
_Int = Any

#: Slots of the index into the ranges of networks: one for each value of an IPv4 address's first 16 bits.
BLOCKS: Final = 1 << 16


@numba.njit(inline="always")
def _owner(range_high: _Array, range_low: _Array, owners: _Array, blocks: _Array, high: _Int, low: _Int) -> _Int:  # noqa: PLR0917 - as above
    first, last = 0, len(range_high)
    if high == 0 and low >> np.uint64(32) == np.uint64(0xFFFF):
        block = np.int64((low >> np.uint64(16)) & np.uint64(0xFFFF))
        first, last = blocks[block], blocks[block + 1]
    # The last range that begins at or before the address.
    while first < last:
        middle = (first + last) >> 1
        if range_high[middle] < high or (range_high[middle] == high and range_low[middle] <= low):
            first = middle + 1
        else:
            last = middle
    return owners[first - 1] if first > 0 else -1


@jit
def find_addresses(  # noqa: PLR0917 - numba takes arguments by position
    addresses: _Array, sieve: _Array, slots: _Array, highs: _Array, lows: _Array, prefixes: _Array, range_high: _Array,
    range_low: _Array, owners: _Array, blocks: _Array, seed: _Int, out: _Array,
) -> _Int:  # fmt: skip
    """Node of each address itself, else of the narrowest network that holds it, else −1.

    Args:
        addresses: uint64 (n, 2), network order already turned.
        sieve … seed: the tables.
        out: int32 (n,).

    Returns:
        How many were found.
    """
    found = 0
    for i in range(len(addresses)):
        high, low = addresses[i, 0], addresses[i, 1]
        node = -1
        if may_hold(sieve, hash_address(high, low, 128, seed)):
            node = probe_address(slots, highs, lows, prefixes, high, low, 128, seed)
        if node < 0 and len(owners) > 0:
            node = _owner(range_high, range_low, owners, blocks, high, low)
        out[i] = max(node, -1)
        found += node >= 0
    return found


@jit
def find_texts(  # noqa: PLR0917 - numba takes arguments by position
    texts: _Array, text_ends: _Array, kind: _Int, suffixes: bool, host: bool, skip_whole: bool, sieve: _Array,
    slots: _Array, kinds: _Array, blob: _Array, ends: _Array, seed: _Int, out: _Array, whole: _Array,
) -> _Int:  # fmt: skip
    """Node of each text, ignoring case; with `suffixes` of the longest of the name and its parents that is there.

    Args:
        texts, text_ends: uint8 and int64 (n,), the texts one after another.
        kind: of the indicators.
        suffixes: parents count.
        host: a port at the end does not belong to the name.
        skip_whole: only parents count.
        sieve … seed: the tables.
        out: int32 (n,), −1 for none.
        whole: uint8 (n,), 1 where the text itself was found, 0 where a parent was.

    Returns:
        How many were found.
    """
    found = 0
    for i in range(len(text_ends)):
        begin, end = start(text_ends, i), np.int64(text_ends[i])
        if host:
            at = end
            while at > begin and 48 <= texts[at - 1] <= 57:
                at -= 1
            if at > begin and texts[at - 1] == 58:
                end = at - 1
        if suffixes and end > begin and texts[end - 1] == 46:
            end -= 1
        node = -1
        itself = False
        labels = 0
        state = np.uint64(seed) ^ np.uint64(kind)
        for place in range(end - 1, begin - 1, -1):
            byte = lowercase(texts[place])
            if suffixes and byte == 46:
                # No feed may list what has a single label.
                hashed = finish(state)
                if labels > 0 and may_hold(sieve, hashed):
                    found_here = probe_text(slots, kinds, blob, ends, hashed, kind, texts, place + 1, end, True)
                    node = found_here if found_here >= 0 else node
                labels += 1
            state = step(state, byte)
        if not skip_whole and end > begin and may_hold(sieve, finish(state)):
            found_here = probe_text(slots, kinds, blob, ends, finish(state), kind, texts, begin, end, True)
            if found_here >= 0:
                node, itself = found_here, True
        out[i] = node
        whole[i] = itself
        found += node >= 0
    return found


@jit
def find_urls(  # noqa: PLR0917 - numba takes arguments by position
    hosts: _Array, host_ends: _Array, targets: _Array, target_ends: _Array, host_codes: _Array, target_codes: _Array,
    kind: _Int, slots: _Array, kinds: _Array, blob: _Array, ends: _Array, seed: _Int, out: _Array,
) -> _Int:  # fmt: skip
    """Node of each URL that a host and a request target make; a target that is a URL stands for itself.

    Args:
        hosts, host_ends, targets, target_ends: distinct texts, as in :func:`find_texts`.
        host_codes, target_codes: int64 (n,), which of them; −1 for none.
        kind … seed: as there.
        out: int32 (n,), −1 for none.

    Returns:
        How many were found.
    """
    found = 0
    scratch = np.empty(4096, np.uint8)
    for i in range(len(host_codes)):
        out[i] = -1
        if target_codes[i] < 0:
            continue
        begin, end = start(target_ends, target_codes[i]), np.int64(target_ends[target_codes[i]])
        size = 0
        if end - begin > 7 and targets[begin] != 47:
            # An absolute form, as a proxy gets it: scheme://host/path.
            at = begin
            while at + 2 < end and not (targets[at] == 58 and targets[at + 1] == 47 and targets[at + 2] == 47):
                at += 1
            if at + 3 >= end:
                continue
            begin = at + 3
            while begin < end and targets[begin] != 47 and size < 1024:
                scratch[size] = lowercase(targets[begin])
                size += 1
                begin += 1
        elif host_codes[i] >= 0:
            first, last = start(host_ends, host_codes[i]), np.int64(host_ends[host_codes[i]])
            for at in range(first, min(last, first + 1024)):
                scratch[size] = lowercase(hosts[at])
                size += 1
        else:
            continue
        if size > 3 and scratch[size - 3] == 58 and scratch[size - 2] == 56 and scratch[size - 1] == 48:
            size -= 3
        elif (
            size > 4 and scratch[size - 4] == 58 and scratch[size - 3] == 52 and scratch[size - 2] == 52
            and scratch[size - 1] == 51
        ):  # fmt: skip
            size -= 4
        if end - begin > len(scratch) - size:
            continue
        while begin < end and targets[begin] != 35:
            scratch[size] = targets[begin]
            size += 1
            begin += 1
        state = np.uint64(seed) ^ np.uint64(kind)
        for at in range(size - 1, -1, -1):
            state = step(state, scratch[at])
        node = probe_text(slots, kinds, blob, ends, finish(state), kind, scratch, 0, size, False)
        out[i] = max(node, -1)
        found += node >= 0
    return found
