"""Which format a file has, from what is in it. Names and endings are never believed."""

from __future__ import annotations

import csv
import json
import re
import socket
from collections.abc import Iterable, Sequence
from typing import Final

from securenet_flows.batch import CONN_STATES
from securenet_flows.exceptions import UnreadableFileError
from securenet_flows.readers.interface import Detected, Format
from securenet_flows.readers.sources import HEAD_BYTES, Source
from securenet_flows.readers.texts import decode_text, show
from securenet_flows.readers.zeek_logs import DEFAULT_CONN_FIELDS, FLOW_KINDS, kind_of
from securenet_flows.readers.zeek_tsv import parse_header

_BOM: Final = b"\xef\xbb\xbf"
_PCAP: Final = (
    b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a",
)  # fmt: skip
_NFDUMP: Final = (b"\x0c\xa5\x01\x00", b"\x0c\xa5\x02\x00")
_OTHER_MAGIC: Final = (
    (b"PK\x03\x04", "a zip archive"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"PAR1", "a Parquet file"),
    (b"\x7fELF", "a program"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3\x00", "a SQLite database"),
)
_JSON_RECORDS_SEEN: Final = 20
_FIELDS_SHOWN: Final = 5

#: The number of columns of UNSW-NB15's raw files, which have no header, and of KDD's files with and without difficulty.
_UNSW_WIDTH: Final = 49
_KDD_WIDTHS: Final = (41, 42, 43)
_KDD_FLAGS: Final = {"SF", "S0", "S1", "S2", "S3", "REJ", "RSTO", "RSTR", "RSTOS0", "RSTOSO", "SH", "OTH"}

_NO_ENDS: Final = "has neither addresses nor times, so its records cannot be told apart by host or put in order"


def detect(source: Source) -> Detected:
    """Detects the format of a source by its first bytes, decompressed.

    Raises:
        UnreadableFileError: it cannot be opened, or its compression is damaged from the start.
    """
    head = source.head()
    if not head and source.raw_head():
        head = b"" if source.is_stream else next(source.pieces(), b"")[:HEAD_BYTES]
        if not head and source.is_stream:
            raise UnreadableFileError(source.path, "the compressed stream is damaged")
    return detect_format(head)


def detect_format(head: bytes) -> Detected:
    """Detects a format from content.

    Args:
        head: the first bytes after decompression, some ten lines of text or more (64 KiB do).

    Returns:
        The format; or none with the reason, for example ``not a flow log: Zeek x509``.
    """
    whole = len(head) < HEAD_BYTES
    if not head.strip():
        return Detected(None, reason="empty; expected flow records", sound=True)
    return _by_magic(head) or _by_lines(head, whole=whole)


def _by_magic(head: bytes) -> Detected | None:
    if head[:4] in _PCAP:
        return Detected(Format.PCAP)
    if head[:4] in _NFDUMP:
        return _refused("nfdump's binary form; export it with `nfdump -r FILE -o csv`")
    for magic, what in _OTHER_MAGIC:
        if head.startswith(magic):
            return _refused(f"{what}; expected a flow log or a packet capture")
    return None


def _by_lines(head: bytes, *, whole: bool) -> Detected:
    head = head.removeprefix(_BOM)
    lines = [line.rstrip(b"\r") for line in head.split(b"\n")]
    if len(lines) > 1 and not whole:
        lines.pop()
    first = next((line for line in lines if line.strip()), b"")
    if b"#" in head and (detected := _zeek_header(head)):
        return detected
    if first.lstrip()[:1] == b"{" and (detected := _json_lines(lines)):
        return detected
    if first.lstrip()[:1] == b"[":
        return _refused("a JSON array; expected one JSON object a line")
    if b"\0" in first:
        return _refused("binary data in no known form; expected a flow log or a packet capture")
    return _table(first) or _not_flows(f"text in no known form, beginning {show(first)}")


def _refused(reason: str) -> Detected:
    return Detected(None, reason=reason)


def _not_flows(what: str) -> Detected:
    return Detected(None, reason=f"not a flow log: {what}", sound=True)


def _zeek_header(head: bytes) -> Detected | None:
    header = parse_header(head)
    if not header.fields:
        return _refused(f"a header of Zeek's {header.path} without #fields") if header.path else None
    kind = _kind(header.path, _spread(header.fields))
    if kind is not None:
        return Detected(Format.ZEEK_TSV, kind=kind)
    return _not_flows(f"Zeek {header.path}" if header.path else f"fields {_shown(header.fields)}")


def _kind(path: str, fields: Iterable[str]) -> str | None:
    """A log says by its path what it is. A conn log under a name of its owner's (`conn_dmz`) is known by its fields."""
    if path in FLOW_KINDS:
        return path
    kind = kind_of(fields)
    return kind if not path or kind == "conn" else None


def _spread(fields: Sequence[str]) -> list[str]:
    return [part for field in fields for part in field.split()]


def _shown(names: Sequence[str]) -> str:
    return ", ".join(show(name) for name in names[:_FIELDS_SHOWN]) + (", …" if len(names) > _FIELDS_SHOWN else "")


def _json_lines(lines: Sequence[bytes]) -> Detected | None:
    keys: dict[str, None] = {}
    path = ""
    seen = 0
    for line in lines:
        if seen == _JSON_RECORDS_SEEN or not line.strip():
            continue
        try:
            record = json.loads(decode_text(line))
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict):
            continue
        seen += 1
        if isinstance(record.get("event_type"), str) and "timestamp" in record:
            return Detected(Format.SURICATA_EVE)
        if not path and isinstance(record.get("_path"), str):
            path = record["_path"]
        keys.update(dict.fromkeys(record))
    if not seen:
        return _refused("no line is a whole JSON object")
    kind = _kind(path, keys)
    if kind is not None:
        return Detected(Format.ZEEK_JSON, kind=kind)
    return _not_flows(f"Zeek {path}" if path else f"JSON with keys {_shown(list(keys))}")


def _table(first: bytes) -> Detected | None:
    """Formats of separated fields, with or without a header."""
    line = decode_text(first)
    separator = max(",\t;|", key=line.count)
    if separator not in line:
        return None
    try:
        fields = [field.strip() for field in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return None
    return _by_header(fields) or _without_header(fields, separator)


def _by_header(fields: Sequence[str]) -> Detected | None:
    names = {re.sub(r"[ _]+", " ", field.lower()) for field in fields}
    tests: tuple[tuple[set[str], Format], ...] = (
        ({"starttime", "srcaddr", "dstaddr"}, Format.ARGUS),
        ({"ts", "sa", "da"}, Format.NFDUMP_CSV),
        ({"firstseen", "srcaddr", "dstaddr"}, Format.NFDUMP_CSV),
        ({"src ip", "dst ip", "timestamp", "flow duration"}, Format.CICFLOWMETER),
        ({"source ip", "destination ip", "timestamp", "flow duration"}, Format.CICFLOWMETER),
        ({"srcip", "dstip", "stime"}, Format.UNSW_NB15),
    )
    for wanted, format_ in tests:
        if wanted <= names:
            return Detected(format_)
    if "ts" in names and ({"id.orig h", "id.resp h"} <= names or {"id orig h", "id resp h"} <= names):
        kind = kind_of(fields)
        return Detected(Format.ZEEK_CSV, kind=kind) if kind else _not_flows(f"a Zeek log in CSV with {_shown(fields)}")
    if {"protocol type", "flag", "src bytes", "dst bytes"} <= names:
        return Detected(Format.NSL_KDD)
    if {"flow duration", "destination port"} <= names or {"flow duration", "dst port"} <= names:
        return _refused(f"CICFlowMeter output without address columns: {_NO_ENDS}")
    if {"sbytes", "dbytes", "attack cat"} <= names:
        return _refused(f"UNSW-NB15's training or testing set {_NO_ENDS}; its raw files have them")
    return None


def _without_header(fields: Sequence[str], separator: str) -> Detected | None:
    if separator == "\t" and len(fields) == len(DEFAULT_CONN_FIELDS) and _is_conn(fields):
        return Detected(Format.ZEEK_TSV, kind="conn")
    if separator != ",":
        return None
    if len(fields) == _UNSW_WIDTH and _is_address(fields[0]) and _is_address(fields[2]) and fields[28].isdigit():
        return Detected(Format.UNSW_NB15, kind="headless")
    if len(fields) in _KDD_WIDTHS and fields[1] in {"tcp", "udp", "icmp"} and fields[3] in _KDD_FLAGS:
        return Detected(Format.NSL_KDD, kind=str(len(fields)))
    return None


def _is_conn(fields: Sequence[str]) -> bool:
    return _is_address(fields[2]) and _is_address(fields[4]) and fields[11] in {*CONN_STATES[1:], "-"}


def _is_address(text: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False
