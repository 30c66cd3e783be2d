"""Which flows of a batch meet an indicator, and how grave each meeting is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours.observation import Observation
from securenet_detection.fusion import WEIGHTS
from securenet_detection.intel import judge_kernels
from securenet_detection.intel.index import IntelIndex
from securenet_detection.intel.indicators import IndicatorKind
from securenet_detection.intel.tables import Texts, words_of
from securenet_flows.batch import Dictionary

_ADDRESSES: Final = frozenset({IndicatorKind.ADDRESS, IndicatorKind.NETWORK})


class _Column(NamedTuple):
    number: int
    name: str
    kind: IndicatorKind
    host: bool = False


_COLUMNS: Final = (
    _Column(judge_kernels.DNS, "dns_query", IndicatorKind.DOMAIN),
    _Column(judge_kernels.SERVER_NAME, "tls_server_name", IndicatorKind.DOMAIN),
    _Column(judge_kernels.HOST, "http_host", IndicatorKind.DOMAIN, host=True),
    _Column(judge_kernels.CERTIFICATE, "tls_certificate_sha256", IndicatorKind.CERTIFICATE_SHA256),
    _Column(judge_kernels.JA3, "tls_ja3", IndicatorKind.JA3),
    _Column(judge_kernels.JA4, "tls_ja4", IndicatorKind.JA4),
)


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Rows that meet an indicator.

    Attributes:
        rows: int64 (m,), ascending.
        entries: int32 (m,), the gravest entry of each.
        columns: uint8 (m,), where it was met: :data:`.judge_kernels.SOURCE` and so on.
        levels: uint8 (m,), ThreatLevel.
    """

    rows: NDArray[np.int64]
    entries: NDArray[np.int32]
    columns: NDArray[np.uint8]
    levels: NDArray[np.uint8]


def match(index: IntelIndex, seen: Observation, *, least: int, lookback: int) -> Matches | None:
    """The rows that meet an indicator, None where there are none.

    Args:
        index: what is listed.
        seen: the rows.
        least: confidence, in percent, that an entry must have.
        lookback: seconds before its validity that an indicator speaks of as well.
    """
    found = [*_addresses(index, seen), *_texts(index, seen), *_urls(index, seen)]
    if not found:
        return None
    hit = np.zeros(len(seen), np.bool_)
    for _, nodes, _ in found:
        hit |= nodes >= 0
    rows = np.flatnonzero(hit)
    if not len(rows):
        return None
    nodes_by_row = np.full((len(rows), judge_kernels.COLUMNS), -1, np.int32)
    whole_by_row = np.ones((len(rows), judge_kernels.COLUMNS), np.uint8)
    for column, nodes, whole in found:
        nodes_by_row[:, column] = nodes[rows]
        if whole is not None:
            whole_by_row[:, column] = whole[rows]
    entries = np.empty(len(rows), np.int32)
    columns = np.zeros(len(rows), np.uint8)
    levels = np.zeros(len(rows), np.uint8)
    tables = index.entries
    unknown_name = seen.batch.texts("dns_response_code").matches(("NXDOMAIN",))
    matched = judge_kernels.judge(
        nodes_by_row, whole_by_row, rows, seen.start_time_ns, seen.src_local, seen.dst_local, seen.failed, unknown_name,
        tables.following, tables.above, index.confidence, tables.columns.flags, tables.since, tables.until, lookback,
        max(least, 1), WEIGHTS, entries, columns, levels,
    )  # fmt: skip
    if not matched:
        return None
    kept = entries >= 0
    return Matches(rows[kept], entries[kept], columns[kept], levels[kept])


_Found = tuple[int, NDArray[np.int32], NDArray[np.uint8] | None]


def _addresses(index: IntelIndex, seen: Observation) -> list[_Found]:
    if not index.kinds & _ADDRESSES:
        return []
    found: list[_Found] = []
    for column, addresses in (
        (judge_kernels.SOURCE, seen.batch.src_addr),
        (judge_kernels.DESTINATION, seen.batch.dst_addr),
    ):
        words = words_of(addresses)
        nodes = index.entries.find_addresses(words)
        rows = np.flatnonzero(nodes >= 0)
        if not len(rows):
            continue
        if len(index.warnings):
            warned = index.warnings.find_addresses(words[rows]) >= 0
            nodes[rows[warned]] = -1
        found.append((column, nodes, None))
    return found


def _texts(index: IntelIndex, seen: Observation) -> list[_Found]:
    found: list[_Found] = []
    for column in _COLUMNS:
        if column.kind not in index.kinds or column.name not in seen.batch.text:
            continue
        codes, texts, values = _used(seen.batch.text[column.name])
        if not values:
            continue
        suffixes = column.kind is IndicatorKind.DOMAIN
        nodes, whole = index.entries.find_texts(texts, column.kind, suffixes=suffixes, host=column.host)
        hits = np.flatnonzero(nodes >= 0)
        if not len(hits):
            continue
        if len(index.warnings):
            some = Texts.of([values[hit] for hit in hits.tolist()])
            nodes[hits[index.warned_texts(some, column.kind, suffixes=suffixes, host=column.host)]] = -1
        found.append((column.number, np.append(nodes, np.int32(-1))[codes], np.append(whole, np.uint8(0))[codes]))
    return found


def _urls(index: IntelIndex, seen: Observation) -> list[_Found]:
    if IndicatorKind.URL not in index.kinds or "http_uri" not in seen.batch.text:
        return []
    host_codes, hosts, _ = _used(seen.batch.texts("http_host"))
    target_codes, targets, _ = _used(seen.batch.texts("http_uri"))
    nodes = index.entries.find_urls(hosts, targets, host_codes, target_codes)
    hits = np.flatnonzero(nodes >= 0)
    if not len(hits):
        return []
    if len(index.warnings):
        nodes[hits[index.warnings.find_urls(hosts, targets, host_codes[hits], target_codes[hits]) >= 0]] = -1
    return [(judge_kernels.URL, nodes, None)]


def _used(column: Dictionary) -> tuple[NDArray[np.int64], Texts, tuple[str, ...]]:
    """Codes, −1 for none, into texts of no more values than the batch has rows: a piece of a large batch has the
    values of all of it."""
    codes = column.codes.astype(np.int64)
    values = column.values
    if len(values) > len(codes):
        used = np.unique(codes[codes >= 0])
        table = np.full(len(values) + 1, -1, np.int64)
        table[used] = np.arange(len(used))
        codes = table[codes]
        values = tuple(values[code] for code in used.tolist())
    return codes, Texts.of(values), values
