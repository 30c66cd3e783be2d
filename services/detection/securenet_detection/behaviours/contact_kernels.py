"""Compiled loops over who met whom: tables as in :mod:`.kernels`, kept for as long as there is room."""

from __future__ import annotations

from typing import Any, Final

import numba

from securenet_detection.behaviours.kernels import _mix
from securenet_detection.behaviours.tables import (
    ENTRIES,
    EVICTIONS,
    find,
    oldest,
)
from securenet_detection.compiled import jit
from securenet_flows.kernel_memory import borrowed

#: Columns of a source's row: key, last use (an ordinal as in :mod:`.kernels`), start of its history (ns), flows.
KEY, USED, SINCE, FLOWS = range(4)

#: Column of a peer's row after key and last use: distinct sources that met it.
MET: Final = 2

_Array = Any


@numba.njit(nogil=True, forceinline=True)
def _claim(index: _Array, counters: _Array, key: int) -> int:
    slot = oldest(index, key)
    if index[slot, USED] == 0:
        counters[ENTRIES] += 1
    else:
        counters[EVICTIONS] += 1
    index[slot, KEY] = key
    return slot


@jit
def first_contacts(  # noqa: PLR0917 - numba takes arguments by position
    sources: _Array,
    source_counters: _Array,
    contacts: _Array,
    contact_counters: _Array,
    targets: _Array,
    target_counters: _Array,
    keys: _Array,
    peers: _Array,
    judged: _Array,
    times: _Array,
    learning: int,
    learning_flows: int,
    popular: int,
    ordinal: int,
    learn: bool,
    fresh: _Array,
    mature: _Array,
) -> None:
    """Which rows are the first of their source with a peer, and whether the source had been known long enough.

    A source is known well enough once it was seen for `learning` and in `learning_flows` flows, of any kind, before the
    row. A source that gave way to others begins its history anew, which keeps it from being accused for want of memory.

    Args:
        sources: int64 (slots, 4), see :data:`KEY` and the rest.
        source_counters: int64 (3,), entries and evictions.
        contacts: int64 (slots, 2), pairs that met: key and last use.
        contact_counters: int64 (3,), likewise.
        targets: int64 (slots, 3), peers: key, last use, and by how many sources they were met.
        target_counters: int64 (3,), likewise.
        keys: int64 (n,), source of each row.
        peers: int64 (n,), what it met.
        judged: boolean (n,), rows that are a meeting; all rows are history.
        times: int64 (n,), nanoseconds.
        learning: nanoseconds.
        learning_flows: flows.
        popular: a peer that so many sources met before is everybody's, and meeting it is no news.
        ordinal: of the first row, ≥ 1.
        learn: False changes nothing (dry run).
        fresh: boolean (n,), set where the row is the first meeting; False in a dry run.
        mature: boolean (n,), set where the source was known well enough.
    """
    sources, source_counters = borrowed(sources), borrowed(source_counters)
    contacts, contact_counters = borrowed(contacts), borrowed(contact_counters)
    targets, target_counters = borrowed(targets), borrowed(target_counters)
    for i in range(len(keys)):
        slot = find(sources, keys[i])
        if slot < 0:
            if not learn:
                continue
            slot = _claim(sources, source_counters, keys[i])
            sources[slot, SINCE] = times[i]
            sources[slot, FLOWS] = 0
        mature[i] = sources[slot, FLOWS] >= learning_flows and times[i] - sources[slot, SINCE] >= learning
        if not learn:
            continue
        sources[slot, USED] = ordinal + i
        sources[slot, FLOWS] += 1
        if not judged[i]:
            continue
        key = _mix(keys[i], peers[i])
        contact = find(contacts, key)
        if contact < 0:
            contact = _claim(contacts, contact_counters, key)
            target = find(targets, peers[i])
            if target < 0:
                target = _claim(targets, target_counters, peers[i])
                targets[target, MET] = 0
            fresh[i] = targets[target, MET] < popular
            targets[target, MET] += 1
            targets[target, USED] = ordinal + i
        contacts[contact, USED] = ordinal + i
