"""Compiled loops over bounded tables: the only state that behaviours hold.

A table is set-associative: a key's hash picks a bucket of :data:`WAYS` slots, and in a full bucket the slot that was
used longest ago gives way. So memory is bounded by construction, nothing is rehashed, and a lookup touches two cache
lines. Rows are taken one by one in their order, which makes a batch the same as its pieces.

Nothing compiles at import: :func:`securenet_detection.engine.Engine.warm_up` runs every kernel once.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from securenet_detection.behaviours.tables import (
    ENTRIES,
    EVICTIONS,
    POSITIONS,
    fetch_ahead,
    fetch_bucket,
    find,
    mark_reported,
    oldest,
    was_reported,
)
from securenet_detection.compiled import jit
from securenet_flows.kernel_memory import borrowed

#: A window is counted in so many slots of time; its length is exact to one of them.
SLOTS: Final = 8

#: Flows remembered as samples of an episode.
SAMPLES: Final = 10

#: So many late rows in a row mean that the source's clock was set back, and the window starts anew.
LATE_ROWS: Final = 16

#: Columns of an entity's row. Times are nanoseconds since the epoch; USED, BORN are ordinals of rows, 0 is never.
(
    BORN, NEWEST, LATE, ACTIVE, SINCE, UNTIL, NEXT, REPORTED, PEAK, FLOWS, GRADED, SAMPLED, HEAD, FIRST, COUNTS,
) = range(15)  # fmt: skip
WIDTH: Final = COUNTS + SLOTS

#: What happened at a row.
NOTHING, FIRST_SEEN, CHANGED = range(3)

#: Rows ahead that members are fetched.
_AHEAD: Final = 8

# What a compiled function takes and gives; numba goes by inference.
_Array = Any


@numba.njit(nogil=True, forceinline=True)
def _mix(a: _Array, b: _Array) -> _Array:
    # The finaliser of splitmix64 over both halves.
    x = np.uint64(a) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(b)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64(x ^ (x >> np.uint64(31)))


@jit
def combine(a: _Array, b: _Array) -> _Array:
    """int64 (n,): one key of two columns of int64."""
    out = np.empty(len(a), np.int64)
    for i in range(len(a)):
        out[i] = _mix(a[i], b[i])
    return out


@numba.njit(nogil=True, forceinline=True)
def _claim_entity(  # noqa: PLR0917 - numba takes arguments by position
    index: _Array, rows: _Array, counters: _Array, key: int, ordinal: int, slice_now: int
) -> int:
    slot = find(index, key)
    if slot < 0:
        slot = oldest(index, key)
        if index[slot, 1] == 0:
            counters[ENTRIES] += 1
        elif rows[slot, NEWEST] > slice_now - SLOTS:
            counters[EVICTIONS] += 1
        index[slot, 0] = key
        rows[slot, :] = 0
        rows[slot, BORN] = ordinal
        rows[slot, NEWEST] = slice_now
    index[slot, 1] = ordinal
    return slot


@numba.njit(nogil=True, forceinline=True)
def _advance(row: _Array, slice_now: int, ordinal: int) -> bool:
    """Moves an entity's window to a slice of time; False where the row came too late to count."""
    newest = row[NEWEST]
    if slice_now > newest:
        if slice_now - newest >= SLOTS:
            row[COUNTS : COUNTS + SLOTS] = 0
            row[GRADED] = 0
        else:
            for s in range(newest + 1, slice_now + 1):
                row[COUNTS + s % SLOTS] = 0
        row[NEWEST] = slice_now
        row[LATE] = 0
    elif slice_now <= newest - SLOTS:
        row[LATE] += 1
        if row[LATE] < LATE_ROWS:
            return False
        row[:] = 0
        row[BORN] = ordinal
        row[NEWEST] = slice_now
    else:
        row[LATE] = 0
    return True


@numba.njit(nogil=True, forceinline=True)
def _new_member(  # noqa: PLR0917 - numba takes arguments by position
    members: _Array, counters: _Array, key: int, slice_now: int, ordinal: int, row: _Array
) -> int:
    """Counts a member of an entity's set in its window and returns by how much the count rose: 0 or 1."""
    slot = find(members, key)
    if slot >= 0 and members[slot, 3] == row[BORN] and members[slot, 2] > row[NEWEST] - SLOTS:
        members[slot, 1] = ordinal
        if slice_now > members[slot, 2]:
            row[COUNTS + members[slot, 2] % SLOTS] -= 1
            row[COUNTS + slice_now % SLOTS] += 1
            members[slot, 2] = slice_now
        return 0
    if slot < 0:
        slot = oldest(members, key)
        if members[slot, 1] == 0:
            counters[ENTRIES] += 1
        elif members[slot, 2] > slice_now - SLOTS:
            counters[EVICTIONS] += 1
    members[slot, 0] = key
    members[slot, 1] = ordinal
    members[slot, 2] = slice_now
    members[slot, 3] = row[BORN]
    row[COUNTS + slice_now % SLOTS] += 1
    return 1


@numba.njit(nogil=True, forceinline=True)
def _fetch_members(members: _Array, keys: _Array, member_keys: _Array, counted: _Array, i: int) -> None:
    at = i + _AHEAD
    if at < len(keys) and counted[at] > 0:
        fetch_bucket(members, _mix(keys[at], member_keys[at]))


@numba.njit(nogil=True, forceinline=True)
def _report(row: _Array, measured: int, threshold: int, now: int, window: int) -> int:
    """What an entity that stands at or above its threshold has to say: a first finding, an update, or nothing."""
    if row[ACTIVE] == 0:
        row[ACTIVE] = 1
        row[SINCE] = now
        row[UNTIL] = now + window
        row[NEXT] = 2 * threshold
        row[REPORTED] = now
        event = FIRST_SEEN
    elif measured >= row[NEXT] or now - row[REPORTED] >= window:
        row[REPORTED] = now
        event = CHANGED
    else:
        event = NOTHING
    while measured >= row[NEXT]:
        row[NEXT] *= 2
    row[UNTIL] = max(row[UNTIL], now + window)
    return event


@numba.njit(nogil=True, forceinline=True)
def _begin(row: _Array, now: int) -> None:
    """A new episode: what the one before left is forgotten, the window is not."""
    row[ACTIVE] = 0
    row[PEAK] = 0
    row[FLOWS] = 0
    row[SAMPLED] = 0
    row[HEAD] = 0
    row[FIRST] = now


@numba.njit(nogil=True, forceinline=True)
def _sample(row: _Array, counters: _Array, sampled: _Array, taken: int, i: int) -> int:
    """Remembers the row as one of the flows that show the episode; returns how many rows were sampled so far."""
    if row[SAMPLED] >= SAMPLES:
        return taken
    # Samples of an episode are a chain from the latest to the first; a row's evidence holds on to the latest of its
    # own time, so that what follows in the same batch cannot change it.
    counters[POSITIONS] += 1
    sampled[taken, 0] = i
    sampled[taken, 1] = row[HEAD]
    row[HEAD] = counters[POSITIONS]
    row[SAMPLED] += 1
    return taken + 1


@jit
def count_in_window(  # noqa: C901, PLR0912, PLR0915, PLR0917 - one pass over the rows; arguments go by position
    index: _Array,
    rows: _Array,
    counters: _Array,
    members: _Array,
    member_counters: _Array,
    keys: _Array,
    member_keys: _Array,
    weights: _Array,
    graded: _Array,
    thresholds: _Array,
    times: _Array,
    window: int,
    ordinal: int,
    learn: bool,
    out: _Array,
    sampled: _Array,
) -> tuple[int, int]:
    """Counts what each entity did in its sliding window, and says for each row whether its entity stands out.

    Args:
        index: int64 (slots, 2), key and last use of each entity.
        rows: int64 (slots, WIDTH), what is known of it.
        counters: int64 (COUNTERS,), see :mod:`.tables`.
        members: int64 (slots, 4), members seen: key, last use, slice, birth of their entity. (0, 4) counts without
            distinguishing members.
        member_counters: int64 (COUNTERS,), as `counters`.
        keys: int64 (n,), entity of each row.
        member_keys: int64 (n,), which member of the entity's set the row is; ignored without members.
        weights: int64 (n,), how much the row counts; 0 does not count but still reads the entity's evidence.
        graded: boolean (n,), rows whose weight is also summed as certain.
        thresholds: int64 (n,), count from which the entity stands out.
        times: int64 (n,), nanoseconds.
        window: nanoseconds.
        ordinal: of the first row, ≥ 1.
        learn: False changes nothing (dry run).
        out: int64 (n, 7), zeroed by the caller: measured (0 without evidence), event, latest sample, flows so far,
            first seen, nanoseconds since its latest cause, certain weight.
        sampled: int64 (n, 2), filled with the rows that were sampled, and the position of the sample before (0: none).

    Returns:
        How many rows were sampled, and how many have evidence.
    """
    index, rows, counters = borrowed(index), borrowed(rows), borrowed(counters)
    members, member_counters = borrowed(members), borrowed(member_counters)
    keys, weights, sampled = borrowed(keys), borrowed(weights), borrowed(sampled)
    slice_length = max(window // SLOTS, 1)
    standing = 0
    distinct = len(members) > 0
    taken = 0
    for i in range(len(keys)):
        fetch_ahead(index, rows, keys, weights, i)
        if distinct:
            _fetch_members(members, keys, member_keys, weights, i)
        now = times[i]
        event = NOTHING
        if weights[i] > 0 and learn:
            slice_now = now // slice_length
            slot = _claim_entity(index, rows, counters, keys[i], ordinal + i, slice_now)
            row = rows[slot]
            if _advance(row, slice_now, ordinal + i):
                measured = 0
                for s in range(SLOTS):
                    measured += row[COUNTS + s]
                if measured == 0 or (row[ACTIVE] != 0 and now > row[UNTIL]):
                    _begin(row, now)
                if measured == 0:
                    row[GRADED] = 0
                if distinct:
                    member = _mix(keys[i], member_keys[i])
                    measured += _new_member(members, member_counters, member, slice_now, ordinal + i, row)
                else:
                    row[COUNTS + slice_now % SLOTS] += weights[i]
                    measured += weights[i]
                if graded[i]:
                    row[GRADED] += weights[i]
                row[FLOWS] += 1
                row[FIRST] = min(row[FIRST], now)
                row[PEAK] = max(row[PEAK], measured)
                if 4 * measured >= thresholds[i]:
                    taken = _sample(row, counters, sampled, taken, i)
                if measured >= thresholds[i]:
                    event = _report(row, measured, thresholds[i], now, window)
                    if event == FIRST_SEEN:
                        mark_reported(counters, keys[i])
        else:
            if not was_reported(counters, keys[i]):
                continue
            slot = find(index, keys[i])
            if slot < 0:
                continue
            row = rows[slot]
        if row[ACTIVE] != 0 and row[SINCE] - window <= now <= row[UNTIL]:
            out[i, 0] = row[PEAK]
            standing += 1
            out[i, 1] = event
            out[i, 2] = row[HEAD]
            out[i, 3] = row[FLOWS]
            out[i, 4] = row[FIRST]
            # Evidence lasts for the window after its latest cause.
            out[i, 5] = max(now - (row[UNTIL] - window), 0)
            out[i, 6] = row[GRADED]
    return taken, standing


@jit
def walk_sequentially(  # noqa: PLR0912, PLR0915, PLR0917 - one pass over the rows; arguments go by position
    index: _Array,
    rows: _Array,
    counters: _Array,
    contacts: _Array,
    contact_counters: _Array,
    sources: _Array,
    destinations: _Array,
    attempts: _Array,
    failed: _Array,
    times: _Array,
    steps: _Array,
    window: int,
    ordinal: int,
    learn: bool,
    out: _Array,
    sampled: _Array,
) -> tuple[int, int]:
    """Threshold random walk over first contacts: Jung et al., "Fast portscan detection using sequential hypothesis
    testing", IEEE S&P 2004, section 5.

    An entity's row keeps the scaled log likelihood ratio in GRADED, the number of failed first contacts in PEAK and of
    all first contacts in FLOWS.

    Args:
        index, rows, counters: the sources, as in :func:`count_in_window`.
        contacts, contact_counters: (source, destination) pairs that met before.
        sources, destinations: int64 (n,).
        attempts: boolean (n,), rows that are connection attempts with a known outcome.
        failed: boolean (n,), the outcome.
        times: int64 (n,), nanoseconds.
        steps: int64 (4,), scaled logarithms: step of a failure, step of a success, upper bound, lower bound.
        window: nanoseconds that evidence lasts after the last failed first contact, and after which an idle walk
            starts anew.
        ordinal, learn, sampled: as in :func:`count_in_window`.
        out: int64 (n, 7): scaled log likelihood ratio (0 without evidence), event, latest sample, first contacts, first
            seen, last seen, failed first contacts.

    Returns:
        How many rows were sampled, and how many have evidence.
    """
    index, rows, counters = borrowed(index), borrowed(rows), borrowed(counters)
    contacts, contact_counters, sampled = borrowed(contacts), borrowed(contact_counters), borrowed(sampled)
    slice_length = max(window // SLOTS, 1)
    standing = 0
    taken = 0
    for i in range(len(sources)):
        _fetch_members(contacts, sources, destinations, attempts, i)
        now = times[i]
        event = NOTHING
        slice_now = now // slice_length
        fresh = False
        if attempts[i] and learn:
            key = _mix(sources[i], destinations[i])
            contact = find(contacts, key)
            if contact < 0:
                fresh = True
                contact = oldest(contacts, key)
                if contacts[contact, 1] == 0:
                    contact_counters[ENTRIES] += 1
                else:
                    contact_counters[EVICTIONS] += 1
                contacts[contact, 0] = key
            contacts[contact, 1] = ordinal + i
        if fresh:
            slot = _claim_entity(index, rows, counters, sources[i], ordinal + i, slice_now)
            row = rows[slot]
            idle = slice_now - row[NEWEST] > SLOTS
            if _advance(row, slice_now, ordinal + i):
                if idle or row[FLOWS] == 0:
                    _begin(row, now)
                    row[GRADED] = 0
                row[FLOWS] += 1
                row[FIRST] = min(row[FIRST], now)
                row[GRADED] += steps[0] if failed[i] else steps[1]
                # However long it scanned, a source can come back: the walk does not go further than this.
                row[GRADED] = min(row[GRADED], 8 * steps[2])
                if failed[i]:
                    row[PEAK] += 1
                    taken = _sample(row, counters, sampled, taken, i)
                    if row[GRADED] >= steps[2]:
                        event = _report(row, row[PEAK], row[PEAK], now, window)
                        if event == FIRST_SEEN:
                            mark_reported(counters, sources[i])
                elif row[GRADED] <= steps[3]:
                    # The walk has ended at "benign"; the next first contact starts another.
                    row[FLOWS] = 0
                    row[ACTIVE] = 0
        else:
            if not was_reported(counters, sources[i]):
                continue
            slot = find(index, sources[i])
            if slot < 0:
                continue
            row = rows[slot]
        if row[ACTIVE] != 0 and row[SINCE] - window <= now <= row[UNTIL]:
            out[i, 0] = max(row[GRADED], steps[2])
            standing += 1
            out[i, 1] = event
            out[i, 2] = row[HEAD]
            out[i, 3] = row[FLOWS]
            out[i, 4] = row[FIRST]
            # Evidence lasts for the window after its latest cause.
            out[i, 5] = max(now - (row[UNTIL] - window), 0)
            out[i, 6] = row[PEAK]
    return taken, standing
