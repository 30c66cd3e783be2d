"""Feeds for the tests of intelligence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from securenet_detection.intel.feeds import Document, Feed, FeedHeader, Limits, read_feed
from securenet_detection.intel.index import IntelIndex
from securenet_detection.intel.indicator_set import IndicatorSet
from securenet_detection.intel.indicators import key_text

LIMITS = Limits(max_bytes=1 << 20, max_json_bytes=1 << 20, max_indicators=10_000)


def read(content: bytes | str, limits: Limits = LIMITS, **header: Any) -> Document:
    data = content.encode() if isinstance(content, str) else content
    return read_feed(data, FeedHeader(**{"name": "feed", **header}), limits)


def describe(name: str, document: Document, *, warning_list: bool = False) -> Feed:
    return Feed(
        name, document.format, "", warning_list, 80, document.licence, "", document.data_time, 1_767_225_600,
        len(document.columns), 0, document.rejected, document.ignored, {}, document.techniques, document.labels,
    )  # fmt: skip


def index_of(
    feeds: Mapping[str, bytes | str], warnings: Mapping[str, bytes | str] | None = None, **header: Any
) -> IntelIndex:
    stored = IndicatorSet.empty("t")
    for name, content in feeds.items():
        document = read(content, **header)
        stored = stored.with_feed(describe(name, document), document.columns)
    for name, content in (warnings or {}).items():
        document = read(content, warning_list=True)
        stored = stored.with_feed(describe(name, document, warning_list=True), document.columns)
    return IntelIndex(stored.columns, stored.feeds, version=stored.version, seed=3)


def values(document: Document) -> list[str]:
    return [key_text(document.columns.key(row)) for row in range(len(document.columns))]


@pytest.fixture
def reads() -> Callable[..., Document]:
    return read


@pytest.fixture
def index() -> Callable[..., IntelIndex]:
    return index_of


@pytest.fixture
def shown() -> Callable[[Document], list[str]]:
    return values


@pytest.fixture
def feed_of() -> Callable[..., Feed]:
    return describe
