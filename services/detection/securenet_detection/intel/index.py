"""What a tenant's feeds say together: entries of feeds, without what warning lists take away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.intel.columns import Columns, FeedBuilder
from securenet_detection.intel.feeds import Feed
from securenet_detection.intel.indicators import (
    BELOW,
    EXACT,
    IndicatorError,
    IndicatorKind,
    Key,
    Reading,
    key_text,
    read_key,
)
from securenet_detection.intel.tables import Tables, Texts
from securenet_detection.threats import Technique

_LOOKUP: Final = Reading(assume_fingerprints=True)

#: Entries that a lookup tells of one value.
_MOST_ENTRIES: Final = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One feed's word on one indicator. Times are seconds since the epoch, 0 where the feed does not say.

    Attributes:
        indicator: as a person reads it.
        confidence: percent.
        warned: a warning list takes it away.
    """

    indicator: str
    kind: IndicatorKind
    feed: Feed
    confidence: int
    since: int
    until: int
    listed: int
    identity: str
    label: str
    technique: Technique | None
    warned: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a value that somebody asked about; `error` where it is no indicator."""

    value: str
    entries: tuple[Entry, ...]
    warnings: tuple[Entry, ...] = ()
    error: str = ""


class IntelIndex:
    """Looks indicators up. It never changes: another set is another index.

    Args:
        columns: rows of all feeds, those of warning lists last.
        feeds: in the order of their rows.
        version: of the set.
        seed: of the hashes.
    """

    def __init__(self, columns: Columns, feeds: Sequence[Feed], *, version: int, seed: int) -> None:
        self.version = version
        listing = [feed for feed in feeds if not feed.warning_list]
        warning = [feed for feed in feeds if feed.warning_list]
        cut = sum(feed.count for feed in listing)
        self.entries = Tables.build(columns.take(0, cut), _positions(listing), seed)
        self.warnings = Tables.build(columns.take(cut, len(columns)), _positions(warning), seed)
        self.warned = self._warned()
        #: uint8 (n,), percent; 0 where a warning list takes the entry away.
        self.confidence = np.where(self.warned, np.uint8(0), self.entries.confidence)
        taken = np.bincount(self.entries.feeds[self.warned], minlength=len(listing))
        self._listing = tuple(replace(feed, subtracted=int(n)) for feed, n in zip(listing, taken, strict=True))
        self._warning = tuple(warning)
        #: Kinds that any entry has, so that columns of flows that cannot match are not looked at.
        self.kinds = frozenset(IndicatorKind(kind) for kind in np.unique(self.entries.columns.kind).tolist())

    @classmethod
    def sample(cls) -> IntelIndex:
        """An index with an entry of each kind, the unspecified address among them, which no feed may list."""
        builder = FeedBuilder(limit=16, confidence=1)
        for text in ("192.0.2.0/24", "a.example", "http://a.example/"):
            builder.read("", text)
        warnings = builder.columns()
        builder.add(Key(IndicatorKind.ADDRESS, bytes(16), 128))
        listed = builder.columns()
        feeds = [
            Feed("listing", "", "", False, 1, "", "", 0, 0, len(listed), 0, 0, {}, {}),
            Feed("warning", "", "", True, 1, "", "", 0, 0, len(warnings), 0, 0, {}, {}),
        ]
        index = cls(Columns.concatenate([listed, warnings]), feeds, version=0, seed=1)
        index.lookup("http://a.example/")
        return index

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """Every feed, by name."""
        return tuple(sorted((*self._listing, *self._warning), key=lambda feed: feed.name))

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.entries.nbytes + self.warnings.nbytes + self.warned.nbytes + self.confidence.nbytes

    def _warned(self) -> NDArray[np.bool_]:
        """Which entries are themselves on a warning list, or lie wholly within a network or below a domain of one."""
        columns, warnings = self.entries.columns, self.warnings
        warned = np.zeros(len(columns), np.bool_)
        if not len(warnings):
            return warned
        rows = np.flatnonzero(columns.kind <= IndicatorKind.NETWORK)
        nodes = warnings.find_addresses(np.stack([columns.high[rows], columns.low[rows]], axis=1))
        # A network is taken away by one that holds all of it: of what holds its first address, any that is as wide.
        while (nodes >= 0).any():
            held = nodes >= 0
            warned[rows[held]] |= warnings.columns.prefix[nodes[held]] <= columns.prefix[rows[held]]
            nodes = np.where(held, warnings.above[nodes], -1)
        texts = Texts(columns.text, columns.text_end.astype(np.int64))
        for kind in IndicatorKind:
            here = columns.kind == kind
            if kind > IndicatorKind.NETWORK and here.any():
                warned |= here & self.warned_texts(texts, kind, suffixes=kind is IndicatorKind.DOMAIN)
        return warned

    def warned_texts(
        self, texts: Texts, kind: IndicatorKind, *, suffixes: bool = False, host: bool = False
    ) -> NDArray[np.bool_]:
        """Which texts a warning list names, or a domain above them."""
        warnings = self.warnings
        nodes, whole = warnings.find_texts(texts, kind, suffixes=suffixes, host=host)
        warned = np.zeros(len(nodes), np.bool_)
        while (held := nodes >= 0).any():
            # Chains are as long as there are warning lists: a step at a time for all.
            at = nodes.copy()
            while (standing := at >= 0).any():
                flags = warnings.columns.flags[at]
                warned |= standing & np.where(whole == 1, flags != BELOW, flags != EXACT)
                at = np.where(standing, warnings.following[at], -1)
            nodes = np.where(held, warnings.above[nodes], -1)
            whole = np.zeros_like(whole)
        return warned

    def entry(self, row: int, *, warning: bool = False) -> Entry:
        """What an entry says."""
        tables = self.warnings if warning else self.entries
        columns = tables.columns
        feed = (self._warning if warning else self._listing)[int(tables.feeds[row])]
        technique, label = int(columns.technique[row]), int(columns.label[row])
        key = columns.key(row)
        return Entry(
            indicator=key_text(key),
            kind=key.kind,
            feed=feed,
            confidence=int(tables.confidence[row]),
            since=int(tables.since[row]),
            until=int(tables.until[row]),
            listed=int(columns.listed[row]),
            identity=columns.identity(row),
            label=feed.labels[label - 1] if label else "",
            technique=feed.techniques[technique - 1] if technique else None,
            warned=not warning and bool(self.warned[row]),
        )

    def lookup(self, value: str) -> Answer:
        """What feeds and warning lists say of a value, whatever its validity, the surest first; at most 100 of each."""
        try:
            key = read_key(value, _LOOKUP)
        except IndicatorError as error:
            return Answer(value, (), (), str(error))
        entries = [self.entry(row) for row in islice(_covering(self.entries, key), _MOST_ENTRIES)]
        warnings = [self.entry(row, warning=True) for row in islice(_covering(self.warnings, key), _MOST_ENTRIES)]
        entries = [replace(entry, warned=entry.warned or bool(warnings)) for entry in entries]
        return Answer(value, tuple(sorted(entries, key=lambda entry: -entry.confidence)), tuple(warnings))


def _covering(tables: Tables, key: Key) -> Iterator[int]:
    """Entries of a value and of what holds it, the nearest first."""
    whole = True
    if key.kind <= IndicatorKind.NETWORK:
        words = np.frombuffer(key.data, ">u8").astype(np.uint64).reshape(1, 2)
        node = int(tables.find_addresses(words)[0])
        # The first address of a network may be listed without the network being so.
        while node >= 0 and tables.columns.prefix[node] > key.prefix:
            node = int(tables.above[node])
    else:
        blob = Texts(np.frombuffer(bytearray(key.data), np.uint8), np.array([len(key.data)], np.int64))
        if key.kind is IndicatorKind.URL:
            host, slash, target = key.data.decode("utf-8", "replace").partition("/")
            zero = np.zeros(1, np.int64)
            node = int(tables.find_urls(Texts.of((host,)), Texts.of((slash + target,)), zero, zero)[0])
        else:
            nodes, itself = tables.find_texts(blob, key.kind, suffixes=key.kind is IndicatorKind.DOMAIN)
            node, whole = int(nodes[0]), bool(itself[0])
    while node >= 0:
        for entry in tables.chain(node):
            if key.kind is not IndicatorKind.DOMAIN or key.flags or _speaks(tables, entry, whole=whole):
                yield entry
        node = int(tables.above[node])
        whole = False


def _speaks(tables: Tables, entry: int, *, whole: bool) -> bool:
    flags = int(tables.columns.flags[entry])
    return flags != (BELOW if whole else EXACT)


def _positions(feeds: Sequence[Feed]) -> NDArray[np.uint16]:
    return np.repeat(np.arange(len(feeds), dtype=np.uint16), [feed.count for feed in feeds])
