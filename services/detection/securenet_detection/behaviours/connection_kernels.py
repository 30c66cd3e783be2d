"""Compiled loops of the detectors that follow who is connected with whom: for how long, how often, with how much.

Tables are those of :mod:`.kernels`: set-associative, bounded, the slot used longest ago gives way. The loops stand in a
module of their own, with the few lines that they need of a table, because numba's disk cache looks at the age of a
function's own file alone; :func:`securenet_detection.engine.Engine.warm_up` runs every one of them once.

Times are milliseconds inside, so that no difference of two of them overflows; sums of bytes and packets are of values
bounded by :data:`MOST`, and stop there themselves.
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
    find,
    jit,
    mark_reported,
    oldest,
    was_reported,
)
from securenet_flows.kernel_memory import borrowed

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
#: first seen (ns), threshold, level, and what the detector counted beside.
OUT: Final = 8

#: A sum of bytes or packets stops here.
MOST: Final = 1 << 60

#: How usual a destination is: nothing is known, few of the network's hosts use it, many do.
UNKNOWN, RARE, POPULAR = range(3)

_LOW, _MEDIUM, _HIGH = 1, 2, 3
_MS: Final = 1_000_000
_HOUR: Final = 3_600_000

_Array = Any


# ---- tables -----------------------------------------------------------------------------------------------------


@numba.njit(nogil=True, forceinline=True)
def _claim(  # noqa: PLR0917 - numba takes arguments by position
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
def _moved(row: _Array, at: int, window: int) -> bool:
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
def _roll(row: _Array, first: int, slots: int, was: int, now: int) -> None:
    """Empties the slots of time between two slices."""
    if now - was >= slots:
        row[first : first + slots] = 0
    else:
        for s in range(was + 1, now + 1):
            row[first + s % slots] = 0


@numba.njit(nogil=True, forceinline=True)
def _sum(row: _Array, first: int, slots: int) -> int:
    total = 0
    for s in range(slots):
        total = min(total + row[first + s], MOST)
    return total


@numba.njit(nogil=True, forceinline=True)
def _begin(row: _Array, first: int) -> None:
    """A new episode: what the one before left is forgotten, the window is not."""
    row[ACTIVE] = 0
    row[LEVEL] = 0
    row[MEASURED] = 0
    row[FLOWS] = 0
    row[SAMPLED] = 0
    row[HEAD] = 0
    row[FIRST] = first


@numba.njit(nogil=True, forceinline=True)
def _sample(row: _Array, counters: _Array, sampled: _Array, taken: int, i: int) -> int:
    if row[SAMPLED] >= SAMPLES:
        return taken
    counters[POSITIONS] += 1
    sampled[taken, 0] = i
    sampled[taken, 1] = row[HEAD]
    row[HEAD] = counters[POSITIONS]
    row[SAMPLED] += 1
    return taken + 1


@numba.njit(nogil=True, forceinline=True)
def _report(  # noqa: PLR0917 - numba takes arguments by position
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
def _measure(row: _Array, measured: int, threshold: int) -> None:
    row[MEASURED] = max(row[MEASURED], measured)
    row[THRESHOLD] = threshold


@numba.njit(nogil=True, forceinline=True)
def _say(out: _Array, row: _Array, event: int, level: int, beside: int) -> int:
    out[0] = row[MEASURED]
    out[1] = event
    out[2] = row[HEAD]
    out[3] = row[FLOWS]
    out[4] = row[FIRST]
    out[5] = row[THRESHOLD]
    out[6] = level
    out[7] = beside
    return 1


@numba.njit(nogil=True, forceinline=True)
def _stands(row: _Array, now: int, hold: int) -> Any:
    return row[ACTIVE] != 0 and row[SINCE] - hold <= now <= row[UNTIL]


# ---- prevalence -------------------------------------------------------------------------------------------------


@numba.njit(nogil=True, forceinline=True)
def _bits(x: _Array) -> _Array:
    """Bits set in 64."""
    u = np.uint64(x)
    u = u - ((u >> np.uint64(1)) & np.uint64(0x5555555555555555))
    u = (u & np.uint64(0x3333333333333333)) + ((u >> np.uint64(2)) & np.uint64(0x3333333333333333))
    u = (u + (u >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((u * np.uint64(0x0101010101010101)) >> np.uint64(56))


#: Columns of a destination: generation, users in it and in the one before.
GENERATION, USERS, USERS_BEFORE = range(3)


@jit()
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
            generation = times[i] // _MS // period
            if generation > row[GENERATION]:
                row[USERS_BEFORE] = row[USERS] if generation == row[GENERATION] + 1 else 0
                row[USERS] = 0
                row[GENERATION] = generation
            row[USERS] |= np.int64(1) << ((source >> 40) & 63)
        if slot >= 0:
            users = _bits(rows[slot, USERS] | rows[slot, USERS_BEFORE])
            limit = limits[hosts[words]]
            if users >= limit[1]:
                out[i] = POPULAR
            elif users <= limit[0]:
                out[i] = RARE


# ---- long connections -------------------------------------------------------------------------------------------

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


@jit()
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
        now = times[i] // _MS
        event = NOTHING
        if counted[i] and learn:
            end = now + durations[i]
            slot = _claim(index, rows, counters, keys[i], ordinal + i, end - window)
            row = rows[slot]
            if _moved(row, end, window):
                if row[FLOWS] == 0:
                    # A row that was given to this pair, or that begins anew after its clock was set back.
                    parts[slot, :] = 0
                    row[CONNECTED] = 0
                    row[PART] = int(end // length)
                added = _fill(row, parts[slot], now, end, length)
                if row[CONNECTED] == added or (row[ACTIVE] != 0 and now > row[UNTIL]):
                    _begin(row, times[i])
                total = int(row[CONNECTED] * length / _STEPS)
                row[FLOWS] += 1
                row[FIRST] = min(row[FIRST], times[i])
                if added > 0 and 4 * total >= steps[i, 0]:
                    taken = _sample(row, counters, sampled, taken, i)
                if total >= steps[i, 0]:
                    _measure(row, total, steps[i, 0])
                    event = _report(
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
        if _stands(row, now, 2 * window):
            level = _duration_level(row[MEASURED], steps[i], prevalence[i])
            standing += _say(out[i], row, event, level, 0)
    return taken, standing


@numba.njit(nogil=True, forceinline=True)
def _duration_level(total: int, steps: _Array, prevalence: int) -> int:
    if total >= steps[2] and prevalence == RARE:
        return _HIGH
    if total >= steps[1] and prevalence != POPULAR:
        return _MEDIUM
    return _LOW


# ---- uploads ----------------------------------------------------------------------------------------------------

#: Own columns of a pair: the newest slice, bytes out and in by slice.
UPLOAD_SLICE, SENT = OWN, OWN + 1
RECEIVED: Final = SENT + SLOTS
UPLOAD_WIDTH: Final = RECEIVED + SLOTS

#: Own columns of a source: its hour, bytes out in it, hours of its history, what it hardly ever passes, and how many of
#: its hours had so many bytes, by powers of two.
HOUR, HOUR_BYTES, HISTORY, USUAL, HISTOGRAM = range(OWN, OWN + 5)
BUCKETS: Final = 48
SOURCE_WIDTH: Final = HISTOGRAM + BUCKETS

#: Bytes below which a flow makes nobody an uploader: pairs and sources that send no more are not followed.
_LITTLE: Final = 4096

#: Hours after which a source's history counts half.
_LONGEST_HISTORY: Final = 24 * 60


@numba.njit(nogil=True, forceinline=True)
def _close_hour(row: _Array) -> None:
    """Puts the bytes of a source's hour into its histogram and draws its 99 % quantile from it."""
    bucket = 0
    rest = row[HOUR_BYTES]
    while rest > 1 and bucket < BUCKETS - 1:
        rest >>= 1
        bucket += 1
    row[HISTOGRAM + bucket] += 1
    row[HISTORY] += 1
    if row[HISTORY] >= _LONGEST_HISTORY:
        row[HISTORY] = 0
        for b in range(BUCKETS):
            row[HISTOGRAM + b] >>= 1
            row[HISTORY] += row[HISTOGRAM + b]
    above = 0
    for b in range(BUCKETS - 1, -1, -1):
        above += row[HISTOGRAM + b]
        if above > row[HISTORY] // 100:
            row[USUAL] = np.int64(1) << (b + 1)
            break


@jit()
def add_uploads(  # noqa: C901, PLR0912, PLR0915, PLR0917 - one pass over the rows; numba takes arguments by position
    index: _Array,
    rows: _Array,
    counters: _Array,
    source_index: _Array,
    source_rows: _Array,
    source_counters: _Array,
    keys: _Array,
    sources: _Array,
    counted: _Array,
    sent: _Array,
    received: _Array,
    limits: _Array,
    asymmetry: float,
    times: _Array,
    window: int,
    ordinal: int,
    learn: bool,
    out: _Array,
    sampled: _Array,
) -> tuple[int, int]:
    """Bytes from each source to each destination in its sliding window, against a limit and the source's own history.

    Args:
        index, rows, counters: the pairs, int64 (slots, 2), (slots, UPLOAD_WIDTH), (COUNTERS,).
        source_index, source_rows, source_counters: the sources, with SOURCE_WIDTH columns.
        keys, sources: int64 (n,). counted: boolean (n,), rows that count.
        sent, received: int64 (n,), bytes, 0 to 2^46.
        limits: int64 (4,): bytes in the window that stand out whoever sends them; bytes below which nothing does; how
            many times its usual a source must send to stand out; hours of history from which its usual is known.
        asymmetry: (out − in) / (out + in) from which traffic is an upload.
        times: int64 (n,), ns. window: ms.
        ordinal, learn, out, sampled: as in :func:`.kernels.count_in_window`, with the columns of :data:`OUT`; measured
            in bytes; beside: what is usual, 0 where that is not known.

    Returns:
        How many rows were sampled, and how many have evidence.
    """
    index, rows, counters = borrowed(index), borrowed(rows), borrowed(counters)
    source_index, source_rows, source_counters = (
        borrowed(source_index),
        borrowed(source_rows),
        borrowed(source_counters),
    )
    keys, counted, out, sampled = borrowed(keys), borrowed(counted), borrowed(out), borrowed(sampled)
    slice_length = max(window // SLOTS, 1)
    standing = 0
    taken = 0
    for i in range(len(keys)):
        fetch_ahead(index, rows, keys, counted, i)
        now = times[i] // _MS
        event = NOTHING
        if counted[i] and learn:
            usual = 0
            if sent[i] >= _LITTLE:
                source = source_rows[
                    _claim(source_index, source_rows, source_counters, sources[i], ordinal + i, now - 7 * 24 * _HOUR)
                ]
                if _moved(source, now, 24 * _HOUR):
                    hour = now // _HOUR
                    if hour > source[HOUR]:
                        if source[HOUR_BYTES] > 0:
                            _close_hour(source)
                        source[HOUR] = hour
                        source[HOUR_BYTES] = 0
                    source[HOUR_BYTES] = min(source[HOUR_BYTES] + sent[i], MOST)
                if source[HISTORY] >= limits[3]:
                    usual = source[USUAL]
            elif find(index, keys[i]) < 0:
                continue
            slot = _claim(index, rows, counters, keys[i], ordinal + i, now - window)
            row = rows[slot]
            if _moved(row, now, window):
                newest = row[NEWEST] // slice_length
                if newest > row[UPLOAD_SLICE]:
                    _roll(row, SENT, SLOTS, row[UPLOAD_SLICE], newest)
                    _roll(row, RECEIVED, SLOTS, row[UPLOAD_SLICE], newest)
                row[UPLOAD_SLICE] = newest
                was = _sum(row, SENT, SLOTS)
                if was == 0 or (row[ACTIVE] != 0 and now > row[UNTIL]):
                    _begin(row, times[i])
                at = (now // slice_length) % SLOTS
                row[SENT + at] = min(row[SENT + at] + sent[i], MOST)
                row[RECEIVED + at] = min(row[RECEIVED + at] + received[i], MOST)
                total, back = min(was + sent[i], MOST), _sum(row, RECEIVED, SLOTS)
                row[FLOWS] += 1
                row[FIRST] = min(row[FIRST], times[i])
                far = limits[2] * min(usual, MOST >> 20)
                threshold = min(limits[0], max(limits[1], far)) if usual > 0 else limits[0]
                if sent[i] > 0 and 16 * total >= threshold:
                    taken = _sample(row, counters, sampled, taken, i)
                upload = float(total) - float(back) >= asymmetry * (float(total) + float(back))
                if sent[i] >= _LITTLE and total >= threshold and upload:
                    level = _MEDIUM
                    if usual > 0 and total <= 2 * usual:
                        level = _LOW
                    elif usual > 0 and total >= far and total >= limits[0]:
                        level = _HIGH
                    _measure(row, total, threshold)
                    event = _report(row, total, threshold, level, now, window)
                    if event == FIRST_SEEN:
                        mark_reported(counters, keys[i])
        elif not was_reported(counters, keys[i]):
            continue
        else:
            slot = find(index, keys[i])
            if slot < 0:
                continue
            row = rows[slot]
            usual = 0
        if _stands(row, now, window):
            standing += _say(out[i], row, event, row[LEVEL], usual)
    return taken, standing


# ---- floods -----------------------------------------------------------------------------------------------------

#: Own columns of a victim: the newest slice, when its sources are next forgotten by degrees, sources in this window and
#: the one before, whether packets or connections were reported, connections and packets by slice.
FLOOD_SLICE, FLOOD_TURN, SOURCES, SOURCES_BEFORE, BY_PACKETS, CONNECTIONS = range(OWN, OWN + 6)
PACKETS: Final = CONNECTIONS + SLOTS
FLOOD_WIDTH: Final = PACKETS + SLOTS


@jit()
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
        now = times[i] // _MS
        event = NOTHING
        if learn:
            slot = _claim(index, rows, counters, victims[i], ordinal + i, now - window)
            row = rows[slot]
            if _moved(row, now, window):
                newest = row[NEWEST] // slice_length
                if newest > row[FLOOD_SLICE]:
                    _roll(row, CONNECTIONS, SLOTS, row[FLOOD_SLICE], newest)
                    _roll(row, PACKETS, SLOTS, row[FLOOD_SLICE], newest)
                row[FLOOD_SLICE] = newest
                turn = now // window
                if turn > row[FLOOD_TURN]:
                    row[SOURCES_BEFORE] = row[SOURCES] if turn == row[FLOOD_TURN] + 1 else 0
                    row[SOURCES] = 0
                    row[FLOOD_TURN] = turn
                row[SOURCES] |= np.int64(1) << ((sources[i] >> 40) & 63)
                connections, sum_packets = _sum(row, CONNECTIONS, SLOTS), _sum(row, PACKETS, SLOTS)
                if (row[ACTIVE] == 0 and connections == 0) or (row[ACTIVE] != 0 and now > row[UNTIL]):
                    _begin(row, times[i])
                at = (now // slice_length) % SLOTS
                row[CONNECTIONS + at] += 1
                row[PACKETS + at] = min(row[PACKETS + at] + packets[i], MOST)
                connections += 1
                sum_packets = min(sum_packets + packets[i], MOST)
                row[FLOWS] += 1
                row[FIRST] = min(row[FIRST], times[i])
                if 4 * connections >= limits[0] or 4 * sum_packets >= limits[2]:
                    taken = _sample(row, counters, sampled, taken, i)
                many = _bits(row[SOURCES] | row[SOURCES_BEFORE]) >= limits[1]
                if many and connections >= limits[0] and (row[ACTIVE] == 0 or row[BY_PACKETS] == 0):
                    row[BY_PACKETS] = 0
                    _measure(row, connections, limits[0])
                    event = _report(row, connections, limits[0], _HIGH, now, hold)
                elif sum_packets >= limits[2] and (row[ACTIVE] == 0 or row[BY_PACKETS] == 1):
                    row[BY_PACKETS] = 1
                    level = _LOW if inside[i] and not many else _HIGH
                    _measure(row, sum_packets, limits[2])
                    event = _report(row, sum_packets, limits[2], level, now, hold)
        else:
            slot = find(index, victims[i])
            if slot < 0:
                continue
            row = rows[slot]
        if _stands(row, now, hold):
            bits = _bits(row[SOURCES] | row[SOURCES_BEFORE])
            standing += _say(out[i], row, event, row[LEVEL], 2 * bits + row[BY_PACKETS])
    return taken, standing
