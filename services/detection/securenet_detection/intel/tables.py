"""Compiled lookups over columns of indicators: hash tables of addresses and texts, and ranges of networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securenet_detection.intel import build_kernels, search_kernels
from securenet_detection.intel.columns import Columns
from securenet_detection.intel.indicators import IndicatorKind

Int32 = NDArray[np.int32]
UInt64 = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Distinct texts one after another.

    Attributes:
        blob: uint8, UTF-8.
        ends: int64 (n,), where each ends.
    """

    blob: NDArray[np.uint8]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, values: Sequence[str]) -> Texts:
        """The texts of a dictionary."""
        joined = "".join(values)
        if joined.isascii():
            lengths = np.fromiter(map(len, values), np.int64, len(values))
            return cls(np.frombuffer(bytearray(joined, "ascii"), np.uint8), np.cumsum(lengths))
        encoded = [value.encode("utf-8", "replace") for value in values]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return cls(np.frombuffer(bytearray(b"".join(encoded)), np.uint8), np.cumsum(lengths))


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Where the entries of some columns stand; an entry that is its value's first is the value's node.

    Attributes:
        columns: the indicators.
        feeds: uint16 (n,), position of each entry's feed.
        confidence, since, until: as in the columns, grown by duplicates.
        following: int32 (n,), next entry of the same value, −1 for none.
        above: int32 (n,), by node, node of the nearest network or domain around it, −1 for none.
        duplicate: boolean (n,), entries that their feed has already.
        address_slots, text_slots: uint64, the hash tables.
        address_sieve, text_sieve: uint64, bits of the hashes that are there.
        range_high, range_low, owners: ranges of networks, by first address, and the node of each.
        blocks: int64, where the ranges of each block of IPv4 begin.
        seed: of the hashes.
    """

    columns: Columns
    feeds: NDArray[np.uint16]
    confidence: NDArray[np.uint8]
    since: NDArray[np.uint32]
    until: NDArray[np.uint32]
    following: Int32
    above: Int32
    duplicate: NDArray[np.bool_]
    address_slots: UInt64
    text_slots: UInt64
    address_sieve: UInt64
    text_sieve: UInt64
    range_high: UInt64
    range_low: UInt64
    owners: Int32
    blocks: NDArray[np.int64]
    seed: np.uint64

    @classmethod
    def build(cls, columns: Columns, feeds: NDArray[np.uint16], seed: int) -> Tables:
        """Tables over columns in which the entries of a feed stand together."""
        size = len(columns)
        is_address = columns.kind <= IndicatorKind.NETWORK
        addresses = int(is_address.sum())
        address_slots, text_slots = _slots(addresses), _slots(size - addresses)
        address_sieve, text_sieve = _sieve(addresses), _sieve(size - addresses)
        confidence, since, until = columns.confidence.copy(), columns.since.copy(), columns.until.copy()
        following = np.full(size, -1, np.int32)
        above = np.full(size, -1, np.int32)
        duplicate = np.zeros(size, np.bool_)
        key = np.uint64(seed)
        build_kernels.build(
            columns.kind, columns.prefix, columns.flags, confidence, feeds, columns.high, columns.low, columns.text,
            columns.text_end, since, until, key, address_slots, text_slots, address_sieve, text_sieve,
            following, duplicate,
        )  # fmt: skip
        range_high, range_low, owners = _ranges(columns, address_slots, above)
        tables = cls(
            columns, feeds, confidence, since, until, following, above, duplicate, address_slots, text_slots,
            address_sieve, text_sieve, range_high, range_low, owners, _blocks(range_high, range_low), key,
        )  # fmt: skip
        tables._nest()
        return tables

    def _nest(self) -> None:
        """Fills `above` of single addresses and of domains; networks have theirs."""
        columns = self.columns
        if len(self.owners):
            rows = np.flatnonzero(columns.kind == IndicatorKind.ADDRESS)
            words = np.stack([columns.high[rows], columns.low[rows]], axis=1)
            found = np.empty(len(rows), np.int32)
            # Without the single addresses, what is found is the network around each.
            search_kernels.find_addresses(
                words, np.zeros(1, np.uint64), np.zeros(2,
                np.uint64), columns.high, columns.low, columns.prefix, self.range_high,
                self.range_low, self.owners, self.blocks, self.seed, found,
            )  # fmt: skip
            self.above[rows] = found
        if (columns.kind == IndicatorKind.DOMAIN).any():
            found, _ = self.find_texts(
                Texts(columns.text, columns.text_end.astype(np.int64)),
                IndicatorKind.DOMAIN,
                suffixes=True,
                parents=True,
            )
            domains = columns.kind == IndicatorKind.DOMAIN
            self.above[domains] = found[domains]

    def __len__(self) -> int:
        return len(self.feeds)

    @property
    def nbytes(self) -> int:
        """Memory of the tables and their columns."""
        arrays = (
            self.feeds, self.confidence, self.since, self.until, self.following, self.above, self.duplicate,
            self.address_slots, self.text_slots, self.address_sieve, self.text_sieve,
            self.range_high, self.range_low, self.owners, self.blocks,
        )  # fmt: skip
        return self.columns.nbytes + sum(array.nbytes for array in arrays)

    def holds(self, kind: IndicatorKind) -> bool:
        """Whether any entry is of this kind."""
        return bool((self.columns.kind == kind).any())

    def find_addresses(self, words: UInt64) -> Int32:
        """Node of each address, uint64 (n, 2), or of the narrowest network that holds it; −1 for none."""
        out = np.empty(len(words), np.int32)
        search_kernels.find_addresses(
            words, self.address_sieve, self.address_slots,
            self.columns.high, self.columns.low, self.columns.prefix, self.range_high,
            self.range_low, self.owners, self.blocks, self.seed, out,
        )  # fmt: skip
        return out

    def find_texts(
        self, texts: Texts, kind: IndicatorKind, *, suffixes: bool = False, host: bool = False, parents: bool = False
    ) -> tuple[Int32, NDArray[np.uint8]]:
        """Node of each text, −1 for none, and whether it is the text itself and not a domain above it.

        Args:
            texts: any case.
            kind: of the indicators.
            suffixes: domains above a name count.
            host: a port may stand at the end.
            parents: only domains above count.
        """
        out = np.empty(len(texts.ends), np.int32)
        whole = np.zeros(len(texts.ends), np.uint8)
        search_kernels.find_texts(
            texts.blob, texts.ends, int(kind), suffixes,
            host, parents, self.text_sieve, self.text_slots, self.columns.kind,
            self.columns.text, self.columns.text_end, self.seed, out, whole,
        )  # fmt: skip
        return out, whole

    def find_urls(
        self, hosts: Texts, targets: Texts, host_codes: NDArray[np.int64], target_codes: NDArray[np.int64]
    ) -> Int32:
        """Node of each URL made of a host and a request target, by their codes; −1 for none."""
        out = np.empty(len(host_codes), np.int32)
        search_kernels.find_urls(
            hosts.blob, hosts.ends, targets.blob, targets.ends, host_codes, target_codes, int(IndicatorKind.URL),
            self.text_slots, self.columns.kind, self.columns.text, self.columns.text_end, self.seed, out,
        )  # fmt: skip
        return out

    def chain(self, node: int) -> list[int]:
        """Every entry of a node's value."""
        found = []
        while node >= 0:
            found.append(node)
            node = int(self.following[node])
        return found


def words_of(addresses: NDArray[np.uint8]) -> UInt64:
    """uint64 (n, 2): halves of addresses that came as uint8 (n, 16) in network order."""
    return np.ascontiguousarray(addresses).view(">u8").astype(np.uint64)


def _slots(entries: int) -> UInt64:
    return np.zeros(1 << max(2 * entries - 1, 1).bit_length(), np.uint64)


def _sieve(entries: int) -> UInt64:
    # Sixteen bits an entry leave one value in sixteen that is not there to be looked up in vain.
    return np.zeros(1 << min(max(entries // 4, 1).bit_length(), 18), np.uint64)


def _ranges(columns: Columns, slots: UInt64, above: Int32) -> tuple[UInt64, UInt64, Int32]:
    used = slots[slots != 0]
    nodes = ((used & np.uint64(0xFFFFFFFF)) - np.uint64(1)).astype(np.int64)
    nodes = nodes[columns.kind[nodes] == IndicatorKind.NETWORK]
    order = nodes[np.lexsort((columns.prefix[nodes], columns.low[nodes], columns.high[nodes]))]
    most = 2 * len(order) + 1
    high, low, owners = np.empty(most, np.uint64), np.empty(most, np.uint64), np.empty(most, np.int32)
    count = build_kernels.flatten(order, columns.high, columns.low, columns.prefix, above, high, low, owners)
    return high[:count].copy(), low[:count].copy(), owners[:count].copy()


def _blocks(high: UInt64, low: UInt64) -> NDArray[np.int64]:
    """Where to look for the last range at or before an IPv4 address, by its first 16 bits: one before, so that the
    range that holds the beginning of a block is among them."""
    first = np.searchsorted(high, np.uint64(0))
    last = np.searchsorted(high, np.uint64(0), side="right")
    starts = (np.uint64(0xFFFF) << np.uint64(32)) | (
        np.arange(search_kernels.BLOCKS + 1, dtype=np.uint64) << np.uint64(16)
    )
    found = first + np.searchsorted(low[first:last], starts)
    return found.astype(np.int64)
