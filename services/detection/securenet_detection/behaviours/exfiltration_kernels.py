"""The compiled loop of uploads: how many bytes go from whom to whom, in tables as in :mod:`.entity_kernels`."""

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
    MEDIUM,
    MOST,
    MS,
    NEWEST,
    NOTHING,
    OWN,
    SLOTS,
    UNTIL,
    begin,
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
    fetch_ahead,
    find,
    mark_reported,
    was_reported,
)
from securenet_detection.compiled import jit
from securenet_flows.kernel_memory import borrowed

_Array = Any


#: Own columns of a pair: the newest slice, bytes out and in by slice.
UPLOAD_SLICE, SENT = OWN, OWN + 1
RECEIVED: Final = SENT + SLOTS
UPLOAD_WIDTH: Final = RECEIVED + SLOTS

#: Own columns of a source: its hour, bytes out in it, hours of its history, what it hardly ever passes, and how many of
#: its hours had so many bytes, by powers of two.
CURRENT_HOUR, HOUR_BYTES, HISTORY, USUAL, HISTOGRAM = range(OWN, OWN + 5)
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


@jit
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
        now = times[i] // MS
        event = NOTHING
        if counted[i] and learn:
            usual = 0
            if sent[i] >= _LITTLE:
                source = source_rows[
                    claim(source_index, source_rows, source_counters, sources[i], ordinal + i, now - 7 * 24 * HOUR)
                ]
                if moved(source, now, 24 * HOUR):
                    hour = now // HOUR
                    if hour > source[CURRENT_HOUR]:
                        if source[HOUR_BYTES] > 0:
                            _close_hour(source)
                        source[CURRENT_HOUR] = hour
                        source[HOUR_BYTES] = 0
                    source[HOUR_BYTES] = min(source[HOUR_BYTES] + sent[i], MOST)
                if source[HISTORY] >= limits[3]:
                    usual = source[USUAL]
            elif find(index, keys[i]) < 0:
                continue
            slot = claim(index, rows, counters, keys[i], ordinal + i, now - window)
            row = rows[slot]
            if moved(row, now, window):
                newest = row[NEWEST] // slice_length
                if newest > row[UPLOAD_SLICE]:
                    roll(row, SENT, SLOTS, row[UPLOAD_SLICE], newest)
                    roll(row, RECEIVED, SLOTS, row[UPLOAD_SLICE], newest)
                row[UPLOAD_SLICE] = newest
                was = sum_slots(row, SENT, SLOTS)
                if was == 0 or (row[ACTIVE] != 0 and now > row[UNTIL]):
                    begin(row, times[i])
                at = (now // slice_length) % SLOTS
                row[SENT + at] = min(row[SENT + at] + sent[i], MOST)
                row[RECEIVED + at] = min(row[RECEIVED + at] + received[i], MOST)
                total, back = min(was + sent[i], MOST), sum_slots(row, RECEIVED, SLOTS)
                row[FLOWS] += 1
                row[FIRST] = min(row[FIRST], times[i])
                far = limits[2] * min(usual, MOST >> 20)
                threshold = min(limits[0], max(limits[1], far)) if usual > 0 else limits[0]
                if sent[i] > 0 and 16 * total >= threshold:
                    taken = sample(row, counters, sampled, taken, i)
                upload = float(total) - float(back) >= asymmetry * (float(total) + float(back))
                if sent[i] >= _LITTLE and total >= threshold and upload:
                    level = MEDIUM
                    if usual > 0 and total <= 2 * usual:
                        level = LOW
                    elif usual > 0 and total >= far and total >= limits[0]:
                        level = HIGH
                    measure(row, total, threshold)
                    event = report(row, total, threshold, level, now, window)
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
        if stands(row, now, window):
            standing += say(out[i], row, event, row[LEVEL], usual, now, window)
    return taken, standing
