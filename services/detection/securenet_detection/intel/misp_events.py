"""MISP events, as MISP and its feeds export them, and MISP warning lists.

Only attributes with `to_ids` are indicators; the others are context. https://www.misp-standard.org/rfc/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from securenet_detection.intel.columns import FeedBuilder
from securenet_detection.intel.indicators import EXACT, IndicatorKind, Reading
from securenet_detection.intel.times import seconds
from securenet_detection.threats import Technique

_ADDRESS: Final = Reading(IndicatorKind.ADDRESS)
_DOMAIN: Final = Reading(IndicatorKind.DOMAIN)

#: By type of attribute: how each part of its value, between bars, is read; None for a part that is not asked for.
_TYPES: Final[Mapping[str, tuple[tuple[Reading | None, int], ...]]] = {
    "ip-src": ((_ADDRESS, 0),),
    "ip-dst": ((_ADDRESS, 0),),
    "ip-src|port": ((_ADDRESS, 0), (None, 0)),
    "ip-dst|port": ((_ADDRESS, 0), (None, 0)),
    "domain": ((_DOMAIN, 0),),
    "hostname": ((_DOMAIN, EXACT),),
    "hostname|port": ((_DOMAIN, EXACT), (None, 0)),
    "domain|ip": ((_DOMAIN, 0), (_ADDRESS, 0)),
    "url": ((Reading(IndicatorKind.URL), 0),),
    "uri": ((Reading(IndicatorKind.URL), 0),),
    "ja3-fingerprint-md5": ((Reading(IndicatorKind.JA3), 0),),
    "ja4": ((Reading(IndicatorKind.JA4), 0),),
    "x509-fingerprint-sha256": ((Reading(IndicatorKind.CERTIFICATE_SHA256), 0),),
}

#: The taxonomy misp:confidence-level, in percent.
_CONFIDENCE: Final = {
    "completely-confident": 100, "usually-confident": 75, "fairly-confident": 50, "rarely-confident": 25,
    "unconfident": 5,
}  # fmt: skip
_LEVEL: Final = re.compile(r'misp:confidence-level="([a-z-]{1,30})"')
_TECHNIQUE: Final = re.compile(r'mitre-(?:[a-z-]{0,30})attack-pattern="([^"]{1,120}?) - (T\d{4}(?:\.\d{3})?)"')
_MALWARE: Final = re.compile(
    r'misp-galaxy:(?:malpedia|mitre-malware|rat|banker|botnet|ransomware|tool|threat-actor)="([^"]{1,80})"'
)
_EVENTS: Final = 100_000
_OBJECTS: Final = 1_000_000


def recognises(document: Any) -> bool:
    """Whether it is an event, a response with events, a list of them, or what is inside of one."""
    first = document[0] if isinstance(document, list) and document else document
    if not isinstance(first, dict):
        return False
    return bool({"Event", "response", "Attribute", "Object", "EventReport"} & first.keys()) or (
        "info" in first and "analysis" in first
    )


def read(document: Any, builder: FeedBuilder) -> None:
    """Reads the attributes of all events."""
    response = document.get("response") if isinstance(document, dict) else None
    events = response if isinstance(response, list) else document if isinstance(document, list) else [document]
    for number, item in enumerate(events[:_EVENTS]):
        event = item.get("Event", item) if isinstance(item, dict) else None
        if not isinstance(event, dict):
            builder.reject(f"event {number}", f"{type(event).__name__}; expected an event")
            continue
        _read_event(event, f"event {number}", builder)


def _read_event(event: Mapping[str, Any], place: str, builder: FeedBuilder) -> None:
    builder.data_time = max(builder.data_time, seconds(event.get("timestamp")) or seconds(event.get("date")))
    info = str(event.get("info") or "")[:200]
    event_tags = _tags(event)
    for where, attribute in _attributes(event, place, builder):
        kind, value = attribute.get("type"), attribute.get("value")
        if attribute.get("deleted") in (True, 1, "1"):
            builder.ignore("deleted")
        elif attribute.get("to_ids") not in (True, 1, "1"):
            builder.ignore("not meant for detection (to_ids)")
        elif not isinstance(kind, str) or not isinstance(value, str):
            builder.reject(where, "expected an attribute with type and value")
        elif kind not in _TYPES:
            builder.ignore(f"{kind[:60]} is nothing that flows show")
        else:
            tags = [*_tags(attribute), *event_tags]
            _read_attribute(attribute, kind, value, where, tags=tags, info=info, builder=builder)


def _read_attribute(
    attribute: Mapping[str, Any], kind: str, value: str, place: str, *, tags: list[str], info: str, builder: FeedBuilder
) -> None:
    words = " ".join(tags)
    technique = _TECHNIQUE.search(words)
    level = _LEVEL.search(words)
    malware = _MALWARE.search(words)
    parts = value.split("|") if "|" in kind else [value]
    if len(parts) == 1 and "|" in kind:
        # MISP itself once wrote address:port.
        parts = [value.rpartition(":")[0], ""] if kind.endswith("port") and value.count(":") == 1 else parts
    for part, (reading, flags) in zip(parts, _TYPES[kind], strict=False):
        if reading is not None:
            builder.read(
                place, part, reading=reading, flags=flags,
                confidence=_CONFIDENCE.get(level[1]) if level else None,
                until=0, listed=seconds(attribute.get("timestamp")) or seconds(attribute.get("first_seen")),
                identity=str(attribute.get("uuid") or "")[:64],
                technique=builder.technique(Technique(technique[2], technique[1], "")) if technique else 0,
                label=builder.label(malware[1] if malware else info),
            )  # fmt: skip


def _attributes(event: Mapping[str, Any], place: str, builder: FeedBuilder) -> Iterator[tuple[str, Mapping[str, Any]]]:
    holders: list[tuple[str, Any]] = [(place, event)]
    objects = event.get("Object")
    if isinstance(objects, list):
        holders += [(f"{place} object {number}", item) for number, item in enumerate(objects[:_OBJECTS])]
    for where, holder in holders:
        attributes = holder.get("Attribute", []) if isinstance(holder, dict) else None
        if not isinstance(attributes, list):
            builder.reject(where, "expected a list of attributes")
            continue
        for number, attribute in enumerate(attributes):
            if isinstance(attribute, dict):
                yield f"{where} attribute {number}", attribute
            else:
                builder.reject(f"{where} attribute {number}", f"{type(attribute).__name__}; expected an attribute")


def _tags(holder: Mapping[str, Any]) -> list[str]:
    tags = holder.get("Tag")
    found = tags[:100] if isinstance(tags, list) else ()
    return [tag["name"][:200] for tag in found if isinstance(tag, dict) and isinstance(tag.get("name"), str)]


def recognises_warning_list(document: Any) -> bool:
    """Whether it is a warning list."""
    return isinstance(document, dict) and isinstance(document.get("list"), list) and "name" in document


def read_warning_list(document: Any, builder: FeedBuilder) -> None:
    """Reads a warning list of type string, hostname or cidr; substrings and expressions are refused, since one could
    take everything away, or all the time there is."""
    kind = document.get("type", "string")
    if kind not in ("string", "hostname", "cidr"):
        builder.reject("type", f"{str(kind)[:40]!r}; expected string, hostname or cidr")
        return
    for number, item in enumerate(document["list"]):
        if not isinstance(item, str):
            builder.reject(f"list[{number}]", f"{type(item).__name__}; expected a text")
        else:
            builder.read(
                f"list[{number}]", item.lstrip("."), flags=EXACT if kind == "string" and item[:1] != "." else 0
            )
