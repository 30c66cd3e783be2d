"""How usual destinations are: a compiled loop over who in the network uses them.

The table is that of :mod:`.tables`; times are milliseconds inside, as in :mod:`.entity_kernels`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from securenet_detection.behaviours.entity_kernels import (
    MS,
    bits_set,
)
from securenet_detection.behaviours.tables import (
    ENTRIES,
    EVICTIONS,
    fetch_ahead,
    find,
    oldest,
)
from securenet_detection.compiled import jit
from securenet_flows.kernel_memory import borrowed

_Array = Any


#: How usual a destination is: nothing is known, few of the network's hosts use it, many do.
UNKNOWN, RARE, POPULAR = range(3)

#: Columns of a destination: generation, users in it and in the one before.
GENERATION, USERS, USERS_BEFORE = range(3)


@jit
def rate_destinations(  # noqa: PLR0917 - numba takes arguments by position
    index: _Array,
    rows: _Array,
    counters: _Array,
    hosts: _Array,
    sources: _Array,
    destinations: _Array,
    counted: _Array,
    limits: _Array,
    times: _Array,
    period: int,
    ordinal: int,
    learn: bool,
    out: _Array,
) -> None:
    """How usual each row's destination is in the network.

    Distinct sources are counted linearly in bitmaps: Whang, Vander-Zanden, Taylor, "A linear-time probabilistic
    counting algorithm for database applications", ACM TODS 15 (1990).

    Args:
        index: int64 (slots, 2); rows: int64 (slots, 3); counters: int64 (COUNTERS,).
        hosts: int64 (words + 1,), bitmap of the network's own hosts that were seen, and how many bits of it are set.
        sources, destinations: int64 (n,), hashes.
        counted: boolean (n,), rows in which an own host was answered from outside.
        limits: int64 (64 · words + 1, 2), by bits of `hosts`: bits of a destination up to which it is rare, and from
            which it is popular.
        times: int64 (n,), ns. period: ms after which users are forgotten by degrees.
        ordinal, learn: as everywhere.
        out: uint8 (n,), UNKNOWN, RARE or POPULAR.
    """
    index, rows, counters = borrowed(index), borrowed(rows), borrowed(counters)
    destinations, counted, limits = borrowed(destinations), borrowed(counted), borrowed(limits)
    words = len(hosts) - 1
    for i in range(len(sources)):
        fetch_ahead(index, rows, destinations, counted, i)
        if not counted[i]:
            continue
        source = sources[i]
        slot = find(index, destinations[i])
        if learn:
            word, bit = (source >> 6) & (words - 1), np.int64(1) << (source & 63)
            if hosts[word] & bit == 0:
                hosts[word] |= bit
                hosts[words] += 1
            if slot < 0:
                slot = oldest(index, destinations[i])
                if index[slot, 1] == 0:
                    counters[ENTRIES] += 1
                else:
                    counters[EVICTIONS] += 1
                index[slot, 0] = destinations[i]
                rows[slot, :] = 0
            index[slot, 1] = ordinal + i
            row = rows[slot]
            generation = times[i] // MS // period
            if generation > row[GENERATION]:
                row[USERS_BEFORE] = row[USERS] if generation == row[GENERATION] + 1 else 0
                row[USERS] = 0
                row[GENERATION] = generation
            row[USERS] |= np.int64(1) << ((source >> 40) & 63)
        if slot >= 0:
            users = bits_set(rows[slot, USERS] | rows[slot, USERS_BEFORE])
            limit = limits[hosts[words]]
            if users >= limit[1]:
                out[i] = POPULAR
            elif users <= limit[0]:
                out[i] = RARE
