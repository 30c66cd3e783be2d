"""Compiled loops of beacon: when pairs that come back met, and whether that is regular."""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from securenet_detection.behaviours.entity_kernels import (
    ACTIVE,
    FIRST,
    FIRST_SEEN,
    FLOWS,
    HIGH,
    HOUR,
    LEVEL,
    LOW,
    MEASURED,
    MEDIUM,
    MS,
    NEWEST,
    NOTHING,
    OWN,
    UNTIL,
    begin,
    measure,
    moved,
    report,
    roll,
    sample,
    say,
    stands,
)
from securenet_detection.behaviours.prevalence_kernels import POPULAR, RARE
from securenet_detection.behaviours.regularity_kernels import (
    HOURS,
    flatness,
    percentile,
    regularity_of,
    shape,
    sort_first,
    two_modes,
)
from securenet_detection.behaviours.tables import (
    ENTRIES,
    EVICTIONS,
    WAYS,
    fetch_ahead,
    fetch_bucket,
    find,
    mark_reported,
    oldest,
    was_reported,
)
from securenet_detection.compiled import jit
from securenet_flows.kernel_memory import borrowed

_Array = Any


#: Own columns of a pair that came back: arrivals, times in its ring, the arrivals at which it is judged next, the
#: percentile of its regularity in millionths, the newest hour, when it was first seen, whether it hands over data,
#: arrivals by hour of the last day.
ARRIVALS, FILLED, JUDGED_NEXT, PERCENTILE, NEWEST_HOUR, BORN, SCHEDULED, HOURLY = range(OWN, OWN + 8)
WIDTH: Final = HOURLY + HOURS

#: Arrivals that a pair's ring holds.
RING: Final = 64
#: The arrival with which a pair gets a ring.
_COMES_BACK: Final = 3
#: Columns of a candidate: arrivals, and time (ms) and bytes of each arrival before it gets a ring.
CANDIDATE_WIDTH: Final = 1 + 2 * (_COMES_BACK - 1)
#: Arrivals closer than this are one: what a program opens together. RITA counts seconds, too.
_TOGETHER: Final = 1000
_FEWEST: Final = 16
#: Arrivals from which they are sampled, so that the many pairs that never are judged cost none.
_SAMPLED_FROM: Final = 12
#: Bytes from which a call hands over data and does not only ask.
_MUCH: Final = 100_000
_BARS: Final = 8
#: Rows ahead that pairs are fetched.
_AHEAD: Final = 8


@numba.njit(nogil=True)
def _judge_pair(  # noqa: PLR0917 - numba takes arguments by position
    row: _Array,
    ring: _Array,
    sizes: _Array,
    work: _Array,
    null: _Array,
    shares: _Array,
    counts: _Array,
    since: int,
    least: int,
) -> Any:
    """Score of a pair in thousandths; 0 with fewer than sixteen arrivals apart, or with a percentile below `least`."""
    filled = row[FILLED]
    times, gaps, spare = work[0], work[1], work[2]
    # The oldest first.
    begin = row[ARRIVALS] % RING if filled == RING else 0
    for k in range(filled):
        times[k] = ring[(begin + k) % RING]
    sort_first(times, filled)
    n = 0
    for k in range(1, filled):
        gap = times[k] - times[k - 1]
        if gap >= _TOGETHER:
            gaps[n] = gap
            n += 1
    if n + 1 < _FEWEST:
        return 0
    timing = percentile(null, shares, counts, n + 1, regularity_of(gaps, n, spare))
    row[PERCENTILE] = int(timing * 1e6)
    if row[PERCENTILE] < least:
        return 0

    volumes = work[1]
    for k in range(filled):
        volumes[k] = sizes[k]
    sort_first(volumes, filled)
    skew, median, deviation = shape(volumes, filled, spare, 10.0)
    agreement = max(0.0, (median - deviation) / median) if median >= 1 else 0.0
    smallness = max(0.0, 1.0 - median / 65535.0)
    size = (1.0 - skew + agreement + smallness) / 3.0

    newest = row[NEWEST]
    age = min(max(newest - row[BORN], 0), HOURS * HOUR)
    hours = age // HOUR
    bars = work[3]
    run = longest = 0
    for k in range(HOURS):
        # The hour k hours ago.
        bars[k] = row[HOURLY + (newest // HOUR - k) % HOURS]
        run = run + 1 if bars[k] > 0 else 0
        longest = max(longest, run)
    observed = min(max(newest - since, 1), HOURS * HOUR)
    coverage = age / observed if longest >= HOURS // 4 else 0.0
    duration = min(1.0, max(coverage, longest / (HOURS / 2)))
    if hours >= 6:
        # Hours of the pair's own life, without the first and the last, which are not whole.
        flat = flatness(bars[1:], hours - 1)
        histogram = max(flat, two_modes(bars[1:], hours - 1))
    else:
        low, span = times[0], times[filled - 1] - times[0]
        count = max(2, min(_BARS, filled // 4))
        for k in range(count):
            bars[k] = 0
        for k in range(filled):
            bars[min(int((times[k] - low) / span * count), count - 1)] += 1
        histogram = flatness(bars, count)
    return round(250 * (timing + size + duration + histogram))


@numba.njit(nogil=True, forceinline=True)
def _candidate(index: _Array, kept: _Array, counters: _Array, key: int, ordinal: int) -> int:
    """The slot of a pair without a ring, with one arrival more."""
    slot = find(index, key)
    if slot < 0:
        slot = oldest(index, key)
        if index[slot, 1] == 0:
            counters[ENTRIES] += 1
        else:
            counters[EVICTIONS] += 1
        index[slot, 0] = key
        kept[slot, 0] = 0
    index[slot, 1] = ordinal
    kept[slot, 0] += 1
    return slot


@numba.njit(nogil=True)
def _promote(kept: _Array, row: _Array, ring: _Array, window: int, first: int) -> None:
    """Hands what was kept of a candidate to its row and ring."""
    for k in range(_COMES_BACK - 1):
        now, sent = kept[1 + 2 * k], kept[2 + 2 * k]
        before = row[NEWEST]
        if moved(row, now, window):
            if row[ARRIVALS] == 0 or row[NEWEST] - before > window:
                _begin_pair(row, now, first)
                before = now - window
            row[FLOWS] += 1
            row[BORN] = min(row[BORN], now)
            if abs(now - before) >= _TOGETHER:
                _arrives(row, ring, now, sent)
    if row[ARRIVALS] > 0:
        row[FIRST] = min(first, row[BORN] * MS)


@numba.njit(nogil=True)
def _place(  # noqa: PLR0917 - numba takes arguments by position
    index: _Array, rows: _Array, counters: _Array, key: int, now: int, alive_since: int
) -> int:
    """Gives a pair the slot that was used longest ago; one that holds a beacon only where all of the bucket do."""
    first = ((key >> 17) & (len(index) // WAYS - 1)) * WAYS
    oldest = first
    kept = rows[first, ACTIVE] != 0 and rows[first, UNTIL] >= now
    for slot in range(first + 1, first + WAYS):
        holds = rows[slot, ACTIVE] != 0 and rows[slot, UNTIL] >= now
        if (kept and not holds) or (kept == holds and index[slot, 1] < index[oldest, 1]):
            oldest = slot
            kept = holds
    if index[oldest, 1] == 0:
        counters[ENTRIES] += 1
    elif rows[oldest, NEWEST] > alive_since:
        counters[EVICTIONS] += 1
    index[oldest, 0] = key
    rows[oldest, :] = 0
    rows[oldest, NEWEST] = now - 1
    return oldest


@numba.njit(nogil=True)
def _begin_pair(row: _Array, now: int, first: int) -> None:
    begin(row, first)
    row[ARRIVALS] = 0
    row[FILLED] = 0
    row[JUDGED_NEXT] = _FEWEST
    row[BORN] = now
    row[NEWEST_HOUR] = now // HOUR
    row[HOURLY : HOURLY + HOURS] = 0


@numba.njit(nogil=True)
def _arrives(row: _Array, ring: _Array, now: int, sent: int) -> bool:
    """Puts a call into a pair's ring and hours; True where it is time to judge."""
    hour = row[NEWEST] // HOUR
    if hour > row[NEWEST_HOUR]:
        roll(row, HOURLY, HOURS, row[NEWEST_HOUR], hour)
        row[NEWEST_HOUR] = hour
    if now // HOUR > hour - HOURS:
        row[HOURLY + (now // HOUR) % HOURS] += 1
    at = row[ARRIVALS] % RING
    ring[0, at] = now
    ring[1, at] = sent
    row[ARRIVALS] += 1
    row[FILLED] = min(row[FILLED] + 1, RING)
    n = row[ARRIVALS]
    if n < row[JUDGED_NEXT]:
        return False
    # At 16, 24, 32, 48, 64, 96, 128 arrivals, then each time the ring is full of news.
    step = _FEWEST // 2
    while 4 * step <= n and step < RING:
        step *= 2
    row[JUDGED_NEXT] = n + step
    return True


@numba.njit(nogil=True, forceinline=True)
def _level(score: int, limits: _Array, name_service: bool, prevalence: int) -> int:
    if name_service or prevalence == POPULAR:
        return LOW
    if score >= limits[1] and prevalence == RARE:
        return HIGH
    return MEDIUM


@jit
def follow_pairs(  # noqa: C901, PLR0912, PLR0915, PLR0917 - one pass over the rows; arguments go by position
    candidates: _Array,
    kept: _Array,
    candidate_counters: _Array,
    index: _Array,
    rows: _Array,
    counters: _Array,
    rings: _Array,
    clock: _Array,
    keys: _Array,
    counted: _Array,
    sent: _Array,
    received: _Array,
    names: _Array,
    prevalence: _Array,
    limits: _Array,
    null: _Array,
    shares: _Array,
    counts: _Array,
    times: _Array,
    window: int,
    ordinal: int,
    learn: bool,
    out: _Array,
    sampled: _Array,
) -> tuple[int, int]:
    """Keeps when each pair that comes back met, and judges now and then whether that is regular.

    Args:
        candidates, kept, candidate_counters: pairs that met once or twice, int64 (slots, 2), (slots,
            CANDIDATE_WIDTH), (COUNTERS,).
        index, rows, counters: pairs that came back, int64 (slots, 2), (slots, WIDTH), (COUNTERS,).
        rings: int64 (slots, 2, RING), their last times (ms) and bytes sent.
        clock: int64 (1,), ms at which the first row came, 0 before it.
        keys: int64 (n,). counted: boolean (n,), rows that count.
        sent, received: int64 (n,), bytes, 0 to 2^46.
        names: boolean (n,), name services.
        prevalence: uint8 (n,).
        limits: int64 (3,): score in thousandths from which a pair is a beacon, from which it is one of HIGH level where
            the destination is rare; percentile against chance in millionths.
        null: float64 (len(counts), len(shares)), quantiles of regularity by chance; shares: which; counts: of how many
            arrivals.
        times: int64 (n,), ns. window: ms.
        ordinal, learn, out, sampled: as in :func:`.kernels.count_in_window`, with the columns of :data:`OUT`; measured
            in thousandths of a score; beside: 2 · arrivals, + 1 where what is sent is much.

    Returns:
        How many rows were sampled, and how many have evidence.
    """
    index, rows, counters, rings = borrowed(index), borrowed(rows), borrowed(counters), borrowed(rings)
    candidates, kept, candidate_counters = borrowed(candidates), borrowed(kept), borrowed(candidate_counters)
    keys, counted, limits, out, sampled = (
        borrowed(keys), borrowed(counted), borrowed(limits), borrowed(out), borrowed(sampled)
    )  # fmt: skip
    null, shares, counts = borrowed(null), borrowed(shares), borrowed(counts)
    work = np.empty((4, RING))
    standing = 0
    taken = 0
    for i in range(len(keys)):
        fetch_ahead(candidates, kept, keys, counted, i)
        if i + _AHEAD < len(keys) and counted[i + _AHEAD]:
            fetch_bucket(index, keys[i + _AHEAD])
        now = times[i] // MS
        event = NOTHING
        if not (counted[i] and learn) and not was_reported(counters, keys[i]):
            continue
        slot = find(index, keys[i])
        if counted[i] and learn:
            if clock[0] == 0 or now < clock[0]:
                clock[0] = now
            if slot < 0:
                candidate = _candidate(candidates, kept, candidate_counters, keys[i], ordinal + i)
                waiting = kept[candidate]
                if waiting[0] < _COMES_BACK:
                    waiting[2 * waiting[0] - 1] = now
                    waiting[2 * waiting[0]] = sent[i]
                    continue
                candidates[candidate, 1] = 0
                candidate_counters[ENTRIES] -= 1
                slot = _place(index, rows, counters, keys[i], min(now, waiting[1]), now - window)
                _promote(waiting, rows[slot], rings[slot], window, times[i])
            index[slot, 1] = ordinal + i
            row = rows[slot]
            before = row[NEWEST]
            if moved(row, now, window):
                if row[ARRIVALS] == 0 or row[NEWEST] - before > window:
                    _begin_pair(row, now, times[i])
                    before = now - window
                row[FLOWS] += 1
                row[FIRST] = min(row[FIRST], times[i])
                row[BORN] = min(row[BORN], now)
                if row[ARRIVALS] >= _SAMPLED_FROM:
                    taken = sample(row, counters, sampled, taken, i)
                if abs(now - before) >= _TOGETHER and _arrives(row, rings[slot], now, sent[i]):
                    score = _judge_pair(
                        row, rings[slot, 0], rings[slot, 1], work, null, shares, counts, clock[0], limits[2]
                    )
                    if score >= limits[0]:
                        if row[ACTIVE] == 0:
                            row[MEASURED] = 0
                        measure(row, score, limits[0])
                        row[SCHEDULED] = sent[i] > received[i] and sent[i] > _MUCH
                        level = _level(row[MEASURED], limits, names[i], prevalence[i])
                        # What doubles is the number of calls; a score cannot.
                        event = report(row, row[ARRIVALS], row[ARRIVALS], level, now, window)
                        if event == FIRST_SEEN:
                            mark_reported(counters, keys[i])
                    else:
                        row[ACTIVE] = 0
                        row[LEVEL] = 0
                if row[ACTIVE] != 0:
                    row[UNTIL] = max(row[UNTIL], now + window)
        elif slot < 0:
            continue
        else:
            row = rows[slot]
        if stands(row, now, window):
            level = _level(row[MEASURED], limits, names[i], prevalence[i])
            standing += say(out[i], row, event, level, 2 * row[ARRIVALS] + row[SCHEDULED], now, window)
    return taken, standing
