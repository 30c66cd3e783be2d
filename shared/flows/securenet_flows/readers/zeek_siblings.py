"""The dns, http, ssl and ssh logs beside a conn.log, kept as columns and joined to its flows by uid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from securenet_flows.batch import NUMERIC, TEXT, Bool, Dictionary, FlowBatch, Int64
from securenet_flows.readers.columns import MADE_UP_ID
from securenet_flows.readers.interface import Detected, Reader
from securenet_flows.readers.registered import reader_of
from securenet_flows.readers.sources import Source
from securenet_flows.report import FileLog

#: Some 250 bytes each.
DEFAULT_SIBLING_RECORDS: Final = 2_000_000
_ROWS: Final = 8192
_PREFIXES: Final = {"dns": "dns_", "http": "http_", "ssl": "tls_", "ssh": "ssh_"}


@dataclass(frozen=True, slots=True)
class _Log:
    """The records of one kind of log, one a uid, sorted by the hash of the uid."""

    hashes: NDArray[np.uint64]
    rows: FlowBatch


class SiblingIndex:
    """Application records by uid.

    Of several records of one uid (requests on one connection) the first counts. At most `capacity` records are held, of
    the logs in the order in which they are added; the log's report says when that cuts.

    A uid is found by a 64-bit hash of it: with 2 million records the chance of one wrong match is about 10⁻⁷.
    """

    def __init__(self, capacity: int = DEFAULT_SIBLING_RECORDS) -> None:
        self._left = capacity
        self._parts: dict[str, list[FlowBatch]] = {}
        self._logs: dict[str, _Log] | None = None

    def add(self, source: Source, detected: Detected, log: FileLog) -> None:
        """Takes the records of a log in.

        Raises:
            UnreadableFileError: it breaks off; what came before is kept.
            RecordError: strict reading met a bad record.
        """
        self._logs = None
        if detected.format is None:
            return
        reader: Reader = reader_of(detected.format)
        parts = self._parts.setdefault(detected.kind, [])
        for batch in reader.read(source, detected, log, _ROWS):
            kept = batch.take(slice(0, self._left))
            if len(kept):
                parts.append(_application_part(kept, _PREFIXES[detected.kind]))
            self._left -= len(kept)
            if len(kept) < len(batch):
                log.note("not joined beyond here: the limit of records held is reached")
                return

    def join(self, batch: FlowBatch) -> FlowBatch:
        """The batch with the application columns of the records that share its uids."""
        if self._logs is None:
            self._logs = {kind: _sorted(parts) for kind, parts in self._parts.items() if parts}
            self._parts = {kind: [log.rows] for kind, log in self._logs.items()}
        numeric = dict(batch.numeric)
        present = dict(batch.present)
        text = dict(batch.text)
        if not self._logs or "flow_id" not in text:
            return batch
        wanted = hash_texts(text["flow_id"])
        for log in self._logs.values():
            found, places = _find(log.hashes, wanted)
            for name, values in log.rows.numeric.items():
                has = found & log.rows.has(name)[places]
                numeric[name] = np.where(has, values[places], np.zeros(1, values.dtype))
                present[name] = has
            for name, texts in log.rows.text.items():
                if name != "flow_id":
                    codes = np.where(found, texts.codes[places], np.int32(-1)).astype(np.int32)
                    text[name] = _compact(codes, texts.values)
        return FlowBatch(batch.start_time_ns, batch.src_addr, batch.dst_addr, batch.protocol, numeric, text, present)


def _application_part(batch: FlowBatch, prefix: str) -> FlowBatch:
    """The uid and the columns of one application, with everything else left away."""
    rows = len(batch)
    numeric = {name: values for name, values in batch.numeric.items() if name in NUMERIC and name.startswith(prefix)}
    text = {name: batch.text[name] for name in TEXT if name in batch.text and name.startswith(prefix)}
    return FlowBatch(
        np.zeros(rows, np.int64),
        np.broadcast_to(np.uint8(0), (rows, 16)),
        np.broadcast_to(np.uint8(0), (rows, 16)),
        np.zeros(rows, np.uint8),
        numeric,
        {"flow_id": batch.texts("flow_id"), **text},
        {name: mask for name, mask in batch.present.items() if name in numeric},
    )


def _sorted(parts: Sequence[FlowBatch]) -> _Log:
    """One record a uid, the first. The uids themselves are not needed any more."""
    whole = FlowBatch.concatenate(parts)
    hashes, first = np.unique(hash_texts(whole.texts("flow_id")), return_index=True)
    rows = whole.take(first.astype(np.int64))
    return _Log(hashes, rows)


def _find(hashes: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> tuple[Bool, Int64]:
    if not len(hashes):
        return np.zeros(len(wanted), np.bool_), np.zeros(len(wanted), np.int64)
    places = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
    return (hashes[places] == wanted) & (wanted != 0), places.astype(np.int64)


def _compact(codes: NDArray[np.int32], values: tuple[str, ...]) -> Dictionary:
    """Only the values that the rows use: a log's dictionary may be millions long."""
    used, again = np.unique(codes, return_inverse=True)
    absent = int(used[0] == -1) if len(used) else 0
    kept = tuple(values[code] for code in used[absent:].tolist())
    return Dictionary((again.reshape(-1) - absent).astype(np.int32), kept)


def hash_texts(texts: Dictionary) -> NDArray[np.uint64]:
    """64-bit hashes (n,) of identifiers by their bytes; 0 where there is none, or one that a reader made up."""
    own = np.fromiter((not value.startswith(MADE_UP_ID) for value in texts.values), np.bool_, len(texts.values))
    table = np.append(_hash_values(texts.values) * own, np.uint64(0))
    hashed: NDArray[Any] = table[texts.codes]
    return hashed


def _hash_values(values: Sequence[str]) -> NDArray[np.uint64]:
    """FNV-like over eight bytes at a time with a final mix (the finaliser of MurmurHash3)."""
    encoded = np.asarray([value.encode("utf-8", "surrogatepass") for value in values], dtype=np.bytes_)
    if not len(encoded):
        return np.zeros(0, np.uint64)
    width = -(-max(encoded.dtype.itemsize, 1) // 8) * 8
    words = encoded.astype(f"S{width}").view(np.uint64).reshape(len(encoded), width // 8)
    hashed = np.full(len(encoded), 0xCBF29CE484222325, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for column in range(words.shape[1]):
            hashed = (hashed ^ words[:, column]) * np.uint64(0x100000001B3)
            hashed ^= hashed >> np.uint64(29)
        hashed = (hashed ^ (hashed >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
        hashed = (hashed ^ (hashed >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
        hashed ^= hashed >> np.uint64(33)
    return np.where(hashed == 0, np.uint64(1), hashed)
