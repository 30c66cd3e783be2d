"""What is remembered of sources, destinations and pairs, in bounded memory.

Three set-associative tables over preallocated arrays: a key's hash picks a bucket of :data:`WAYS` slots, and in a full
bucket the slot that was touched longest ago gives way. Counters decay exponentially, so there are no windows to slide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_flows.exceptions import ColumnError

#: After this long a flow counts half.
HALF_LIFE_SECONDS: Final = 300.0

#: Gap statistics are exponential averages over about this many gaps.
GAP_MEMORY: Final = 16

#: Slots of a bucket.
WAYS: Final = 8

#: 64-bit words of each bitmap that tells new destinations and ports from known ones (two generations of each).
BITMAP_WORDS: Final = 4

#: A bitmap generation lasts this long; a destination is new again after one to two of them without contact.
GENERATION_SECONDS: Final = 600.0

#: Smallest and largest number of slots of a table.
SLOTS: Final = (1 << 6, 1 << 24)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Slots of one kind of entity.

    Attributes:
        keys: uint64 (slots, 2).
        touched: int64 (slots,), ordinal of the last flow, −1 for an empty slot.
        seen_ns: int64 (slots,), latest start time.
        values: float64 (slots, 8): flows, failures, destinations, failed ports (decayed); gaps, gap mean and
            deviation in seconds; start of the bitmap generation in seconds.
        bits: uint64 (slots, 4, BITMAP_WORDS): destinations now and before, ports now and before. Empty where the
            table does not count distinct things.
    """

    keys: NDArray[np.uint64]
    touched: NDArray[np.int64]
    seen_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    bits: NDArray[np.uint64]

    @classmethod
    def empty(cls, slots: int, *, distinct: bool) -> Table:
        """A table without entries."""
        return cls(
            keys=np.zeros((slots, 2), np.uint64),
            touched=np.full(slots, -1, np.int64),
            seen_ns=np.zeros(slots, np.int64),
            values=np.zeros((slots, 8), np.float64),
            bits=np.zeros((slots if distinct else 1, 4, BITMAP_WORDS), np.uint64),
        )

    @property
    def all(self) -> tuple[NDArray[np.generic], ...]:
        """The arrays, as the loops take them."""
        return self.keys, self.touched, self.seen_ns, self.values, self.bits

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name, for a snapshot."""
        return {name: getattr(self, name) for name in ("keys", "touched", "seen_ns", "values", "bits")}


_KINDS: Final = ("source", "destination", "pair")


class SourceContext:
    """Memory of earlier flows. Not safe for use by two threads at once.

    Args:
        slots: how many sources, and as many destinations, are remembered; twice as many pairs. A power of two.

    Memory is about 510 bytes a slot: 65,536 slots take 34 MB.

    Raises:
        ValueError: `slots` is no power of two or outside its bounds.
    """

    __slots__ = ("counters", "destination", "pair", "slots", "source", "tables")

    def __init__(self, slots: int = 1 << 16) -> None:
        if slots & (slots - 1) or not SLOTS[0] <= slots <= SLOTS[1]:
            raise ValueError(f"slots: {slots}; expected a power of two between {SLOTS[0]} and {SLOTS[1]}")
        self.slots = slots
        self.source = Table.empty(slots, distinct=True)
        self.destination = Table.empty(slots, distinct=False)
        self.pair = Table.empty(slots * 2, distinct=False)
        #: The arrays of the three, as the loops take them; what they hold changes, and they never do.
        self.tables = (self.source.all, self.destination.all, self.pair.all)
        #: int64 (2,): flows learned so far, entries that gave way to others.
        self.counters: NDArray[np.int64] = np.zeros(2, np.int64)

    @classmethod
    def for_rows(cls, rows: int) -> SourceContext:
        """A context large enough for a capture of so many rows, up to the default size."""
        return cls(min(1 << 16, max(SLOTS[0], 1 << (4 * max(rows, 1) - 1).bit_length())))

    @property
    def flows(self) -> int:
        """How many flows it has learned."""
        return int(self.counters[0])

    @property
    def evictions(self) -> int:
        """How many remembered entities gave way to newer ones."""
        return int(self.counters[1])

    def snapshot(self) -> dict[str, NDArray[np.generic]]:
        """Copies of all arrays by name, as :func:`numpy.savez` takes them."""
        arrays = {f"{kind}.{name}": a.copy() for kind in _KINDS for name, a in getattr(self, kind).arrays().items()}
        return {**arrays, "counters": self.counters.copy()}

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[np.generic]]) -> SourceContext:
        """A context from a snapshot.

        Raises:
            ColumnError: an array is missing or does not fit.
        """
        touched = arrays.get("source.touched")
        if touched is None:
            raise ColumnError("source.touched", "nothing", "an array of a snapshot")
        context = cls(len(touched))
        for kind in _KINDS:
            for name, own in getattr(context, kind).arrays().items():
                _fill(own, f"{kind}.{name}", arrays)
        _fill(context.counters, "counters", arrays)
        return context

    def copy(self) -> SourceContext:
        """An independent context that remembers the same."""
        return SourceContext.restore(self.snapshot())


def _fill(own: NDArray[np.generic], name: str, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    came = arrays.get(name)
    if came is None or came.shape != own.shape or came.dtype != own.dtype:
        found = "nothing" if came is None else f"{came.dtype} {came.shape}"
        raise ColumnError(name, found, f"{own.dtype} {own.shape}")
    own[...] = came
