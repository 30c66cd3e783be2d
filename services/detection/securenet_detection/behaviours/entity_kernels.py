"""What the compiled loops over entities have in common: an entity's row, its window, and what it has to report.

Tables are those of :mod:`.tables`: set-associative, bounded, the slot used longest ago gives way. Times are
milliseconds inside, so that no difference of two of them overflows; sums of bytes and packets are of values bounded by
:data:`MOST`, and stop there themselves.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from securenet_detection.behaviours.tables import ENTRIES, EVICTIONS, POSITIONS, find, oldest

SAMPLES: Final = 10
LATE_ROWS: Final = 16
#: Slots of time in which a window is counted.
SLOTS: Final = 8

NOTHING, FIRST_SEEN, CHANGED = range(3)

#: Columns that every entity's row begins with; what follows is the detector's own. FIRST is in nanoseconds.
(
    NEWEST, LATE, ACTIVE, SINCE, UNTIL, NEXT, REPORTED, LEVEL, MEASURED, THRESHOLD, FLOWS, SAMPLED, HEAD, FIRST, OWN,
) = range(15)  # fmt: skip

#: Columns of what a loop says of a row: measured (0 without evidence), event, latest sample, flows of the episode,
#: first seen (ns), threshold, level, what the detector counted beside, and nanoseconds since the latest cause.
OUT: Final = 9

#: A sum of bytes or packets stops here.
MOST: Final = 1 << 60

LOW, MEDIUM, HIGH = 1, 2, 3
#: Nanoseconds of a millisecond, milliseconds of an hour.
MS: Final = 1_000_000
HOUR: Final = 3_600_000

_Array = Any


@numba.njit(nogil=True, forceinline=True)
def claim(  # noqa: PLR0917 - numba takes arguments by position
    index: _Array, rows: _Array, counters: _Array, key: int, ordinal: int, alive_since: int
) -> int:
    """The slot of a key, given to it if it had none; `alive_since` says who was still counted in its window."""
    slot = find(index, key)
    if slot < 0:
        slot = oldest(index, key)
        if index[slot, 1] == 0:
            counters[ENTRIES] += 1
        elif rows[slot, NEWEST] > alive_since:
            counters[EVICTIONS] += 1
        index[slot, 0] = key
        rows[slot, :] = 0
        rows[slot, NEWEST] = alive_since
    index[slot, 1] = ordinal
    return slot


@numba.njit(nogil=True, forceinline=True)
def moved(row: _Array, at: int, window: int) -> bool:
    """Moves an entity's newest time; False where the row came too late to count."""
    if at > row[NEWEST]:
        row[NEWEST] = at
        row[LATE] = 0
    elif at <= row[NEWEST] - window:
        row[LATE] += 1
        if row[LATE] < LATE_ROWS:
            return False
        row[:] = 0
        row[NEWEST] = at
    else:
        row[LATE] = 0
    return True


@numba.njit(nogil=True, forceinline=True)
def roll(row: _Array, first: int, slots: int, was: int, now: int) -> None:
    """Empties the slots of time between two slices."""
    if now - was >= slots:
        row[first : first + slots] = 0
    else:
        for s in range(was + 1, now + 1):
            row[first + s % slots] = 0


@numba.njit(nogil=True, forceinline=True)
def sum_slots(row: _Array, first: int, slots: int) -> int:
    """What all slots of time hold together, at most :data:`MOST`."""
    total = 0
    for s in range(slots):
        total = min(total + row[first + s], MOST)
    return total


@numba.njit(nogil=True, forceinline=True)
def begin(row: _Array, first: int) -> None:
    """A new episode: what the one before left is forgotten, the window is not."""
    row[ACTIVE] = 0
    row[LEVEL] = 0
    row[MEASURED] = 0
    row[FLOWS] = 0
    row[SAMPLED] = 0
    row[HEAD] = 0
    row[FIRST] = first


@numba.njit(nogil=True, forceinline=True)
def sample(row: _Array, counters: _Array, sampled: _Array, taken: int, i: int) -> int:
    """Remembers row i as one that shows what its entity does, unless enough do; returns how many were taken."""
    if row[SAMPLED] >= SAMPLES:
        return taken
    counters[POSITIONS] += 1
    sampled[taken, 0] = i
    sampled[taken, 1] = row[HEAD]
    row[HEAD] = counters[POSITIONS]
    row[SAMPLED] += 1
    return taken + 1


@numba.njit(nogil=True, forceinline=True)
def report(  # noqa: PLR0917 - numba takes arguments by position
    row: _Array, reached: int, threshold: int, level: int, now: int, hold: int
) -> int:
    """What an entity at or above its threshold has to say: a first finding; news where what it reached has doubled,
    the level risen, or `hold` gone by; or nothing."""
    event = NOTHING
    if row[ACTIVE] == 0:
        row[ACTIVE] = 1
        row[SINCE] = now
        row[UNTIL] = now
        row[NEXT] = 2 * threshold
        row[REPORTED] = now
        event = FIRST_SEEN
    elif reached >= row[NEXT] or level > row[LEVEL] or now - row[REPORTED] >= hold:
        row[REPORTED] = now
        event = CHANGED
    while reached >= row[NEXT]:
        row[NEXT] *= 2
    row[LEVEL] = max(row[LEVEL], level)
    row[UNTIL] = max(row[UNTIL], now + hold)
    return event


@numba.njit(nogil=True, forceinline=True)
def measure(row: _Array, measured: int, threshold: int) -> None:
    """Keeps the most that an entity reached, and what it was compared with."""
    row[MEASURED] = max(row[MEASURED], measured)
    row[THRESHOLD] = threshold


@numba.njit(nogil=True, forceinline=True)
def say(  # noqa: PLR0917 - numba takes arguments by position
    out: _Array, row: _Array, event: int, level: int, beside: int, now: int, hold: int
) -> int:
    """Writes what an entity has to say into the row's columns of :data:`OUT`; 1, to be counted.

    Its evidence lasts for `hold` after its latest cause.
    """
    out[0] = row[MEASURED]
    out[1] = event
    out[2] = row[HEAD]
    out[3] = row[FLOWS]
    out[4] = row[FIRST]
    out[5] = row[THRESHOLD]
    out[6] = level
    out[7] = beside
    out[8] = max(now - (row[UNTIL] - hold), 0) * MS
    return 1


@numba.njit(nogil=True, forceinline=True)
def stands(row: _Array, now: int, hold: int) -> Any:
    """Whether what an entity did still counts at a time."""
    return row[ACTIVE] != 0 and row[SINCE] - hold <= now <= row[UNTIL]


@numba.njit(nogil=True, forceinline=True)
def bits_set(x: _Array) -> _Array:
    """Bits set in 64."""
    u = np.uint64(x)
    u = u - ((u >> np.uint64(1)) & np.uint64(0x5555555555555555))
    u = (u & np.uint64(0x3333333333333333)) + ((u >> np.uint64(2)) & np.uint64(0x3333333333333333))
    u = (u + (u >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((u * np.uint64(0x0101010101010101)) >> np.uint64(56))
