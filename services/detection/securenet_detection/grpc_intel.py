"""Feeds and indicators into the contract, and uploads out of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from securenet.detection.v1 import intel_pb2, verdict_pb2
from securenet_core.exceptions import InvalidArgumentError
from securenet_detection.intel.feeds import Feed, FeedHeader
from securenet_detection.intel.index import Answer, Entry
from securenet_detection.intel.indicators import IndicatorKind
from securenet_detection.intel.library import Imported

_LAST_SECOND: Final = (1 << 32) - 1


async def upload(
    requests: AsyncIterator[intel_pb2.ImportIndicatorsRequest],
) -> tuple[FeedHeader, AsyncIterator[bytes]]:
    """The header, and the chunks that follow.

    Raises:
        InvalidArgumentError: the first message is no header.
    """
    first = await anext(aiter(requests), None)
    if first is None or first.WhichOneof("part") != "header":
        raise InvalidArgumentError.of("header", "absent; expected as the first message")
    header = first.header
    described = FeedHeader(
        name=header.feed,
        kind=IndicatorKind(header.kind) if header.kind else None,
        warning_list=header.warning_list,
        replace=header.replace,
        confidence=header.confidence if header.HasField("confidence") else None,
        licence=header.licence,
        source=header.source,
        data_time=min(max(header.data_time.seconds, 0), _LAST_SECOND),
    )
    return described, _chunks(requests)


async def _chunks(requests: AsyncIterator[intel_pb2.ImportIndicatorsRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise InvalidArgumentError.of("chunk", "a second header; expected bytes")
        yield request.chunk


def imported(outcome: Imported) -> intel_pb2.ImportIndicatorsResponse:
    """What came of an import."""
    return intel_pb2.ImportIndicatorsResponse(
        feed=feed(outcome.feed),
        rejections=[intel_pb2.IndicatorRejection(place=one.place, reason=one.reason) for one in outcome.rejections],
        version=outcome.version,
    )


def feed(known: Feed) -> intel_pb2.IndicatorFeed:
    """A feed."""
    return intel_pb2.IndicatorFeed(
        name=f"indicatorFeeds/{known.name}",
        format=known.format,
        warning_list=known.warning_list,
        indicator_count=known.count,
        kind_counts=known.kinds,
        duplicate_count=known.duplicates,
        rejected_count=known.rejected,
        ignored_counts=known.ignored,
        subtracted_count=known.subtracted,
        confidence=known.confidence,
        licence=known.licence,
        source=known.source,
        data_time=_time(known.data_time),
        import_time=_time(known.import_time),
        digest=known.digest,
    )


def matches(answers: Sequence[Answer]) -> list[intel_pb2.IndicatorMatch]:
    """What is known of values."""
    return [
        intel_pb2.IndicatorMatch(
            value=answer.value,
            indicators=[_indicator(entry) for entry in answer.entries],
            warnings=[_indicator(entry) for entry in answer.warnings],
            error=answer.error,
        )
        for answer in answers
    ]


def _indicator(entry: Entry) -> intel_pb2.Indicator:
    technique = entry.technique
    return intel_pb2.Indicator(
        value=entry.indicator,
        kind=_number(entry.kind),
        feed=f"indicatorFeeds/{entry.feed.name}",
        confidence=entry.confidence,
        indicator_id=entry.identity,
        label=entry.label,
        technique=None
        if technique is None
        else verdict_pb2.AttackTechnique(id=technique.id, name=technique.name, tactic=technique.tactic),
        listed_time=_time(entry.listed),
        valid_from_time=_time(entry.since),
        valid_until_time=_time(entry.until),
        subtracted=entry.warned,
    )


def _number(value: Any) -> Any:
    """The contract's enums have the domain's numbers."""
    return int(value)


def _time(second: int) -> Timestamp | None:
    return Timestamp(seconds=second) if second else None
