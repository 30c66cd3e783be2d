"""Feeds: what is said of one when it is imported, what is known of it after, and how its bytes are read.

The format follows from the content: JSON is a STIX 2.1 bundle, MISP events or a MISP warning list by its keys; a text
whose header names known columns is CSV; anything else is a list with an indicator a line.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from securenet_detection.intel import csv_table, misp_events, plain_list, stix_bundle
from securenet_detection.intel.columns import Columns, FeedBuilder, FeedTooLargeError, Rejection
from securenet_detection.intel.indicators import IndicatorKind, Reading
from securenet_detection.threats import Technique

#: Confidence, in percent, of entries that neither feed nor caller speaks of: somebody chose to import the list.
DEFAULT_CONFIDENCE: Final = 80

_GZIP: Final = b"\x1f\x8b"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class FeedHeader:
    """What the caller says of a feed.

    Attributes:
        name: lower case, unique in the tenant.
        kind: what its entries are, where their text alone does not say.
        warning_list: its entries are benign, and are taken away from what other feeds list.
        replace: a feed of that name gives way.
        confidence: percent, over what entries do not say themselves; None for the default.
        licence, source: for the record.
        data_time: seconds since the epoch; 0 where only the content says.
    """

    name: str
    kind: IndicatorKind | None = None
    warning_list: bool = False
    replace: bool = False
    confidence: int | None = None
    licence: str = ""
    source: str = ""
    data_time: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one feed: bytes (also when unpacked), bytes of JSON, which takes many times as much when read, and
    indicators."""

    max_bytes: int
    max_json_bytes: int
    max_indicators: int


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed that was imported. Times are seconds since the epoch, 0 where unknown.

    Attributes:
        digest: SHA-256 of the bytes that came, in hexadecimal.
        first, count: its rows among those of the set.
        duplicates: entries that the feed has more than once, counted once.
        subtracted: entries that warning lists take away now.
        ignored: sound entries that are not meant for this use, by reason.
    """

    name: str
    format: str
    digest: str
    warning_list: bool
    confidence: int
    licence: str
    source: str
    data_time: int
    import_time: int
    count: int
    duplicates: int
    rejected: int
    ignored: dict[str, int]
    kinds: dict[int, int]
    techniques: tuple[Technique, ...] = ()
    labels: tuple[str, ...] = ()
    first: int = 0
    subtracted: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A feed as it was read."""

    format: str
    columns: Columns
    rejected: int
    rejections: tuple[Rejection, ...]
    ignored: dict[str, int] = field(default_factory=dict)
    techniques: tuple[Technique, ...] = ()
    labels: tuple[str, ...] = ()
    licence: str = ""
    data_time: int = 0


def read_feed(content: bytes, header: FeedHeader, limits: Limits) -> Document:
    """Reads a feed; entries that cannot be used are counted and located, and the rest goes on.

    Raises:
        FeedTooLargeError: it passes a bound.
    """
    confidence = DEFAULT_CONFIDENCE if header.confidence is None else header.confidence
    reading = Reading(header.kind, assume_fingerprints=header.warning_list)
    builder = FeedBuilder(limit=limits.max_indicators, confidence=confidence, reading=reading)
    content = _unpacked(content, limits.max_bytes, builder)
    start = content[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] in (b"{", b"["):
        if len(content) > limits.max_json_bytes:
            raise FeedTooLargeError(f"{len(content):,} bytes of JSON; at most {limits.max_json_bytes:,} are read")
        form = _read_json(content, builder, exact=header.warning_list)
    elif start[:1] == b"<":
        form = "markup"
        builder.reject("line 1", "XML and HTML are not read; expected a list, CSV, STIX 2.1 or MISP")
    else:
        form = _read_text(_text(content), builder, counts=header.confidence is None)
    return Document(
        form, builder.columns(), builder.rejected, tuple(builder.rejections), dict(builder.ignored),
        builder.techniques, builder.labels, header.licence or builder.licence, header.data_time or builder.data_time,
    )  # fmt: skip


def _unpacked(content: bytes, limit: int, builder: FeedBuilder) -> bytes:
    if len(content) > limit:
        raise FeedTooLargeError(f"{len(content):,} bytes; at most {limit:,} are read")
    if not content.startswith(_GZIP):
        return content
    unpacked = bytearray()
    rest = content
    try:
        while rest.startswith(_GZIP):
            member = zlib.decompressobj(wbits=31)
            unpacked += member.decompress(rest, limit + 1 - len(unpacked))
            if len(unpacked) > limit:
                raise FeedTooLargeError(f"more than {limit:,} bytes when unpacked, which is all that is read")
            if not member.eof:
                builder.reject("end of the file", "the gzip stream breaks off")
                break
            rest = member.unused_data
    except zlib.error as error:
        builder.reject(f"byte {len(unpacked)} of what was packed", f"not gzip any more: {error}")
    return bytes(unpacked)


def _text(content: bytes) -> str:
    if content[:2] in _UTF16:
        return content.decode("utf-16", "replace")
    return content.decode("utf-8-sig", "replace")


def _read_text(text: str, builder: FeedBuilder, *, counts: bool) -> str:
    table = csv_table.detect(text)
    if table is not None:
        csv_table.read(text, table, builder)
        return "csv"
    plain_list.read(text, builder, counts=counts)
    return "list"


def _read_json(content: bytes, builder: FeedBuilder, *, exact: bool) -> str:
    try:
        document = json.loads(_text(content))
    except RecursionError:
        builder.reject("document", "nested too deeply")
        return "json"
    except ValueError as error:
        where = f"line {error.lineno} column {error.colno}" if isinstance(error, json.JSONDecodeError) else "document"
        builder.reject(where, f"not JSON: {str(error)[:200]}")
        return "json"
    for form, recognises, read in _READERS:
        if recognises(document):
            read(document, builder)
            return form
    if isinstance(document, list) and all(isinstance(item, str) for item in document[:100]):
        plain_list.read_items(document, builder, exact=exact)
        return "json-list"
    builder.reject(
        "document", "neither a STIX 2.1 bundle, nor MISP events, nor a MISP warning list, nor a list of texts"
    )
    return "json"


_READERS: Final[tuple[tuple[str, Callable[[Any], bool], Callable[[Any, FeedBuilder], None]], ...]] = (
    ("stix", stix_bundle.recognises, stix_bundle.read),
    ("misp-warninglist", misp_events.recognises_warning_list, misp_events.read_warning_list),
    ("misp", misp_events.recognises, misp_events.read),
)
