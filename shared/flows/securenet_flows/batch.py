"""The one in-memory form of flow data: columns of equal length.

Readers make a :class:`FlowBatch`, the wire carries it, features and detectors read it. Nothing here holds one Python
object a flow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_flows.exceptions import ColumnError

Int8 = NDArray[np.uint8]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

#: Columns that every batch has in full, with their dtypes; addresses are (n, 16), IPv4 as ::ffff:a.b.c.d.
REQUIRED: Final[Mapping[str, np.dtype[np.generic]]] = {
    "start_time_ns": np.dtype(np.int64),
    "src_addr": np.dtype(np.uint8),
    "dst_addr": np.dtype(np.uint8),
    "protocol": np.dtype(np.uint8),
}

#: Columns that may lack values, with their dtypes. Units: nanoseconds, bytes, packets, counts.
NUMERIC: Final[Mapping[str, np.dtype[np.generic]]] = {
    "duration_ns": np.dtype(np.int64),
    "src_port": np.dtype(np.uint16),
    "dst_port": np.dtype(np.uint16),
    "orig_bytes": np.dtype(np.int64),
    "resp_bytes": np.dtype(np.int64),
    "orig_ip_bytes": np.dtype(np.int64),
    "resp_ip_bytes": np.dtype(np.int64),
    "orig_pkts": np.dtype(np.int64),
    "resp_pkts": np.dtype(np.int64),
    "missed_bytes": np.dtype(np.int64),
    "conn_state": np.dtype(np.uint8),
    "local_orig": np.dtype(np.bool_),
    "local_resp": np.dtype(np.bool_),
    "dns_answer_count": np.dtype(np.int32),
    "tls_established": np.dtype(np.bool_),
    "http_status_code": np.dtype(np.uint16),
    "ssh_auth_success": np.dtype(np.bool_),
    "ssh_auth_attempts": np.dtype(np.int32),
}

#: Text columns, each a :class:`Dictionary`.
TEXT: Final[tuple[str, ...]] = (
    "flow_id",
    "service",
    "history",
    "sensor_id",
    "community_id",
    "dns_query",
    "dns_query_type",
    "dns_response_code",
    "tls_server_name",
    "tls_version",
    "tls_ja3",
    "tls_ja4",
    "tls_certificate_sha256",
    "http_method",
    "http_host",
    "http_uri",
    "http_user_agent",
    "ssh_client",
    "ssh_server",
    "label",
    "detailed_label",
)

#: Names of conn_state by number; 0 is absent. The numbers are those of the contract's ConnState.
CONN_STATES: Final[tuple[str, ...]] = (
    "", "S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH",
)  # fmt: skip

#: What the `label` column may hold. Readers translate the source's own words; `unknown` is for Background and the like.
LABELS: Final[tuple[str, ...]] = ("benign", "malicious", "unknown")


@dataclass(frozen=True, slots=True, eq=False)
class Dictionary:
    """A dictionary-encoded text column.

    Attributes:
        codes: int32 (n,), an index into `values`, −1 where the row has no value.
        values: the distinct values.
    """

    codes: Int32
    values: tuple[str, ...]

    @classmethod
    def encode(cls, texts: Iterable[str | None]) -> Dictionary:
        """Encodes one text a row; None is absent. Values keep the order of first appearance."""
        index: dict[str, int] = {}
        codes = [-1 if text is None else index.setdefault(text, len(index)) for text in texts]
        return cls(np.asarray(codes, dtype=np.int32), tuple(index))

    @classmethod
    def absent(cls, rows: int) -> Dictionary:
        """A column of `rows` rows without any value."""
        return cls(np.full(rows, -1, dtype=np.int32), ())

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: int) -> str | None:
        code = int(self.codes[row])
        return None if code < 0 else self.values[code]

    @property
    def in_order(self) -> bool:
        """Whether row i holds value i, as where sensors send a text a row."""
        codes = self.codes
        if not len(self.values) == len(codes) > 0 or codes[0] != 0:
            return False
        return len(codes) == 1 or bool((codes[1:] > codes[:-1]).all())

    def decode(self) -> list[str | None]:
        """One text or None a row."""
        lookup: tuple[str | None, ...] = (*self.values, None)
        return [lookup[code] for code in self.codes.tolist()]

    def take(self, rows: Int64 | slice) -> Dictionary:
        """The given rows, over the same values."""
        return Dictionary(self.codes[rows], self.values)

    def matches(self, values: Iterable[str]) -> Bool:
        """Boolean (n,): which rows hold one of the given values. Absent rows do not."""
        wanted = set(values)
        table = np.fromiter((value in wanted for value in self.values), dtype=np.bool_, count=len(self.values))
        return np.append(table, False)[self.codes]

    def lists(self, values: Iterable[str]) -> Bool:
        """Boolean (n,): which rows hold a list, parted by commas as Zeek's sets are, with one of the given values."""
        wanted = set(values)
        found = (not wanted.isdisjoint(value.split(",")) for value in self.values)
        return np.append(np.fromiter(found, dtype=np.bool_, count=len(self.values)), False)[self.codes]


@dataclass(frozen=True, slots=True, eq=False)
class FlowBatch:
    """Flows as columns, all of one length, in the order of their source.

    Attributes:
        start_time_ns: int64 (n,), nanoseconds since the Unix epoch.
        src_addr: uint8 (n, 16), originator in network order, IPv4 mapped into IPv6.
        dst_addr: uint8 (n, 16), responder.
        protocol: uint8 (n,), IANA protocol numbers.
        numeric: the columns of :data:`NUMERIC` that the source has; a name that is missing is absent in every row.
        text: the columns of :data:`TEXT` that the source has.
        present: boolean (n,) by name, for numeric columns that lack some rows; values there are 0 and mean nothing.

    Raises:
        ColumnError: a column is unknown, has another length than the batch, or another dtype than its definition.
    """

    start_time_ns: Int64
    src_addr: Int8
    dst_addr: Int8
    protocol: Int8
    numeric: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    text: Mapping[str, Dictionary] = field(default_factory=dict)
    present: Mapping[str, Bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = len(self.start_time_ns)
        line, table = (rows,), (rows, 16)
        for name, dtype in REQUIRED.items():
            column = getattr(self, name)
            shape: tuple[int, ...] = table if name.endswith("_addr") else line
            if column.shape != shape or column.dtype != dtype:
                raise ColumnError(name, f"{column.dtype} {column.shape}", f"{dtype} {shape}")
        for name, values in self.numeric.items():
            wanted = NUMERIC.get(name)
            if wanted is None:
                raise ColumnError(name, "an unknown numeric column", f"one of {', '.join(NUMERIC)}")
            if values.shape != line or values.dtype != wanted:
                raise ColumnError(name, f"{values.dtype} {values.shape}", f"{wanted} ({rows},)")
        for name, texts in self.text.items():
            if name not in TEXT:
                raise ColumnError(name, "an unknown text column", f"one of {', '.join(TEXT)}")
            if len(texts) != rows:
                raise ColumnError(name, f"{len(texts)} rows", f"{rows} rows")
        for name, mask in self.present.items():
            if name not in self.numeric:
                raise ColumnError(name, "presence of a column that is not there", "a numeric column of this batch")
            if mask.shape != line or mask.dtype != np.bool_:
                raise ColumnError(name, f"presence {mask.dtype} {mask.shape}", f"bool ({rows},)")

    def __len__(self) -> int:
        return len(self.start_time_ns)

    def has(self, name: str) -> Bool:
        """Boolean (n,): which rows hold a value in the named column."""
        if name in self.text:
            return self.text[name].codes >= 0
        if name in REQUIRED:
            return np.ones(len(self), dtype=np.bool_)
        if name not in self.numeric:
            return np.zeros(len(self), dtype=np.bool_)
        return self.present.get(name, np.ones(len(self), dtype=np.bool_))

    def number(self, name: str) -> NDArray[np.generic]:
        """The named numeric column, zeros of its dtype where absent; ask :meth:`has` before trusting a zero."""
        if name in self.numeric:
            return self.numeric[name]
        return np.zeros(len(self), dtype=NUMERIC[name])

    def texts(self, name: str) -> Dictionary:
        """The named text column, absent in every row if the batch lacks it."""
        if name not in TEXT:
            raise ColumnError(name, "an unknown text column", f"one of {', '.join(TEXT)}")
        return self.text.get(name) or Dictionary.absent(len(self))

    def take(self, rows: Int64 | slice) -> FlowBatch:
        """The rows at the given positions (or of the slice), in that order."""
        return FlowBatch(
            start_time_ns=self.start_time_ns[rows],
            src_addr=self.src_addr[rows],
            dst_addr=self.dst_addr[rows],
            protocol=self.protocol[rows],
            numeric={name: values[rows] for name, values in self.numeric.items()},
            text={name: texts.take(rows) for name, texts in self.text.items()},
            present={name: mask[rows] for name, mask in self.present.items()},
        )

    def split(self, rows: int) -> Iterable[FlowBatch]:
        """Consecutive batches of at most `rows` rows."""
        for start in range(0, len(self), rows):
            yield self.take(slice(start, start + rows))

    @classmethod
    def concatenate(cls, batches: Sequence[FlowBatch]) -> FlowBatch:
        """One batch with the rows of all, in order. A column that some batches lack is absent in their rows.

        Raises:
            ColumnError: no batch was given.
        """
        if not batches:
            raise ColumnError("start_time_ns", "no batch", "at least one batch")
        if len(batches) == 1:
            return batches[0]
        numeric_names = [name for name in NUMERIC if any(name in batch.numeric for batch in batches)]
        partial = [name for name in numeric_names if any(name not in b.numeric or name in b.present for b in batches)]
        text_names = [name for name in TEXT if any(name in batch.text for batch in batches)]
        return cls(
            start_time_ns=np.concatenate([batch.start_time_ns for batch in batches]),
            src_addr=np.concatenate([batch.src_addr for batch in batches]),
            dst_addr=np.concatenate([batch.dst_addr for batch in batches]),
            protocol=np.concatenate([batch.protocol for batch in batches]),
            numeric={name: np.concatenate([batch.number(name) for batch in batches]) for name in numeric_names},
            text={name: _concatenate_texts([batch.texts(name) for batch in batches]) for name in text_names},
            present={name: np.concatenate([batch.has(name) for batch in batches]) for name in partial},
        )


def _concatenate_texts(columns: Sequence[Dictionary]) -> Dictionary:
    index: dict[str, int] = {}
    parts: list[Int32] = []
    for column in columns:
        table = np.fromiter((index.setdefault(v, len(index)) for v in column.values), np.int32, len(column.values))
        parts.append(np.append(table, np.int32(-1))[column.codes])
    return Dictionary(np.concatenate(parts), tuple(index))
