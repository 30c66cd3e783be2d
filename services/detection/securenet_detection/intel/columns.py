"""Indicators as columns: 46 bytes each, and their texts.

A reader of a feed fills a :class:`FeedBuilder`; what comes out is :class:`Columns`, which is what files hold and what
an index looks into.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.intel import build_kernels
from securenet_detection.intel.indicators import IndicatorError, IndicatorKind, Key, Reading, read_key
from securenet_detection.threats import Technique

#: Rejections that are kept with their place; further ones are only counted.
KEPT_REJECTIONS: Final = 100

#: Distinct reasons, techniques and labels that are kept of a feed.
_KEPT_REASONS: Final = 64
_KEPT_NAMES: Final = 65_535
_LONGEST_LABEL: Final = 120
_LONGEST_ID: Final = 128

_U32: Final = (1 << 32) - 1


class FeedTooLargeError(ValueError):
    """A feed holds more than a bound allows; says which."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """An entry that could not be used: where it stands, and why."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Indicators, one a row.

    Attributes:
        kind: uint8 (n,), IndicatorKind.
        prefix: uint8 (n,), bits of an address (128) or network in IPv6's space; 0 for texts.
        flags: uint8 (n,), BELOW, EXACT.
        confidence: uint8 (n,), percent.
        technique, label: uint16 (n,), 1 + position in the feed's tables, 0 for none.
        high, low: uint64 (n,), halves of the address; 0 for texts.
        since, until: uint32 (n,), seconds since the epoch of validity; 0 where the feed sets no bound.
        listed: uint32 (n,), when the feed listed it; 0 where it does not say.
        text, text_end: uint8 and uint32 (n,), texts one after another, and where each ends.
        id, id_end: likewise, the feed's own identity of each entry.
    """

    kind: NDArray[np.uint8]
    prefix: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    technique: NDArray[np.uint16]
    label: NDArray[np.uint16]
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    since: NDArray[np.uint32]
    until: NDArray[np.uint32]
    listed: NDArray[np.uint32]
    text: NDArray[np.uint8]
    text_end: NDArray[np.uint32]
    id: NDArray[np.uint8]
    id_end: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def nbytes(self) -> int:
        """Memory of the columns."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def key(self, row: int) -> Key:
        """The stored form of a row."""
        kind = IndicatorKind(int(self.kind[row]))
        if kind <= IndicatorKind.NETWORK:
            data = int(self.high[row]).to_bytes(8, "big") + int(self.low[row]).to_bytes(8, "big")
            return Key(kind, data, int(self.prefix[row]))
        return Key(kind, _span(self.text, self.text_end, row), 0, int(self.flags[row]))

    def identity(self, row: int) -> str:
        """The feed's own identity of a row; empty where it has none."""
        return _span(self.id, self.id_end, row).decode("utf-8", "replace")

    def take(self, first: int, last: int) -> Columns:
        """Rows first … last − 1."""
        taken = {name: getattr(self, name)[first:last] for name in DTYPES if name not in _SPANS}
        for blob, end in _BLOBS:
            ends = getattr(self, end)
            base = int(ends[first - 1]) if first else 0
            taken[end] = ends[first:last] - np.uint32(base)
            taken[blob] = getattr(self, blob)[base : int(ends[last - 1]) if last else 0]
        return Columns(**taken)

    def where(self, keep: NDArray[np.bool_]) -> Columns:
        """The rows that are kept."""
        kept = {name: getattr(self, name)[keep] for name in DTYPES if name not in _SPANS}
        for blob, end in _BLOBS:
            ends = getattr(self, end)
            lengths = np.diff(ends, prepend=np.uint32(0))[keep]
            kept[blob] = np.empty(int(lengths.sum(dtype=np.int64)), np.uint8)
            kept[end] = np.empty(len(lengths), np.uint32)
            build_kernels.gather(_owned(getattr(self, blob)), _owned(ends), keep, kept[blob], kept[end])
        return Columns(**kept)

    @classmethod
    def concatenate(cls, parts: Sequence[Columns]) -> Columns:
        """The rows of all parts, in order.

        Raises:
            FeedTooLargeError: their texts take more than 4 GiB.
        """
        joined = {
            name: np.concatenate([np.empty(0, dtype), *(getattr(part, name) for part in parts)])
            for name, dtype in DTYPES.items()
            if name not in _SPANS
        }
        for blob, end in _BLOBS:
            joined[blob] = np.concatenate([np.empty(0, np.uint8), *(getattr(part, blob) for part in parts)])
            if len(joined[blob]) > _U32:
                raise FeedTooLargeError(f"{len(joined[blob]):,} bytes of text; at most {_U32:,} can be held")
            bases = np.cumsum([0, *(len(getattr(part, blob)) for part in parts)])
            ends = [getattr(part, end) + np.uint32(base) for part, base in zip(parts, bases[:-1], strict=True)]
            joined[end] = np.concatenate([np.empty(0, np.uint32), *ends])
        return cls(**joined)


#: Columns with their dtypes, in the order of a file.
DTYPES: Final[dict[str, np.dtype[Any]]] = {
    **dict.fromkeys(("kind", "prefix", "flags", "confidence"), np.dtype(np.uint8)),
    **dict.fromkeys(("technique", "label"), np.dtype(np.uint16)),
    **dict.fromkeys(("high", "low"), np.dtype(np.uint64)),
    **dict.fromkeys(("since", "until", "listed"), np.dtype(np.uint32)),
    "text": np.dtype(np.uint8),
    "text_end": np.dtype(np.uint32),
    "id": np.dtype(np.uint8),
    "id_end": np.dtype(np.uint32),
}
_BLOBS: Final = (("text", "text_end"), ("id", "id_end"))
_SPANS: Final = {name for pair in _BLOBS for name in pair}
#: Columns that have another length than there are rows.
BLOB_NAMES: Final = ("text", "id")


def _span(blob: NDArray[np.uint8], ends: NDArray[np.uint32], row: int) -> bytes:
    return blob[int(ends[row - 1]) if row else 0 : int(ends[row])].tobytes()


def _owned(values: NDArray[np.generic]) -> NDArray[np.generic]:
    # Kernels are compiled for arrays that are contiguous and can be written, and for nothing else.
    return values if values.flags.c_contiguous and values.flags.writeable else values.copy()


class FeedBuilder:
    """Collects what a reader finds: indicators, and why other entries are none.

    Args:
        limit: most indicators.
        confidence: of entries whose feed says nothing of their own, percent.
        reading: how texts are understood.
    """

    def __init__(self, *, limit: int, confidence: int, reading: Reading | None = None) -> None:
        self.confidence = confidence
        self.reading = reading or Reading()
        self.rejected = 0
        self.rejections: list[Rejection] = []
        #: Entries that are sound and not meant for this use, by reason.
        self.ignored: Counter[str] = Counter()
        #: What the feed says of itself; readers fill it in.
        self.licence = ""
        self.data_time = 0
        self._limit = limit
        self._techniques: dict[Technique, int] = {}
        self._labels: dict[str, int] = {}
        self._kind, self._prefix, self._flags, self._confidence = (bytearray() for _ in range(4))
        self._address, self._text, self._id = (bytearray() for _ in range(3))
        self._technique, self._label = array("H"), array("H")
        self._since, self._until, self._listed = array("I"), array("I"), array("I")
        self._text_end, self._id_end = array("I"), array("I")

    def __len__(self) -> int:
        return len(self._kind)

    def read(
        self, place: str, text: str, *, reading: Reading | None = None, flags: int = 0, confidence: int | None = None,
        since: int = 0, until: int = 0, listed: int = 0, identity: str = "", technique: int = 0, label: int = 0,
    ) -> bool:  # fmt: skip
        """Adds the indicator that a text is; says whether it is one, and keeps the reason where it is not."""
        try:
            key = read_key(text, reading or self.reading)
        except IndicatorError as error:
            self.reject(place, str(error))
            return False
        if flags and key.kind is IndicatorKind.DOMAIN and not key.flags:
            key = key._replace(flags=flags)
        self.add(
            key, confidence=confidence, since=since, until=until, listed=listed, identity=identity,
            technique=technique, label=label,
        )  # fmt: skip
        return True

    def add(
        self, key: Key, *, confidence: int | None = None, since: int = 0, until: int = 0, listed: int = 0,
        identity: str = "", technique: int = 0, label: int = 0,
    ) -> None:  # fmt: skip
        """Adds an indicator. Times are seconds since the epoch, 0 for none; confidence is percent.

        Raises:
            FeedTooLargeError: it is one too many.
        """
        if len(self._kind) >= self._limit:
            raise FeedTooLargeError(f"more than {self._limit:,} indicators, which is all that may be held")
        kind, data, prefix, flags = key
        self._kind.append(kind)
        self._prefix.append(prefix)
        self._flags.append(flags)
        self._confidence.append(self.confidence if confidence is None else min(max(confidence, 0), 100))
        if kind <= IndicatorKind.NETWORK:
            self._address += data
        else:
            self._address += _NO_ADDRESS
            self._text += data
        self._text_end.append(len(self._text))
        if identity:
            self._id += identity[:_LONGEST_ID].encode("utf-8", "replace")
        self._id_end.append(len(self._id))
        self._since.append(_second(since))
        self._until.append(_second(until))
        self._listed.append(_second(listed))
        self._technique.append(technique)
        self._label.append(label)

    def reject(self, place: str, reason: str) -> None:
        """Counts an entry that cannot be used, and keeps the first ones with their place."""
        self.rejected += 1
        if len(self.rejections) < KEPT_REJECTIONS:
            self.rejections.append(Rejection(place[:200], reason[:300]))

    def ignore(self, reason: str, count: int = 1) -> None:
        """Counts entries that are sound and not meant for this use."""
        self.ignored[reason if reason in self.ignored or len(self.ignored) < _KEPT_REASONS else "other"] += count

    def technique(self, technique: Technique | None) -> int:
        """Number of a technique for :meth:`add`; 0 for none, or for one too many."""
        return 0 if technique is None else _number(self._techniques, technique)

    def label(self, label: str) -> int:
        """Number of a label for :meth:`add`."""
        text = " ".join(label.split())[:_LONGEST_LABEL]
        return _number(self._labels, text) if text else 0

    @property
    def techniques(self) -> tuple[Technique, ...]:
        """Techniques by number − 1."""
        return tuple(self._techniques)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels by number − 1."""
        return tuple(self._labels)

    def columns(self) -> Columns:
        """What was collected."""
        address = np.frombuffer(self._address, ">u8").reshape(-1, 2)
        return Columns(
            kind=np.array(self._kind, np.uint8),
            prefix=np.array(self._prefix, np.uint8),
            flags=np.array(self._flags, np.uint8),
            confidence=np.array(self._confidence, np.uint8),
            technique=np.array(self._technique, np.uint16),
            label=np.array(self._label, np.uint16),
            high=address[:, 0].astype(np.uint64),
            low=address[:, 1].astype(np.uint64),
            since=np.array(self._since, np.uint32),
            until=np.array(self._until, np.uint32),
            listed=np.array(self._listed, np.uint32),
            text=np.array(self._text, np.uint8),
            text_end=np.array(self._text_end, np.uint32),
            id=np.array(self._id, np.uint8),
            id_end=np.array(self._id_end, np.uint32),
        )


_NO_ADDRESS: Final = b"\0" * 16


def _number(table: dict[object, int] | dict[Technique, int] | dict[str, int], name: object) -> int:
    known: dict[object, int] = table  # type: ignore[assignment]  # one shape, whatever the names are
    if name not in known and len(known) >= _KEPT_NAMES:
        return 0
    return known.setdefault(name, len(known) + 1)


def _second(second: int) -> int:
    return 0 if second <= 0 else min(second, _U32)
