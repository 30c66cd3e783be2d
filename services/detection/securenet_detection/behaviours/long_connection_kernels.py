"""The compiled loop of long connections: for how long pairs were connected, in tables as in :mod:`.entity_kernels`."""

from __future__ import annotations

from typing import Any, Final

import numba

from securenet_detection.behaviours.entity_kernels import (
    ACTIVE,
    FIRST,
    FIRST_SEEN,
    FLOWS,
    HIGH,
    LOW,
    MEASURED,
    MEDIUM,
    MS,
    NOTHING,
    OWN,
    UNTIL,
    begin,
    claim,
    measure,
    moved,
    report,
    sample,
    say,
    stands,
)
from securenet_detection.behaviours.prevalence_kernels import POPULAR, RARE
from securenet_detection.behaviours.tables import (
    fetch_ahead,
    find,
    mark_reported,
    was_reported,
)
from securenet_detection.compiled import jit
from securenet_flows.kernel_memory import borrowed

_Array = Any


#: Own columns of a pair: the newest part of the window, and connected time over all parts.
PART, CONNECTED = OWN, OWN + 1
CONNECTED_WIDTH: Final = CONNECTED + 1

#: Parts of the window: of a day, quarters of an hour. Each is filled in so many steps.
PARTS: Final = 96
_STEPS: Final = 30_000


@numba.njit(nogil=True, forceinline=True)
def _fill(row: _Array, parts: _Array, now: int, end: int, length: float) -> int:
    """Adds a connection to the parts that it lies in, none of which gets more than full; returns the steps it added."""
    added = 0
    last = int(end // length)
    if last > row[PART]:
        gone = min(last - row[PART], PARTS)
        for k in range(gone):
            at = (last - k) % PARTS
            row[CONNECTED] -= parts[at]
            parts[at] = 0
        row[PART] = last
    for part in range(max(int(now // length), row[PART] - PARTS + 1), last + 1):
        inside = min(float(end), (part + 1) * length) - max(float(now), part * length)
        at = part % PARTS
        step = min(int(round(inside / length * _STEPS)), _STEPS - parts[at])  # noqa: RUF046 - a float in numba
        if step > 0:
            parts[at] += step
            added += step
    row[CONNECTED] += added
    return added


@jit
def add_connected_time(  # noqa: PLR0917 - numba takes arguments by position
    index: _Array,
    rows: _Array,
    counters: _Array,
    parts: _Array,
    keys: _Array,
    counted: _Array,
    durations: _Array,
    steps: _Array,
    prevalence: _Array,
    times: _Array,
    window: int,
    ordinal: int,
    learn: bool,
    out: _Array,
    sampled: _Array,
) -> tuple[int, int]:
    """Time during which each pair was connected, in its sliding window.

    Durations add up, but no part of the window counts for more than its length. So connections at the same time make
    no day of 25 hours, and it does not matter whether they come in the order of their starts or ends.

    Args:
        index, rows, counters: int64 (slots, 2), (slots, CONNECTED_WIDTH), (COUNTERS,).
        parts: int16 (slots, PARTS), how full each part of the window is.
        keys: int64 (n,). counted: boolean (n,), rows that count.
        durations: int64 (n,), ms, 0 to `window`.
        steps: int64 (n, 3), ms from which the level is LOW, MEDIUM, HIGH; HIGH for rare destinations only, MEDIUM not
            for popular ones.
        prevalence: uint8 (n,). times: int64 (n,), ns. window: ms.
        ordinal, learn, out, sampled: as in :func:`.kernels.count_in_window`, with the columns of :data:`OUT`; measured
            in ms.

    Returns:
        How many rows were sampled, and how many have evidence.
    """
    index, rows, counters, parts = borrowed(index), borrowed(rows), borrowed(counters), borrowed(parts)
    keys, counted, steps = borrowed(keys), borrowed(counted), borrowed(steps)
    out, sampled = borrowed(out), borrowed(sampled)
    length = window / PARTS
    standing = 0
    taken = 0
    for i in range(len(keys)):
        fetch_ahead(index, rows, keys, counted, i)
        now = times[i] // MS
        event = NOTHING
        if counted[i] and learn:
            end = now + durations[i]
            slot = claim(index, rows, counters, keys[i], ordinal + i, end - window)
            row = rows[slot]
            if moved(row, end, window):
                if row[FLOWS] == 0:
                    # A row that was given to this pair, or that begins anew after its clock was set back.
                    parts[slot, :] = 0
                    row[CONNECTED] = 0
                    row[PART] = int(end // length)
                added = _fill(row, parts[slot], now, end, length)
                if row[CONNECTED] == added or (row[ACTIVE] != 0 and now > row[UNTIL]):
                    begin(row, times[i])
                total = int(row[CONNECTED] * length / _STEPS)
                row[FLOWS] += 1
                row[FIRST] = min(row[FIRST], times[i])
                if added > 0 and 4 * total >= steps[i, 0]:
                    taken = sample(row, counters, sampled, taken, i)
                if total >= steps[i, 0]:
                    measure(row, total, steps[i, 0])
                    event = report(
                        row, total, steps[i, 0], _duration_level(total, steps[i], prevalence[i]), end, window
                    )
                    if event == FIRST_SEEN:
                        mark_reported(counters, keys[i])
        elif not was_reported(counters, keys[i]):
            continue
        else:
            slot = find(index, keys[i])
            if slot < 0:
                continue
            row = rows[slot]
        if stands(row, now, 2 * window):
            level = _duration_level(row[MEASURED], steps[i], prevalence[i])
            standing += say(out[i], row, event, level, 0, now, window)
    return taken, standing


@numba.njit(nogil=True, forceinline=True)
def _duration_level(total: int, steps: _Array, prevalence: int) -> int:
    if total >= steps[2] and prevalence == RARE:
        return HIGH
    if total >= steps[1] and prevalence != POPULAR:
        return MEDIUM
    return LOW
