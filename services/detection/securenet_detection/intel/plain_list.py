"""Lists with one indicator a line, as most block lists come.

Comments begin with `#`, `;` or `//`, also behind an entry. What may stand beside an entry: a number (on how many lists
it is, which raises the confidence), or in front of it the address of a hosts file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from securenet_detection.intel.columns import FeedBuilder
from securenet_detection.intel.indicators import EXACT, LONGEST, IndicatorKind, Key, pack_address
from securenet_detection.intel.times import seconds

#: Confidence of an entry that one list names, in percent; each further list takes a quarter of what is missing to 95.
_ONE_LIST: Final = 55
_MANY_LISTS: Final = 95
_QUARTER: Final = 0.75

#: Comments at the head in which a feed speaks of itself.
_HEAD_LINES: Final = 50
_UPDATED: Final = re.compile(r"(?:updated?|modified|generated|date)[^:]{0,20}:\s*(.{8,64})", re.IGNORECASE)
_LICENCE: Final = re.compile(r"licen[cs]e\s*:\s*(.{2,200})", re.IGNORECASE)

_COMMENT: Final = re.compile(r"(?:\s+(?:#|;|//)|[;,]\s).*")
_NULL_ROUTES: Final = ("0.0.0.0", "127.0.0.1", "::", "::1")  # noqa: S104 - what hosts files begin with
_LOCAL_NAMES: Final = {
    "localhost", "localhost.localdomain", "local", "broadcasthost", "ip6-localhost", "ip6-loopback", "ip6-localnet",
    "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts", "0.0.0.0",  # noqa: S104 - likewise
}  # fmt: skip


def read(text: str, builder: FeedBuilder, *, counts: bool) -> None:
    """Reads a list.

    Args:
        text: the whole of it.
        builder: gets what is found.
        counts: numbers beside entries say how sure the list is.
    """
    only_addresses = builder.reading.kind in (None, IndicatorKind.ADDRESS, IndicatorKind.NETWORK)
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split(None, 2)
        if not words:
            continue
        first = words[0]
        if first[0] in "#;!" or first.startswith("//"):
            if number <= _HEAD_LINES:
                _speak(line, builder)
            continue
        # Most lines of most lists: an address, perhaps with a count.
        if only_addresses and first[0].isdecimal() and len(first) <= 15:
            packed = pack_address(first)
            if packed is not None and 0 < packed[12] < 224 and packed[12] not in (127, 169):
                if len(words) == 1:
                    builder.add(Key(IndicatorKind.ADDRESS, packed, 128))
                    continue
                if words[1].isdecimal() and len(words[1]) <= 6:
                    confidence = _believed(int(words[1])) if counts else None
                    builder.add(Key(IndicatorKind.ADDRESS, packed, 128), confidence=confidence)
                    continue
        if len(words) == 1 and first[0].isalnum() and len(first) <= LONGEST:
            builder.read(f"line {number}", first)
        else:
            _read_line(line, f"line {number}", builder, counts=counts)


def _read_line(line: str, place: str, builder: FeedBuilder, *, counts: bool) -> None:
    if len(line) > LONGEST + 256:
        builder.reject(place, f"{len(line):,} characters; expected an indicator")
        return
    words = _COMMENT.sub("", line.strip(), count=1).split()
    if not words:
        return
    confidence = None
    if len(words) == 2 and words[0] in _NULL_ROUTES:
        if words[1].lower() in _LOCAL_NAMES:
            builder.ignore("a hosts file's own names")
            return
        words = words[1:]
    elif len(words) == 2 and words[1].isdecimal() and words[1].isascii() and len(words[1]) <= 6:
        confidence = _believed(int(words[1])) if counts else None
        words = words[:1]
    if len(words) != 1:
        builder.reject(place, f"{len(words)} words; expected one indicator, or one and a count")
        return
    # What filter lists of browsers put around a domain.
    word = words[0]
    if word.startswith("||") and word.endswith("^"):
        word = word[2:-1]
    builder.read(place, word.strip("\"',"), confidence=confidence)


def read_items(items: Sequence[Any], builder: FeedBuilder, *, exact: bool = False, place: str = "item") -> None:
    """Reads texts of a JSON list; `exact`: a name speaks of itself alone."""
    for number, item in enumerate(items):
        if isinstance(item, str) and item:
            builder.read(f"{place} {number}", item, flags=EXACT if exact else 0)
        else:
            builder.reject(f"{place} {number}", f"{type(item).__name__}; expected a text")


def _believed(lists: int) -> int:
    return round(_MANY_LISTS - (_MANY_LISTS - _ONE_LIST) * _QUARTER ** max(min(lists, 100) - 1, 0))


def _speak(line: str, builder: FeedBuilder) -> None:
    if not builder.data_time and (found := _UPDATED.search(line[:300])):
        builder.data_time = seconds(found[1].strip())
    if not builder.licence and (found := _LICENCE.search(line[:300])):
        builder.licence = found[1].strip()
