"""The compiled loop that weighs what indicators say of the rows that they match."""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from securenet_detection.compiled import jit

# What a compiled function takes and gives; numba goes by inference.
_Array = Any
_Int = Any

_BELOW: Final = 1
_EXACT: Final = 2

#: Columns in which a flow can match.
SOURCE, DESTINATION, DNS, SERVER_NAME, HOST, URL, CERTIFICATE, JA3, JA4 = range(9)
COLUMNS: Final = 9

#: Confidence, in percent, from which STIX 2.1 speaks of medium and of high.
_MEDIUM: Final = 30
_HIGH: Final = 70


@numba.njit(inline="always")
def _matches(  # noqa: PLR0917 - numba takes arguments by position
    entry: _Int, second: _Int, itself: bool, confidence: _Array, flags: _Array, since: _Array, until: _Array,
    lookback: _Int, least: _Int,
) -> bool:  # fmt: skip
    if confidence[entry] < least or (until[entry] != 0 and second >= until[entry]):
        return False
    if since[entry] != 0 and second < np.int64(since[entry]) - lookback:
        return False
    return not ((flags[entry] == _BELOW and itself) or (flags[entry] == _EXACT and not itself))


@numba.njit(inline="always")
def _grade(column: _Int, confidence: _Int, outbound: bool, inbound: bool, failed: bool, unknown_name: bool) -> _Int:  # noqa: PLR0917 - as above
    """Level of a match: 4 where a host of ours talks to what a sure feed lists, less by each thing that excuses it."""
    level = 4 if confidence >= _HIGH else 3 if confidence >= _MEDIUM else 2
    if column == SOURCE:
        # Whoever stands on the Internet is knocked at: only what was let in is worth a look.
        return 1 if failed else max(level - 1, 1)
    # Many programs share a fingerprint.
    excused = unknown_name if column == DNS else failed or column in (JA3, JA4)
    if excused:
        level -= 1
    if inbound and not outbound:
        level -= 2
    return max(level, 1)


@jit
def judge(  # noqa: PLR0917 - numba takes arguments by position
    nodes: _Array, whole: _Array, rows: _Array, times: _Array, src_local: _Array, dst_local: _Array, failed: _Array,
    unknown_name: _Array, following: _Array, above: _Array, confidence: _Array, flags: _Array, since: _Array,
    until: _Array, lookback: _Int, least: _Int, weights: _Array, entries: _Array, columns: _Array, levels: _Array,
) -> _Int:  # fmt: skip
    """The gravest match of each row among its columns, the feeds that list it, and the networks and domains around it.

    Args:
        nodes: int32 (m, COLUMNS), −1 for none.
        whole: uint8 (m, COLUMNS), 1 where the value itself was found.
        rows: int64 (m,), rows that the nodes are of.
        times: int64 (n,), nanoseconds.
        src_local … unknown_name: boolean (n,).
        following … until: the tables.
        lookback: seconds before its validity that an indicator speaks of as well.
        least: confidence, in percent, that an entry must have.
        weights: float64 (5,), by level.
        entries: int32 (m,), gets the entry, −1 for none.
        columns, levels: uint8 (m,), get where it matched and how grave that is.

    Returns:
        How many rows match.
    """
    found = 0
    for i in range(len(rows)):
        row = rows[i]
        second = times[row] // 1_000_000_000
        best = -1.0
        entries[i] = -1
        for column in range(COLUMNS):
            node = nodes[i, column]
            itself = whole[i, column] == 1
            outbound = src_local[row] or not dst_local[row]
            while node >= 0:
                entry = node
                while entry >= 0:
                    if _matches(entry, second, itself, confidence, flags, since, until, lookback, least):
                        level = _grade(
                            column, confidence[entry], outbound, dst_local[row], failed[row], unknown_name[row]
                        )
                        piece = weights[level] * confidence[entry]
                        if piece > best:
                            best = piece
                            entries[i] = entry
                            columns[i] = column
                            levels[i] = level
                    entry = following[entry]
                node = above[node]
                itself = False
        found += entries[i] >= 0
    return found
