"""CSV with a header: the columns are known by their names, as the feeds in use write them."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from securenet_detection.intel.columns import FeedBuilder
from securenet_detection.intel.indicators import IndicatorKind, Reading
from securenet_detection.intel.times import seconds
from securenet_detection.threats import Technique

#: Names of columns, without case and with every other character as an underscore; by what they hold.
_ROLES: Final = {
    "value": ("indicator", "ioc", "ioc_value", "indicator_value", "value", "observable", "artifact"),
    "address": ("ip", "ip_address", "ipaddress", "dst_ip", "dest_ip", "destination_ip", "src_ip", "source_ip",
                "c2_ip", "ipv4", "ipv6", "address", "cidr", "network", "netblock", "subnet", "ip_range"),
    "domain": ("domain", "domain_name", "hostname", "host", "fqdn"),
    "url": ("url", "uri"),
    "ja3": ("ja3", "ja3_md5", "ja3_hash", "ja3_fingerprint", "ja3_digest"),
    "ja4": ("ja4", "ja4_fingerprint"),
    "certificate": ("certificate_sha256", "cert_sha256", "sha256_certificate", "ssl_sha256", "x509_fingerprint_sha256"),
    "type": ("type", "indicator_type", "ioc_type", "kind", "observable_type"),
    "confidence": ("confidence", "confidence_level", "confidence_score"),
    "listed": ("first_seen", "first_seen_utc", "firstseen", "date", "dateadded", "date_added", "listing_date",
               "created", "created_at", "timestamp", "listed"),
    "since": ("valid_from",),
    "until": ("valid_until", "expires", "expiration", "expiration_date", "expire_time", "valid_to"),
    "id": ("id", "uuid", "ioc_id", "indicator_id"),
    "label": ("malware", "malware_printable", "threat", "threat_type", "tags", "labels", "label", "family",
              "listing_reason", "reason", "description"),
    "technique": ("technique", "technique_id", "attack", "attack_technique", "mitre", "mitre_attack",
                  "mitre_technique"),
}  # fmt: skip
_NAMES: Final = {name: role for role, names in _ROLES.items() for name in names}
_KINDS: Final = {
    "address": None, "domain": IndicatorKind.DOMAIN, "url": IndicatorKind.URL, "ja3": IndicatorKind.JA3,
    "ja4": IndicatorKind.JA4, "certificate": IndicatorKind.CERTIFICATE_SHA256,
}  # fmt: skip

#: Words of a type column; what is not here is not for flows.
_TYPES: Final[dict[str, IndicatorKind]] = {
    **dict.fromkeys(("ip", "ipv4", "ipv6", "ip_address", "ip_dst", "ip_src", "ipv4_addr", "ipv6_addr", "address",
                     "cidr", "network", "ipv4_cidr", "netblock"), IndicatorKind.ADDRESS),
    **dict.fromkeys(("domain", "hostname", "fqdn", "domain_name", "host"), IndicatorKind.DOMAIN),
    **dict.fromkeys(("url", "uri"), IndicatorKind.URL),
    **dict.fromkeys(("ja3", "ja3_fingerprint_md5", "ja3_md5"), IndicatorKind.JA3),
    **dict.fromkeys(("ja4", "ja4_fingerprint"), IndicatorKind.JA4),
    **dict.fromkeys(("x509_fingerprint_sha256", "certificate_sha256", "cert_sha256"), IndicatorKind.CERTIFICATE_SHA256),
}  # fmt: skip
_WITH_PORT: Final = ("ip_port", "ip_dst_port", "ip_src_port", "hostname_port", "domain_port")

_HEADER_LINES: Final = 100
_LONGEST_LINE: Final = 65_536
_LEVELS: Final = {"none": 0, "low": 15, "medium": 50, "moderate": 50, "high": 85, "very high": 95, "confirmed": 95}
_TECHNIQUE: Final = re.compile(r"\bT\d{4}(?:\.\d{3})?\b")
_PORT: Final = re.compile(r"(?<=[\w.\]]):\d{1,5}\Z")
_OTHER: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Table:
    """How a table is laid out: where its rows begin, what parts its cells, and which column has which role."""

    first_line: int
    delimiter: str
    columns: tuple[tuple[int, str], ...]
    width: int


def detect(text: str) -> Table | None:
    """The layout, where a line at the head names known columns; a header may be the last comment before the rows."""
    start = 0
    for number in range(_HEADER_LINES):
        end = text.find("\n", start)
        line = text[start : len(text) if end < 0 else end]
        bare = line.lstrip("#; \t\ufeff").strip()
        if bare and len(bare) <= _LONGEST_LINE:
            table = _layout(bare, number + 1, comment=line.lstrip()[:1] in ("#", ";"))
            if table is not None:
                return table
            if line.strip() and line.lstrip()[:1] not in ("#", ";"):
                return None
        if end < 0:
            return None
        start = end + 1
    return None


def _layout(line: str, number: int, *, comment: bool) -> Table | None:
    delimiter = max(",;\t|", key=line.count)
    cells = _cells(line, delimiter)
    if cells is None:
        return None
    roles = [_NAMES.get(_plain(cell), "") for cell in cells]
    held = [role for role in roles if role == "value" or role in _KINDS]
    # A comment speaks of many things, and one known word alone may be an entry: two names are a header.
    known = sum(map(bool, roles))
    if not held or known < (2 if comment or len(cells) > 1 else 1):
        return None
    return Table(number, delimiter, tuple((i, role) for i, role in enumerate(roles) if role), len(cells))


def _plain(cell: str) -> str:
    return _OTHER.sub("_", cell.strip().lower()).strip("_")


def _cells(line: str, delimiter: str) -> list[str] | None:
    try:
        return next(csv.reader((line,), delimiter=delimiter, skipinitialspace=True), None)
    except csv.Error:
        return None


def read(text: str, table: Table, builder: FeedBuilder) -> None:
    """Reads the rows of a table."""
    for number, line in enumerate(text.split("\n"), start=1):
        if number <= table.first_line or not line.strip() or line.lstrip()[:1] == "#":
            continue
        place = f"line {number}"
        if len(line) > _LONGEST_LINE:
            builder.reject(place, f"{len(line):,} characters; at most {_LONGEST_LINE:,} are read")
            continue
        cells = _cells(line.rstrip("\r"), table.delimiter)
        if cells is None:
            builder.reject(place, "no row of a table: an open quotation mark or a NUL")
        elif len(cells) > 4 * table.width + 64:
            builder.reject(place, f"{len(cells)} cells; the header has {table.width}")
        else:
            _read_row(cells, table, place, builder)


def _read_row(cells: Sequence[str], table: Table, place: str, builder: FeedBuilder) -> None:
    found: dict[str, list[str]] = {}
    for position, role in table.columns:
        if position < len(cells) and (cell := cells[position].strip()) and cell.lower() not in ("none", "null", "-"):
            found.setdefault(role, []).append(cell)
    words = found.get("technique", [""])[0]
    technique = _TECHNIQUE.search(words)
    about = {
        "confidence": _confidence(found.get("confidence", [""])[0]),
        "since": seconds(found.get("since", [0])[0]),
        "until": seconds(found.get("until", [0])[0]),
        "listed": seconds(found.get("listed", [0])[0]),
        "technique": builder.technique(Technique(technique[0], "", "")) if technique else 0,
        "label": builder.label(found.get("label", [""])[0]),
    }
    identity = found.get("id", [""])[0]
    wanted = []
    said = _plain(found.get("type", [""])[0])
    for value in found.get("value", ()):
        if not said or said in _TYPES:
            wanted.append((value, _reading(_TYPES.get(said), builder)))
        elif said in _WITH_PORT:
            wanted.append((_PORT.sub("", value), _reading(None, builder)))
        else:
            builder.ignore(f"{said} is nothing that flows show")
    for role, kind in _KINDS.items():
        for value in found.get(role, ()):
            bare = _PORT.sub("", value) if role == "domain" or (role == "address" and value.count(":") == 1) else value
            wanted.append((bare, _reading(IndicatorKind.ADDRESS if role == "address" else kind, builder)))
    if not wanted and "value" not in found:
        builder.reject(place, "no indicator in its columns")
    for value, reading in wanted:
        builder.read(place, value, reading=reading, identity=identity, **about)  # type: ignore[arg-type]  # by name


def _reading(kind: IndicatorKind | None, builder: FeedBuilder) -> Reading:
    return builder.reading if kind is None else Reading(kind)


def _confidence(text: str) -> int | None:
    """Percent of a number (up to 1 with a point, else of 100) or of a word; None where it is neither."""
    text = text.strip().lower().rstrip("%").strip()
    if text in _LEVELS:
        return _LEVELS[text]
    if not text or len(text) > 8 or not re.fullmatch(r"\d+(\.\d+)?", text):
        return None
    number = float(text)
    return round(number * 100 if "." in text and number <= 1 else min(number, 100))
