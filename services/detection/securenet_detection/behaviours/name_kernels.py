"""Compiled loops over the text of DNS names: where the registered domain begins, how the rest and its label are shaped.

A name comes as bytes; of one that is longer than any name may be, only the end is read. Nothing here is remembered.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from securenet_detection.behaviours.kernels import _mix
from securenet_detection.compiled import jit

#: What a rule says of the names that end in its text: a public suffix; every label before it makes one (`*.ck`); an
#: exception to that (`!www.ck`); names that carry data for a known benign purpose; names of one's own network.
SUFFIX, WILDCARD, EXCEPTION, REPUTATION, LOCAL = 1, 2, 4, 8, 16

#: Columns of what is known of a name: keyed hashes of the name and of its registered domain (0: has none), where the
#: registered domain begins, characters before it, their entropy in thousandths of a bit each, flags of the rules met,
#: and the score of the registered domain's own label in thousandths.
NAME, APEX, APEX_START, LENGTH, ENTROPY, FLAGS, SCORE = range(7)
COLUMNS: Final = 7

#: Shorter texts reach any entropy by chance; theirs is left at 0.
SHORTEST: Final = 20

#: A label has at most 63 characters (RFC 1035), a name some 127 labels.
_LABEL: Final = 63
_LABELS: Final = 128

#: Hand-made properties of a label beside its n-grams.
SHAPES: Final = 12

_Array = Any


@numba.njit(nogil=True, forceinline=True)
def _step(state: int, byte: int) -> Any:
    h = (np.uint64(state) ^ np.uint64(byte)) * np.uint64(0x100000001B3)
    return np.int64(h ^ (h >> np.uint64(29)))


@numba.njit(nogil=True, forceinline=True)
def _lower(byte: int) -> Any:
    return byte + 32 if 65 <= byte <= 90 else byte


@jit
def build_rules(blob: _Array, offsets: _Array, kinds: _Array, seed: int, table: _Array) -> None:
    """Fills a table of rules: int64 (slots, 2), keyed hash of the text from its end, and kinds; slots ≥ 2 · rules."""
    mask = len(table) - 1
    for r in range(len(kinds)):
        h = seed
        for k in range(offsets[r + 1] - 1, offsets[r] - 1, -1):
            h = _step(h, _lower(blob[k]))
        h = _mix(h, seed)
        slot = h & mask
        while table[slot, 1] != 0 and table[slot, 0] != h:
            slot = (slot + 1) & mask
        table[slot, 0] = h
        table[slot, 1] |= kinds[r]


@numba.njit(nogil=True, forceinline=True)
def _rule(table: _Array, h: int) -> Any:
    mask = len(table) - 1
    slot = h & mask
    while table[slot, 1] != 0:
        if table[slot, 0] == h:
            return table[slot, 1]
        slot = (slot + 1) & mask
    return 0


@numba.njit(nogil=True, forceinline=True)
def _entropy(blob: _Array, begin: int, end: int, counts: _Array) -> Any:
    """Thousandths of a bit a character; `counts` are zero before and after."""
    size = end - begin
    for k in range(begin, end):
        counts[_lower(blob[k])] += 1
    entropy = 0.0
    for k in range(begin, end):
        c = _lower(blob[k])
        if counts[c] > 0:
            entropy -= counts[c] / size * np.log2(counts[c] / size)
            counts[c] = 0
    return np.int64(entropy * 1000)


@jit
def tokens(label: _Array, mask: int, out: _Array, shape: _Array) -> int:
    """Positions in a table of weights of a label's bigrams and trigrams, beginning and end included.

    Args:
        label: uint8 (n,), lower case; its first 63 bytes are read.
        mask: size of the table − 1.
        out: int64 (≥ 130,), filled.
        shape: float64 (SHAPES,), filled with properties of the whole label.

    Returns:
        How many positions were filled.
    """
    n = min(len(label), _LABEL)
    vowels = digits = hexadecimal = longest = run = switches = distinct = 0
    low = high = np.uint64(0)
    before = -1
    for i in range(n):
        c = label[i]
        digit = 1 if 48 <= c <= 57 else 0
        vowel = c in (97, 101, 105, 111, 117, 121)
        digits += digit
        switches += before not in (-1, digit)
        before = digit
        vowels += vowel
        hexadecimal += digit == 1 or 97 <= c <= 102
        run = 0 if vowel or digit == 1 or c == 45 else run + 1
        longest = max(longest, run)
        # A set of ASCII as two words; the few names beyond it share its places.
        bit = np.uint64(1) << np.uint64(c & 63)
        if c & 64:
            distinct += (high & bit) == np.uint64(0)
            high |= bit
        else:
            distinct += (low & bit) == np.uint64(0)
            low |= bit
    size = max(n, 1)
    shape[0] = n / 20
    shape[1] = (n / 20) ** 2
    shape[2] = min(n, 7) / 7
    shape[3] = vowels / size
    shape[4] = digits / size
    shape[5] = longest / 5
    shape[6] = max(longest - 3, 0) / 5
    shape[7] = 1.0 if hexadecimal == n and 0 < digits < n and n >= 8 else 0.0
    shape[8] = distinct / size
    shape[9] = switches / 5
    shape[10] = 1.0 if 0 < digits < n else 0.0
    shape[11] = abs(vowels / size - 0.38)
    filled = 0
    for length in range(2, 4):
        for first in range(-1, n - length + 2):
            h = np.uint64(length)
            for i in range(first, first + length):
                c = 1 if i < 0 else 2 if i >= n else label[i]
                h = (h ^ np.uint64(c)) * np.uint64(0x9E3779B97F4A7C15)
                h ^= h >> np.uint64(29)
            out[filled] = np.int64((h >> np.uint64(13)) & np.uint64(mask))
            filled += 1
    return filled


@numba.njit(nogil=True, forceinline=True)
def _score(label: _Array, weights: _Array, shape_weights: _Array, positions: _Array, shape: _Array) -> Any:
    """Thousandths of the log odds that a label was generated."""
    filled = tokens(label, len(weights) - 1, positions, shape)
    grams = 0.0
    for k in range(filled):
        grams += weights[positions[k]]
    score = shape_weights[SHAPES] + grams / np.sqrt(max(filled, 1))
    for k in range(SHAPES):
        score += shape[k] * shape_weights[k]
    return np.int64(1000 * score)


@numba.njit(nogil=True, forceinline=True)
def _cut(  # noqa: PLR0917 - numba takes arguments by position
    blob: _Array, begin: int, end: int, seed: int, rules: _Array, starts: _Array, hashes: _Array
) -> tuple[int, int, int, int]:
    """Labels of a name from its end: where each begins, and the hash of the name from there on.

    Returns:
        How many labels, how many of them are public suffix, flags of the rules met, and the hash of the whole.
    """
    h = seed
    labels = flags = excepted = 0
    suffix = 1
    for k in range(end - 1, begin - 2, -1):
        # A name with more labels than any can have is read as if the rest were one label.
        if (k < begin or blob[k] == 46) and labels < _LABELS:
            labels += 1
            starts[labels] = k + 1
            hashes[labels] = _mix(h, seed)
            kind = _rule(rules, hashes[labels])
            if kind & SUFFIX:
                suffix = max(suffix, labels)
            if kind & WILDCARD:
                suffix = max(suffix, labels + 1)
            if kind & EXCEPTION:
                excepted = labels - 1
            flags |= kind & (REPUTATION | LOCAL)
        if k >= begin:
            h = _step(h, _lower(blob[k]))
    return labels, excepted if excepted > 0 else suffix, flags, _mix(h, seed)


@jit
def read_names(  # noqa: PLR0917 - numba takes arguments by position
    blob: _Array, offsets: _Array, seed: int, rules: _Array, weights: _Array, shape_weights: _Array, out: _Array
) -> None:
    """What is known of each name.

    The registered domain is the longest public suffix that the name ends in, by the algorithm of publicsuffix.org, and
    one label more; an unknown top-level domain is a suffix itself.

    Args:
        blob: uint8, the names one after the other.
        offsets: int64 (m + 1,), where each begins, and the end.
        seed: key of the hashes.
        rules: as :func:`build_rules` made it, with the same seed.
        weights: float32 (a power of two,), weight of each n-gram.
        shape_weights: float64 (SHAPES + 1,), weights of the properties, and the intercept.
        out: int64 (m, COLUMNS), zeroed by the caller.
    """
    starts = np.empty(_LABELS + 1, np.int64)
    hashes = np.empty(_LABELS + 1, np.int64)
    positions = np.empty(2 * _LABEL + 8, np.int64)
    shape = np.empty(SHAPES, np.float64)
    lowered = np.empty(_LABEL, np.uint8)
    counts = np.zeros(256, np.int64)
    for m in range(len(offsets) - 1):
        begin, end = offsets[m], offsets[m + 1]
        if end > begin and blob[end - 1] == 46:
            end -= 1
        if end <= begin:
            continue
        labels, suffix, flags, whole = _cut(blob, begin, end, seed, rules, starts, hashes)
        out[m, NAME] = whole
        out[m, FLAGS] = flags
        apex = suffix + 1
        if labels <= suffix or starts[suffix] - 1 <= starts[apex] or starts[1] == end:
            # A public suffix itself, a single label, or an empty one: nobody registered it.
            continue
        start = starts[apex]
        out[m, APEX] = hashes[apex]
        out[m, APEX_START] = start - begin
        length = max(start - 1 - begin, 0)
        out[m, LENGTH] = length
        if length >= SHORTEST:
            out[m, ENTROPY] = _entropy(blob, begin, start - 1, counts)
        size = min(starts[suffix] - 1 - start, _LABEL)
        for k in range(size):
            lowered[k] = _lower(blob[start + k])
        out[m, SCORE] = _score(lowered[:size], weights, shape_weights, positions, shape)
