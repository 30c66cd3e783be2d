"""The compiled loop of floods: what reaches a victim without a conversation, in tables as in :mod:`.entity_kernels`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from securenet_detection.behaviours.entity_kernels import (
    ACTIVE,
    FIRST,
    FLOWS,
    HIGH,
    LEVEL,
    LOW,
    MOST,
    MS,
    NEWEST,
    NOTHING,
    OWN,
    SLOTS,
    UNTIL,
    begin,
    bits_set,
    claim,
    measure,
    moved,
    report,
    roll,
    sample,
    say,
    stands,
    sum_slots,
)
from securenet_detection.behaviours.tables import (
    find,
)
from securenet_detection.compiled import jit
from securenet_flows.kernel_memory import borrowed

_Array = Any


#: Own columns of a victim: the newest slice, when its sources are next forgotten by degrees, sources in this window and
#: the one before, whether packets or connections were reported, connections and packets by slice.
FLOOD_SLICE, FLOOD_TURN, SOURCES, SOURCES_BEFORE, BY_PACKETS, CONNECTIONS = range(OWN, OWN + 6)
PACKETS: Final = CONNECTIONS + SLOTS
FLOOD_WIDTH: Final = PACKETS + SLOTS


@jit
def add_flood(  # noqa: PLR0915, PLR0917 - one pass over the rows; numba takes arguments by position
    index: _Array,
    rows: _Array,
    counters: _Array,
    victims: _Array,
    sources: _Array,
    shaped: _Array,
    packets: _Array,
    inside: _Array,
    limits: _Array,
    times: _Array,
    window: int,
    hold: int,
    ordinal: int,
    learn: bool,
    out: _Array,
    sampled: _Array,
) -> tuple[int, int]:
    """Connections and packets that reach each victim in its sliding window without being part of a conversation.

    Args:
        index, rows, counters: the victims, int64 (slots, 2), (slots, FLOOD_WIDTH), (COUNTERS,).
        victims, sources: int64 (n,).
        shaped: boolean (n,), rows of a flood's shape; others neither count nor get evidence.
        packets: int64 (n,), packets to the victim, 1 to 2^46.
        inside: boolean (n,), both sides are local.
        limits: int64 (3,): connections in the window, bits of the bitmap of sources that mean many, packets in the
            window.
        times: int64 (n,), ns. window, hold: ms; `hold` is how long evidence lasts.
        ordinal, learn, out, sampled: as in :func:`.kernels.count_in_window`, with the columns of :data:`OUT`; measured
            in connections or packets of a window; beside: 2 · bits of the bitmap of sources, + 1 for packets.

    Returns:
        How many rows were sampled, and how many have evidence.
    """
    index, rows, counters = borrowed(index), borrowed(rows), borrowed(counters)
    out, sampled = borrowed(out), borrowed(sampled)
    slice_length = max(window // SLOTS, 1)
    standing = 0
    taken = 0
    for i in range(len(victims)):
        if not shaped[i]:
            continue
        now = times[i] // MS
        event = NOTHING
        if learn:
            slot = claim(index, rows, counters, victims[i], ordinal + i, now - window)
            row = rows[slot]
            if moved(row, now, window):
                newest = row[NEWEST] // slice_length
                if newest > row[FLOOD_SLICE]:
                    roll(row, CONNECTIONS, SLOTS, row[FLOOD_SLICE], newest)
                    roll(row, PACKETS, SLOTS, row[FLOOD_SLICE], newest)
                row[FLOOD_SLICE] = newest
                turn = now // window
                if turn > row[FLOOD_TURN]:
                    row[SOURCES_BEFORE] = row[SOURCES] if turn == row[FLOOD_TURN] + 1 else 0
                    row[SOURCES] = 0
                    row[FLOOD_TURN] = turn
                row[SOURCES] |= np.int64(1) << ((sources[i] >> 40) & 63)
                connections, sum_packets = sum_slots(row, CONNECTIONS, SLOTS), sum_slots(row, PACKETS, SLOTS)
                if (row[ACTIVE] == 0 and connections == 0) or (row[ACTIVE] != 0 and now > row[UNTIL]):
                    begin(row, times[i])
                at = (now // slice_length) % SLOTS
                row[CONNECTIONS + at] += 1
                row[PACKETS + at] = min(row[PACKETS + at] + packets[i], MOST)
                connections += 1
                sum_packets = min(sum_packets + packets[i], MOST)
                row[FLOWS] += 1
                row[FIRST] = min(row[FIRST], times[i])
                if 4 * connections >= limits[0] or 4 * sum_packets >= limits[2]:
                    taken = sample(row, counters, sampled, taken, i)
                many = bits_set(row[SOURCES] | row[SOURCES_BEFORE]) >= limits[1]
                if many and connections >= limits[0] and (row[ACTIVE] == 0 or row[BY_PACKETS] == 0):
                    row[BY_PACKETS] = 0
                    measure(row, connections, limits[0])
                    event = report(row, connections, limits[0], HIGH, now, hold)
                elif sum_packets >= limits[2] and (row[ACTIVE] == 0 or row[BY_PACKETS] == 1):
                    row[BY_PACKETS] = 1
                    level = LOW if inside[i] and not many else HIGH
                    measure(row, sum_packets, limits[2])
                    event = report(row, sum_packets, limits[2], level, now, hold)
        else:
            slot = find(index, victims[i])
            if slot < 0:
                continue
            row = rows[slot]
        if stands(row, now, hold):
            bits = bits_set(row[SOURCES] | row[SOURCES_BEFORE])
            standing += say(out[i], row, event, row[LEVEL], 2 * bits + row[BY_PACKETS], now, hold)
    return taken, standing
