"""From the JSON of a feed to an `Advisory`: every part bounded, every complaint located."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from packaging.utils import canonicalize_name

from securenet_scanner import cvss
from securenet_scanner.advisories.osv import Advisory, Affected, Event
from securenet_scanner.cvss import CvssVector, Severity

_EVENT_KINDS = ("introduced", "fixed", "last_affected", "limit")
_MAX_ID = 256
_MAX_SUMMARY = 500
_MAX_ALIASES = 512
_MAX_AFFECTED = 65_536
_MAX_RANGES = 4_096
_MAX_EVENTS = 16_384
_MAX_VERSIONS = 65_536
_MAX_REFERENCES = 16
_MAX_URL = 2_048


class BadRecordError(ValueError):
    """A record that cannot be used; the message says where in the record, what came and what was expected."""


def advisory(record: object) -> Advisory:
    """Read one OSV record.

    Raises `BadRecordError`. Ranges of commits (`GIT`) are left out: no package version is compared with a commit.
    """
    if not isinstance(record, dict):
        raise BadRecordError(f"expected a JSON object, not {_kind(record)}")
    body = cast("dict[str, object]", record)
    entries = [_object(item, f"affected[{i}]") for i, item in enumerate(_array(body, "affected", "", _MAX_AFFECTED))]
    vectors = list(_vectors(body, "")) + [
        v for i, item in enumerate(entries) for v in _vectors(item, f"affected[{i}].")
    ]
    score, vector = _best(vectors)
    severity = _stated(body) if score is None else cvss.severity_of_score(score)
    return Advisory(
        id=_text(body, "id", "", required=True),
        modified=_text(body, "modified", "")[:40],
        published=_text(body, "published", "")[:40],
        withdrawn=bool(body.get("withdrawn")),
        aliases=tuple(_texts(body, "aliases", "", _MAX_ALIASES)),
        summary=_summary(body),
        severity=severity,
        score=score,
        vector=vector,
        references=tuple(_references(body)),
        affected=tuple(a for i, item in enumerate(entries) if (a := _affected(item, f"affected[{i}].")) is not None),
    )


def package_name(ecosystem: str, name: str) -> str:
    """The name as its ecosystem compares names: PEP 503 for PyPI, otherwise as written."""
    return canonicalize_name(name) if ecosystem == "PyPI" else name


def _summary(body: dict[str, object]) -> str:
    summary = _text(body, "summary", "", limit=1 << 20).strip()
    if not summary:
        # Many advisories have details only; their first line says what it is about.
        summary = _text(body, "details", "", limit=1 << 24).strip().partition("\n")[0].lstrip("# ")
    return summary if len(summary) <= _MAX_SUMMARY else summary[: _MAX_SUMMARY - 1] + "…"


def _affected(item: dict[str, object], where: str) -> Affected | None:
    raw = item.get("package")
    if raw is None:
        return None  # records that name only commits (Python's own) have no package
    package = _object(raw, f"{where}package")
    ecosystem = _text(package, "ecosystem", f"{where}package.", required=True)
    ranges = []
    for i, value in enumerate(_array(item, "ranges", where, _MAX_RANGES)):
        path = f"{where}ranges[{i}]."
        body = _object(value, path[:-1])
        if body.get("type") == "GIT":
            continue
        ranges.append(tuple(_events(body, path)))
    return Affected(
        ecosystem=ecosystem,
        name=package_name(ecosystem, _text(package, "name", f"{where}package.", required=True)),
        ranges=tuple(ranges),
        versions=tuple(_texts(item, "versions", where, _MAX_VERSIONS)),
    )


def _events(body: dict[str, object], where: str) -> Iterator[Event]:
    for i, value in enumerate(_array(body, "events", where, _MAX_EVENTS)):
        event = _object(value, f"{where}events[{i}]")
        for kind in _EVENT_KINDS:
            if kind in event:
                yield Event(kind, _text(event, kind, f"{where}events[{i}].", required=True))


def _vectors(body: dict[str, object], where: str) -> Iterator[CvssVector]:
    for i, value in enumerate(_array(body, "severity", where, 64)):
        item = _object(value, f"{where}severity[{i}]")
        text = item.get("score")
        if not isinstance(text, str):
            continue
        try:
            yield cvss.parse(text)
        except ValueError:
            continue  # a score that is no vector says nothing; the advisory itself still counts


def _best(vectors: list[CvssVector]) -> tuple[float | None, str]:
    """The newest version's highest score; a vector alone where none could be scored."""
    scored = [(v.version, v.base_score, v.vector) for v in vectors if v.base_score is not None]
    if scored:
        _, score, vector = max(scored)
        return score, vector
    return None, vectors[0].vector if vectors else ""


def _stated(body: dict[str, object]) -> Severity:
    specific = body.get("database_specific")
    word = specific.get("severity") if isinstance(specific, dict) else None
    return cvss.severity_of_word(word) if isinstance(word, str) else Severity.UNKNOWN


def _references(body: dict[str, object]) -> Iterator[str]:
    for i, value in enumerate(_array(body, "references", "", 4_096)[:_MAX_REFERENCES]):
        url = _object(value, f"references[{i}]").get("url")
        if isinstance(url, str) and len(url) <= _MAX_URL and url.startswith(("https://", "http://")):
            yield url


def _kind(value: object) -> str:
    names = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _object(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise BadRecordError(f"{where}: expected an object, not {_kind(value)}")
    return cast("dict[str, object]", value)


def _array(body: dict[str, object], name: str, where: str, limit: int) -> list[object]:
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRecordError(f"{where}{name}: expected an array, not {_kind(value)}")
    if len(value) > limit:
        raise BadRecordError(f"{where}{name}: {len(value)} items; at most {limit} are read")
    return cast("list[object]", value)


def _text(body: dict[str, object], name: str, where: str, *, required: bool = False, limit: int = _MAX_ID) -> str:
    value = body.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        raise BadRecordError(f"{where}{name}: expected a string, not {_kind(value)}")
    if required and not value:
        raise BadRecordError(f"{where}{name}: empty")
    if len(value) > limit:
        raise BadRecordError(f"{where}{name}: {len(value)} characters; at most {limit} are read")
    return value


def _texts(body: dict[str, object], name: str, where: str, limit: int) -> Iterator[str]:
    for i, value in enumerate(_array(body, name, where, limit)):
        if not isinstance(value, str):
            raise BadRecordError(f"{where}{name}[{i}]: expected a string, not {_kind(value)}")
        if len(value) > _MAX_ID:
            raise BadRecordError(f"{where}{name}[{i}]: {len(value)} characters; at most {_MAX_ID} are read")
        yield value
