"""Threat intelligence of the detection service: records, and the requests that carry a feed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from securenet.detection.v1 import intel_pb2
from securenet_client.detection.records import AttackTechnique
from securenet_client.messages import enum_number, to_timestamp
from securenet_core.exceptions import InvalidArgumentError

_KIND: Final = intel_pb2.DESCRIPTOR.enum_types_by_name["IndicatorKind"]

#: Bytes of one message of an upload.
_CHUNK: Final = 256 << 10

#: Values of one lookup.
MOST_VALUES: Final = 1000

#: Kinds as options and records name them.
KINDS: Final = ("address", "network", "domain", "url", "ja3", "ja4", "certificate-sha256")


@dataclass(frozen=True, slots=True)
class IndicatorFeed:
    """A feed as the service keeps it."""

    name: str
    format: str
    warning_list: bool
    indicator_count: int
    kind_counts: dict[int, int]
    duplicate_count: int
    rejected_count: int
    ignored_counts: dict[str, int]
    subtracted_count: int
    confidence: int
    licence: str
    source: str
    data_time: datetime | None
    import_time: datetime | None
    digest: str

    @property
    def id(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class IndicatorRejection:
    """An entry that could not be used."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class IndicatorImport:
    """What came of an import."""

    feed: IndicatorFeed
    rejections: tuple[IndicatorRejection, ...]
    version: int


@dataclass(frozen=True, slots=True)
class Indicator:
    """One feed's word on one value."""

    value: str
    kind: str
    feed: str
    confidence: int
    indicator_id: str
    label: str
    technique: AttackTechnique | None
    listed_time: datetime | None
    valid_from_time: datetime | None
    valid_until_time: datetime | None
    subtracted: bool


@dataclass(frozen=True, slots=True)
class IndicatorMatch:
    """What is known of one value; `error` where it cannot be looked up."""

    value: str
    indicators: tuple[Indicator, ...]
    warnings: tuple[Indicator, ...]
    error: str

    @property
    def listed(self) -> bool:
        """A feed lists it, and no warning list takes that away."""
        return any(not indicator.subtracted for indicator in self.indicators)


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """What is said of a feed when it is imported.

    Attributes:
        name: lower case letters, digits, dots, hyphens and underscores.
        kind: one of :data:`KINDS` where the text of its entries alone does not say; empty else.
        warning_list: its entries are benign, and are taken away from what other feeds list.
        replace: take the place of a feed of that name.
        confidence: percent, of entries that say nothing of their own.
        licence, source: for the record.
        data_time: of when its data are, where the content does not say.
    """

    name: str
    kind: str = ""
    warning_list: bool = False
    replace: bool = True
    confidence: int | None = None
    licence: str = ""
    source: str = ""
    data_time: datetime | None = None


def upload(
    content: Path | bytes, options: FeedOptions, on_progress: Callable[[int], None] | None = None
) -> Iterator[intel_pb2.ImportIndicatorsRequest]:
    """The messages of an import.

    Args:
        content: of the feed, or its file.
        options: what is said of it.
        on_progress: hears how many bytes were handed over.

    Raises:
        OSError: the file cannot be read.
    """
    header = _header(options)
    if isinstance(content, Path):
        # Here, since what gRPC's thread raises while it sends is lost.
        with content.open("rb"):
            pass
    return _messages(content, header, on_progress or (lambda _: None))


def _messages(
    content: Path | bytes, header: intel_pb2.ImportIndicatorsHeader, on_progress: Callable[[int], None]
) -> Iterator[intel_pb2.ImportIndicatorsRequest]:
    yield intel_pb2.ImportIndicatorsRequest(header=header)
    done = 0
    for chunk in _chunks(content):
        yield intel_pb2.ImportIndicatorsRequest(chunk=chunk)
        done += len(chunk)
        if on_progress is not None:
            on_progress(done)


def _chunks(content: Path | bytes) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield from (content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK))
        return
    with content.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _header(options: FeedOptions) -> intel_pb2.ImportIndicatorsHeader:
    header = intel_pb2.ImportIndicatorsHeader(
        feed=options.name, warning_list=options.warning_list, replace=options.replace, licence=options.licence,
        source=options.source,
    )  # fmt: skip
    if options.kind:
        header.kind = _kind(options.kind)
    if options.confidence is not None:
        header.confidence = options.confidence
    if options.data_time is not None:
        header.data_time.CopyFrom(to_timestamp(options.data_time))
    return header


def _kind(name: str) -> Any:
    try:
        return enum_number(_KIND, name)
    except ValueError as error:
        raise InvalidArgumentError.of("kind", str(error)) from error
