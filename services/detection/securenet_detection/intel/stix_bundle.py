"""STIX 2.1 bundles: their indicators, when they are valid, and what they indicate."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from securenet_detection.intel.columns import FeedBuilder
from securenet_detection.intel.indicators import BELOW, IndicatorKind, Reading
from securenet_detection.intel.stix_pattern import Comparison, PatternError, alternatives
from securenet_detection.intel.times import seconds
from securenet_detection.threats import Technique

_ADDRESS: Final = Reading(IndicatorKind.ADDRESS)
_DOMAIN: Final = Reading(IndicatorKind.DOMAIN)

#: Object paths that flows show.
_PATHS: Final[Mapping[str, Reading | None]] = {
    "ipv4-addr:value": _ADDRESS,
    "ipv6-addr:value": _ADDRESS,
    "domain-name:value": _DOMAIN,
    "url:value": Reading(IndicatorKind.URL),
    # Either of an address and a name.
    "network-traffic:dst_ref.value": None,
    "network-traffic:src_ref.value": None,
    "network-traffic:extensions.'http-request-ext'.request_header.Host": _DOMAIN,
    "network-traffic:extensions.'http-request-ext'.request_header.'Host'": _DOMAIN,
    "x509-certificate:hashes.'SHA-256'": Reading(IndicatorKind.CERTIFICATE_SHA256),
    "x509-certificate:hashes.SHA256": Reading(IndicatorKind.CERTIFICATE_SHA256),
}
#: The standard has no path for fingerprints of handshakes; those in use end so.
_FINGERPRINTS: Final = (
    (re.compile(r"[.:_'-](ja3|ja3_hash|ja3-hash|ja3_md5)'?\Z"), Reading(IndicatorKind.JA3)),
    (re.compile(r"[.:_'-](ja4|ja4_hash)'?\Z"), Reading(IndicatorKind.JA4)),
)
_TECHNIQUE: Final = re.compile(r"T\d{4}(?:\.\d{3})?\Z")
_BENIGN: Final = "benign"


def recognises(document: Any) -> bool:
    """Whether it is a bundle, or a single object."""
    if not isinstance(document, dict):
        return False
    return isinstance(document.get("objects"), list) or (
        document.get("type") in ("bundle", "indicator") and isinstance(document.get("id"), str)
    )


def read(document: Any, builder: FeedBuilder) -> None:
    """Reads the indicators of a bundle; of several versions of one only the latest."""
    objects = document.get("objects", [document])
    if not isinstance(objects, list):
        builder.reject("objects", f"{type(objects).__name__}; expected a list")
        return
    latest: dict[str, tuple[str, int, dict[str, Any]]] = {}
    by_id: dict[str, dict[str, Any]] = {}
    related: dict[str, list[str]] = {}
    for position, item in enumerate(objects):
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            builder.reject(f"objects[{position}]", "expected a STIX object with a type")
        elif item["type"] == "indicator":
            name = item["id"] if isinstance(item.get("id"), str) else f"objects[{position}]"
            modified = str(item.get("modified") or item.get("created") or "")
            if name in latest:
                builder.ignore("an older version of an indicator")
            if name not in latest or modified >= latest[name][0]:
                latest[name] = modified, position, item
        elif item["type"] == "relationship":
            source, target = item.get("source_ref"), item.get("target_ref")
            if item.get("relationship_type") == "indicates" and isinstance(source, str) and isinstance(target, str):
                related.setdefault(source, []).append(target)
        elif isinstance(item.get("id"), str):
            by_id[item["id"]] = item
    for name, (_, position, item) in latest.items():
        targets = [by_id[target] for target in related.get(name, ())[:100] if target in by_id]
        _read_indicator(item, name, f"objects[{position}]", targets, builder)


def _read_indicator(
    item: Mapping[str, Any], name: str, place: str, targets: list[dict[str, Any]], builder: FeedBuilder
) -> None:
    kinds = [*_texts(item.get("indicator_types")), *_texts(item.get("labels"))]
    pattern = item.get("pattern")
    if item.get("revoked") is True:
        builder.ignore("revoked")
        return
    if _BENIGN in kinds:
        builder.ignore("said to be benign")
        return
    if item.get("pattern_type", "stix") != "stix" or not isinstance(pattern, str):
        builder.ignore(f"patterns of type {str(item.get('pattern_type'))[:40]}")
        return
    try:
        found = alternatives(pattern)
    except PatternError as error:
        builder.reject(f"{place}.pattern", str(error))
        return
    confidence = item.get("confidence")
    technique = next(filter(None, map(_technique, targets)), None)
    malware = [str(target.get("name")) for target in targets if target.get("type") in ("malware", "tool", "campaign")]
    label = ", ".join(filter(None, [*malware[:2], str(item.get("name") or "")])) or ", ".join(kinds[:4])
    for comparison in found:
        known, reading = _reading(comparison, builder)
        if not known:
            builder.ignore(f"{comparison.path[:80]} is nothing that flows show")
            continue
        builder.read(
            f"{place}.pattern", comparison.value, reading=reading, flags=BELOW if comparison.below else 0,
            confidence=confidence if isinstance(confidence, int) else None,
            since=seconds(item.get("valid_from")), until=seconds(item.get("valid_until")),
            listed=seconds(item.get("modified") or item.get("created")), identity=name,
            technique=builder.technique(technique), label=builder.label(label[:200]),
        )  # fmt: skip


def _reading(comparison: Comparison, builder: FeedBuilder) -> tuple[bool, Reading | None]:
    if comparison.path in _PATHS:
        return True, _PATHS[comparison.path] or builder.reading
    for ending, reading in _FINGERPRINTS:
        if ending.search(comparison.path):
            return True, reading
    return False, None


def _technique(target: Mapping[str, Any]) -> Technique | None:
    if target.get("type") != "attack-pattern":
        return None
    references = target.get("external_references")
    for reference in references[:100] if isinstance(references, list) else ():
        number = reference.get("external_id") if isinstance(reference, dict) else None
        if isinstance(number, str) and _TECHNIQUE.match(number):
            return Technique(number, str(target.get("name") or "")[:120], next(_tactics(target), ""))
    return None


def _tactics(target: Mapping[str, Any]) -> Iterator[str]:
    phases = target.get("kill_chain_phases")
    for phase in phases[:100] if isinstance(phases, list) else ():
        if isinstance(phase, dict) and str(phase.get("kill_chain_name", "")).startswith("mitre"):
            words = str(phase.get("phase_name", ""))[:60].split("-")
            yield " ".join(word if word in ("and", "of") else word.capitalize() for word in words)


def _texts(value: Any) -> list[str]:
    return [item for item in value[:100] if isinstance(item, str)] if isinstance(value, list) else []
