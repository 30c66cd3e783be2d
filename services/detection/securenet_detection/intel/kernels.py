"""Compiled loops over the tables of indicators.

Entries are the rows of the stored columns. An entry that is the first of its value is the value's *node*: the slots of
a hash table point to nodes, `following` chains the entries of other feeds for the same value, and `above` points to
the node of the nearest network or domain that holds this one. All comparisons are of whole keys; a hash only says where
to look. All kernels stand in this one module because numba's disk cache looks at the age of a function's own file
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np

# What a compiled function takes and gives; numba goes by inference.
_Array = Any
_Int = Any

#: Slots of the index into the ranges of networks: one for each value of an IPv4 address's first 16 bits.
BLOCKS: Final = 1 << 16

_EMPTY: Final = 0
_BELOW: Final = 1
_EXACT: Final = 2

#: Columns in which a flow can match.
SOURCE, DESTINATION, DNS, SERVER_NAME, HOST, URL, CERTIFICATE, JA3, JA4 = range(9)
COLUMNS: Final = 9

#: Confidence, in percent, from which STIX 2.1 speaks of medium and of high.
_MEDIUM: Final = 30
_HIGH: Final = 70


def _jit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """numba.njit with the disk cache where one can be written, else without."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:
            return numba.njit(nogil=True, **options)(function)

    return decorate


@numba.njit(inline="always")
def _finish(x: _Array) -> _Array:
    # The finaliser of splitmix64.
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(inline="always")
def _hash_address(high: _Array, low: _Array, prefix: _Int, seed: _Array) -> _Array:
    return _finish(_finish(high ^ seed) ^ low ^ (np.uint64(prefix) << np.uint64(56)))


@numba.njit(inline="always")
def _step(state: _Array, byte: _Int) -> _Array:
    # FNV-1a over the text from its end, so that a name's parents are hashed on the way; keyed by where it starts.
    return (state ^ np.uint64(byte)) * np.uint64(0x100000001B3)


@numba.njit(inline="always")
def _fold(byte: _Int) -> _Int:
    return byte + 32 if 65 <= byte <= 90 else byte


@numba.njit(inline="always")
def _start(ends: _Array, entry: _Int) -> _Int:
    return np.int64(ends[entry - 1]) if entry > 0 else 0


@numba.njit(inline="always")
def _may_hold(sieve: _Array, hashed: _Int) -> _Array:
    """False where no entry has this hash; a bit in a small table, since most values of most flows are not listed."""
    at = (hashed >> np.uint64(40)) & np.uint64(64 * len(sieve) - 1)
    return (sieve[np.int64(at >> np.uint64(6))] >> (at & np.uint64(63))) & np.uint64(1) != 0


@numba.njit(inline="always")
def _mark(sieve: _Array, hashed: _Int) -> None:
    at = (hashed >> np.uint64(40)) & np.uint64(64 * len(sieve) - 1)
    sieve[np.int64(at >> np.uint64(6))] |= np.uint64(1) << (at & np.uint64(63))


@numba.njit(inline="always")
def _probe_address(  # noqa: PLR0917 - numba takes arguments by position
    slots: _Array, highs: _Array, lows: _Array, prefixes: _Array, high: _Int, low: _Int, prefix: _Int, seed: _Int
) -> _Int:
    """Node of an address or network: −1 − slot where there is none, slot being where it would stand."""
    mask = len(slots) - 1
    hashed = _hash_address(high, low, prefix, seed)
    tag = hashed >> np.uint64(32)
    at = np.int64(hashed & np.uint64(mask))
    while slots[at] != _EMPTY:
        if slots[at] >> np.uint64(32) == tag:
            entry = np.int64(slots[at] & np.uint64(0xFFFFFFFF)) - 1
            if highs[entry] == high and lows[entry] == low and prefixes[entry] == prefix:
                return entry
        at = (at + 1) & mask
    return -1 - at


@numba.njit(inline="always")
def _same_text(blob: _Array, first: _Int, last: _Int, other: _Array, begin: _Int, end: _Int, fold: bool) -> bool:  # noqa: PLR0917 - as above
    if last - first != end - begin:
        return False
    for i in range(last - first):
        byte = other[begin + i]
        if blob[first + i] != (_fold(byte) if fold else byte):
            return False
    return True


@numba.njit(inline="always")
def _probe_text(  # noqa: PLR0917 - numba takes arguments by position
    slots: _Array, kinds: _Array, blob: _Array, ends: _Array, hashed: _Int, kind: _Int, other: _Array, begin: _Int,
    end: _Int, fold: bool,
) -> _Int:  # fmt: skip
    mask = len(slots) - 1
    tag = hashed >> np.uint64(32)
    at = np.int64(hashed & np.uint64(mask))
    while slots[at] != _EMPTY:
        if slots[at] >> np.uint64(32) == tag:
            entry = np.int64(slots[at] & np.uint64(0xFFFFFFFF)) - 1
            first = _start(ends, entry)
            if kinds[entry] == kind and _same_text(blob, first, np.int64(ends[entry]), other, begin, end, fold):
                return entry
        at = (at + 1) & mask
    return -1 - at


@numba.njit(inline="always")
def _place(slots: _Array, slot: _Int, hashed: _Int, entry: _Int) -> None:
    slots[slot] = ((hashed >> np.uint64(32)) << np.uint64(32)) | np.uint64(entry + 1)


@numba.njit(inline="always")
def _join(  # noqa: PLR0917 - numba takes arguments by position
    node: _Int, entry: _Int, following: _Array, feeds: _Array, flags: _Array, confidence: _Array, since: _Array,
    until: _Array,
) -> bool:  # fmt: skip
    """Adds an entry to its value's chain; or into the one that the same feed has there already, and says so."""
    at = node
    while at >= 0:
        if feeds[at] == feeds[entry] and flags[at] == flags[entry]:
            # Twice in one feed: valid while either is, believed as much as the surer one.
            confidence[at] = max(confidence[at], confidence[entry])
            since[at] = min(since[at], since[entry])
            if until[at] != 0 and (until[entry] == 0 or until[entry] > until[at]):
                until[at] = until[entry]
            return True
        at = following[at]
    following[entry] = following[node]
    following[node] = entry
    return False


@_jit()
def build(  # noqa: PLR0917 - numba takes arguments by position
    kinds: _Array, prefixes: _Array, flags: _Array, confidence: _Array, feeds: _Array, highs: _Array, lows: _Array,
    blob: _Array, ends: _Array, since: _Array, until: _Array, seed: _Int, address_slots: _Array, text_slots: _Array,
    address_sieve: _Array, text_sieve: _Array, following: _Array, duplicate: _Array,
) -> _Int:  # fmt: skip
    """Fills the hash tables and chains. Entries of one feed stand together.

    Args:
        kinds … until: the columns, (n,); confidence, since and until of an entry may grow by its duplicates.
        seed: keys the hashes.
        address_slots, text_slots: uint64, zeroed, a power of two and at least twice as many as entries.
        address_sieve, text_sieve: uint64, zeroed, a power of two and at most 2¹⁸; get a bit for each hash.
        following: int32 (n,), filled with −1.
        duplicate: boolean (n,), zeroed; set where the same feed has the value already.

    Returns:
        How many are duplicates.
    """
    found = 0
    for entry in range(len(kinds)):
        if kinds[entry] <= 2:
            node = _probe_address(
                address_slots, highs, lows, prefixes, highs[entry], lows[entry], prefixes[entry], seed
            )
            hashed = _hash_address(highs[entry], lows[entry], prefixes[entry], seed)
            if node < 0:
                _place(address_slots, -1 - node, hashed, entry)
                _mark(address_sieve, hashed)
        else:
            first, last = _start(ends, entry), np.int64(ends[entry])
            state = np.uint64(seed) ^ np.uint64(kinds[entry])
            for i in range(last - 1, first - 1, -1):
                state = _step(state, blob[i])
            hashed = _finish(state)
            node = _probe_text(text_slots, kinds, blob, ends, hashed, kinds[entry], blob, first, last, False)
            if node < 0:
                _place(text_slots, -1 - node, hashed, entry)
                _mark(text_sieve, hashed)
        if node >= 0 and _join(node, entry, following, feeds, flags, confidence, since, until):
            duplicate[entry] = True
            found += 1
    return found


@numba.njit(inline="always")
def _last_of(high: _Int, low: _Int, prefix: _Int) -> _Array:
    ones = np.uint64(0xFFFFFFFFFFFFFFFF)
    if prefix >= 64:
        return high, low | (ones >> np.uint64(prefix - 64) if prefix < 128 else np.uint64(0))
    return high | (ones >> np.uint64(prefix)), ones


@numba.njit(inline="always")
def _bound(high: _Array, low: _Array, owner: _Array, count: _Int, h: _Int, l: _Int, node: _Int) -> _Int:  # noqa: E741, PLR0917
    if count > 0 and high[count - 1] == h and low[count - 1] == l:
        owner[count - 1] = node
        return count
    high[count] = h
    low[count] = l
    owner[count] = node
    return count + 1


@numba.njit(inline="always")
def _close(  # noqa: PLR0917 - numba takes arguments by position
    stack: _Array, depth: _Int, highs: _Array, lows: _Array, prefixes: _Array, out_high: _Array, out_low: _Array,
    out_owner: _Array, count: _Int,
) -> _Int:  # fmt: skip
    """Ends the innermost open network: what follows its last address belongs to the one around it."""
    node = stack[depth - 1]
    h, l = _last_of(highs[node], lows[node], prefixes[node])  # noqa: E741
    l += np.uint64(1)  # noqa: E741
    if l == 0:
        h += np.uint64(1)
        if h == 0:
            return count
    return _bound(out_high, out_low, out_owner, count, h, l, stack[depth - 2] if depth > 1 else -1)


@_jit()
def flatten(  # noqa: PLR0917 - numba takes arguments by position
    order: _Array, highs: _Array, lows: _Array, prefixes: _Array, above: _Array, out_high: _Array, out_low: _Array,
    out_owner: _Array,
) -> _Int:  # fmt: skip
    """Turns nested networks into ranges that do not overlap, each owned by the narrowest network that holds it.

    Args:
        order: int64 (m,), nodes of networks by first address, the wider first.
        highs, lows, prefixes: columns of all entries.
        above: int32 (n,), gets the network around each network.
        out_high, out_low: uint64 (2m + 1,), get the first address of each range.
        out_owner: int32 (2m + 1,), gets its node, −1 for none.

    Returns:
        How many ranges there are.
    """
    stack = np.empty(130, np.int32)
    depth = 0
    count = 0
    for node in order:
        while depth > 0:
            h, l = _last_of(highs[stack[depth - 1]], lows[stack[depth - 1]], prefixes[stack[depth - 1]])  # noqa: E741
            if h > highs[node] or (h == highs[node] and l >= lows[node]):
                break
            count = _close(stack, depth, highs, lows, prefixes, out_high, out_low, out_owner, count)
            depth -= 1
        above[node] = stack[depth - 1] if depth > 0 else -1
        count = _bound(out_high, out_low, out_owner, count, highs[node], lows[node], node)
        stack[depth] = node
        depth += 1
    while depth > 0:
        count = _close(stack, depth, highs, lows, prefixes, out_high, out_low, out_owner, count)
        depth -= 1
    return count


@numba.njit(inline="always")
def _owner(range_high: _Array, range_low: _Array, owners: _Array, blocks: _Array, high: _Int, low: _Int) -> _Int:  # noqa: PLR0917 - as above
    first, last = 0, len(range_high)
    if high == 0 and low >> np.uint64(32) == np.uint64(0xFFFF):
        block = np.int64((low >> np.uint64(16)) & np.uint64(0xFFFF))
        first, last = blocks[block], blocks[block + 1]
    # The last range that begins at or before the address.
    while first < last:
        middle = (first + last) >> 1
        if range_high[middle] < high or (range_high[middle] == high and range_low[middle] <= low):
            first = middle + 1
        else:
            last = middle
    return owners[first - 1] if first > 0 else -1


@_jit()
def find_addresses(  # noqa: PLR0917 - numba takes arguments by position
    addresses: _Array, sieve: _Array, slots: _Array, highs: _Array, lows: _Array, prefixes: _Array, range_high: _Array,
    range_low: _Array, owners: _Array, blocks: _Array, seed: _Int, out: _Array,
) -> _Int:  # fmt: skip
    """Node of each address itself, else of the narrowest network that holds it, else −1.

    Args:
        addresses: uint64 (n, 2), network order already turned.
        sieve … seed: the tables.
        out: int32 (n,).

    Returns:
        How many were found.
    """
    found = 0
    for i in range(len(addresses)):
        high, low = addresses[i, 0], addresses[i, 1]
        node = -1
        if _may_hold(sieve, _hash_address(high, low, 128, seed)):
            node = _probe_address(slots, highs, lows, prefixes, high, low, 128, seed)
        if node < 0 and len(owners) > 0:
            node = _owner(range_high, range_low, owners, blocks, high, low)
        out[i] = max(node, -1)
        found += node >= 0
    return found


@_jit()
def find_texts(  # noqa: PLR0917 - numba takes arguments by position
    texts: _Array, text_ends: _Array, kind: _Int, suffixes: bool, host: bool, skip_whole: bool, sieve: _Array,
    slots: _Array, kinds: _Array, blob: _Array, ends: _Array, seed: _Int, out: _Array, whole: _Array,
) -> _Int:  # fmt: skip
    """Node of each text, ignoring case; with `suffixes` of the longest of the name and its parents that is there.

    Args:
        texts, text_ends: uint8 and int64 (n,), the texts one after another.
        kind: of the indicators.
        suffixes: parents count.
        host: a port at the end does not belong to the name.
        skip_whole: only parents count.
        sieve … seed: the tables.
        out: int32 (n,), −1 for none.
        whole: uint8 (n,), 1 where the text itself was found, 0 where a parent was.

    Returns:
        How many were found.
    """
    found = 0
    for i in range(len(text_ends)):
        begin, end = _start(text_ends, i), np.int64(text_ends[i])
        if host:
            at = end
            while at > begin and 48 <= texts[at - 1] <= 57:
                at -= 1
            if at > begin and texts[at - 1] == 58:
                end = at - 1
        if suffixes and end > begin and texts[end - 1] == 46:
            end -= 1
        node = -1
        itself = False
        labels = 0
        state = np.uint64(seed) ^ np.uint64(kind)
        for place in range(end - 1, begin - 1, -1):
            byte = _fold(texts[place])
            if suffixes and byte == 46:
                # No feed may list what has a single label.
                hashed = _finish(state)
                if labels > 0 and _may_hold(sieve, hashed):
                    found_here = _probe_text(slots, kinds, blob, ends, hashed, kind, texts, place + 1, end, True)
                    node = found_here if found_here >= 0 else node
                labels += 1
            state = _step(state, byte)
        if not skip_whole and end > begin and _may_hold(sieve, _finish(state)):
            found_here = _probe_text(slots, kinds, blob, ends, _finish(state), kind, texts, begin, end, True)
            if found_here >= 0:
                node, itself = found_here, True
        out[i] = node
        whole[i] = itself
        found += node >= 0
    return found


@_jit()
def find_urls(  # noqa: PLR0917 - numba takes arguments by position
    hosts: _Array, host_ends: _Array, targets: _Array, target_ends: _Array, host_codes: _Array, target_codes: _Array,
    kind: _Int, slots: _Array, kinds: _Array, blob: _Array, ends: _Array, seed: _Int, out: _Array,
) -> _Int:  # fmt: skip
    """Node of each URL that a host and a request target make; a target that is a URL stands for itself.

    Args:
        hosts, host_ends, targets, target_ends: distinct texts, as in :func:`find_texts`.
        host_codes, target_codes: int64 (n,), which of them; −1 for none.
        kind … seed: as there.
        out: int32 (n,), −1 for none.

    Returns:
        How many were found.
    """
    found = 0
    scratch = np.empty(4096, np.uint8)
    for i in range(len(host_codes)):
        out[i] = -1
        if target_codes[i] < 0:
            continue
        begin, end = _start(target_ends, target_codes[i]), np.int64(target_ends[target_codes[i]])
        size = 0
        if end - begin > 7 and targets[begin] != 47:
            # An absolute form, as a proxy gets it: scheme://host/path.
            at = begin
            while at + 2 < end and not (targets[at] == 58 and targets[at + 1] == 47 and targets[at + 2] == 47):
                at += 1
            if at + 3 >= end:
                continue
            begin = at + 3
            while begin < end and targets[begin] != 47 and size < 1024:
                scratch[size] = _fold(targets[begin])
                size += 1
                begin += 1
        elif host_codes[i] >= 0:
            first, last = _start(host_ends, host_codes[i]), np.int64(host_ends[host_codes[i]])
            for at in range(first, min(last, first + 1024)):
                scratch[size] = _fold(hosts[at])
                size += 1
        else:
            continue
        if size > 3 and scratch[size - 3] == 58 and scratch[size - 2] == 56 and scratch[size - 1] == 48:
            size -= 3
        elif (
            size > 4 and scratch[size - 4] == 58 and scratch[size - 3] == 52 and scratch[size - 2] == 52
            and scratch[size - 1] == 51
        ):  # fmt: skip
            size -= 4
        if end - begin > len(scratch) - size:
            continue
        while begin < end and targets[begin] != 35:
            scratch[size] = targets[begin]
            size += 1
            begin += 1
        state = np.uint64(seed) ^ np.uint64(kind)
        for at in range(size - 1, -1, -1):
            state = _step(state, scratch[at])
        node = _probe_text(slots, kinds, blob, ends, _finish(state), kind, scratch, 0, size, False)
        out[i] = max(node, -1)
        found += node >= 0
    return found


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


@_jit()
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


@_jit()
def gather(blob: _Array, ends: _Array, keep: _Array, out: _Array, out_ends: _Array) -> None:
    """Copies the texts of the entries that are kept, one after another."""
    at = 0
    kept = 0
    for entry in range(len(ends)):
        if not keep[entry]:
            continue
        for i in range(_start(ends, entry), np.int64(ends[entry])):
            out[at] = blob[i]
            at += 1
        out_ends[kept] = at
        kept += 1
