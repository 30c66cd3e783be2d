"""What feeds say together: nesting, duplicates, warning lists, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from securenet_detection.intel.indicator_set import BrokenSetError, IndicatorSet, read_set, write_set

pytestmark = pytest.mark.unit


def listed(index: Any, value: str) -> list[tuple[str, str]]:
    return [(entry.feed.name, entry.indicator) for entry in index.lookup(value).entries]


def test_a_value_is_found_with_all_that_holds_it(index: Any) -> None:
    found = index(
        {"a": "203.0.113.9\n203.0.113.0/24\n203.0.0.0/16\nevil.example\nwww.evil.example", "b": "203.0.113.9"}
    )
    assert sorted(listed(found, "203.0.113.9")) == [
        ("a", "203.0.0.0/16"), ("a", "203.0.113.0/24"), ("a", "203.0.113.9"), ("b", "203.0.113.9"),
    ]  # fmt: skip
    assert listed(found, "203.0.113.0/25") == [("a", "203.0.113.0/24"), ("a", "203.0.0.0/16")]
    assert listed(found, "x.www.evil.example") == [("a", "www.evil.example"), ("a", "evil.example")]
    assert not listed(found, "notevil.example")


def test_only_what_is_below_a_wildcard(index: Any) -> None:
    found = index({"a": "*.evil.example"})
    assert listed(found, "a.evil.example")
    assert not listed(found, "evil.example")


def test_warning_lists_take_away_whole_entries_and_single_values(index: Any) -> None:
    found = index(
        {"a": "203.0.113.9\n203.0.113.0/24\n198.51.100.7\nevil.example\nwww.good.example"},
        {"w": "203.0.113.9\n198.51.0.0/16\ngood.example"},
    )
    subtracted = {entry.indicator: entry.warned for value in ("203.0.113.8", "198.51.100.7", "www.good.example",
                  "evil.example") for entry in found.lookup(value).entries}  # fmt: skip
    assert subtracted == {
        "203.0.113.0/24": False, "198.51.100.7": True, "www.good.example": True, "evil.example": False,
    }  # fmt: skip
    # The network stays listed; this address of it does not.
    assert all(entry.warned for entry in found.lookup("203.0.113.9").entries)
    assert {feed.name: feed.subtracted for feed in found.feeds} == {"a": 3, "w": 0}


def test_a_set_comes_back_from_its_file(reads: Any, feed_of: Any, tmp_path: Path) -> None:
    document = reads("203.0.113.9 3\nevil.example\n")
    stored = IndicatorSet.empty("a tenant/of:ours").with_feed(feed_of("a", document), document.columns)
    path = tmp_path / "set"
    write_set(stored, path)
    again = read_set(path, max_indicators=10)
    assert (again.tenant, again.version, again.feeds) == (stored.tenant, 1, stored.feeds)
    assert [again.columns.key(row) for row in range(2)] == [stored.columns.key(row) for row in range(2)]
    with pytest.raises(BrokenSetError):
        read_set(path, max_indicators=1)
    content = path.read_bytes()
    for cut in (0, 5, 12, 40, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(BrokenSetError):
            read_set(path, max_indicators=10)
    for place in (3, 9, 30, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(BrokenSetError):
            read_set(path, max_indicators=10)
    assert not list(tmp_path.glob("*.new"))


def test_feeds_come_and_go(reads: Any, feed_of: Any) -> None:
    stored = IndicatorSet.empty("t")
    for name, content in (("b", "203.0.113.9"), ("a", "evil.example\nworse.example"), ("c", "198.51.100.1")):
        document = reads(content)
        stored = stored.with_feed(feed_of(name, document), document.columns)
    document = reads("new.example")
    stored = stored.without("b").with_feed(feed_of("a", document), document.columns)
    assert [(feed.name, feed.first, feed.count) for feed in stored.feeds] == [("a", 0, 1), ("c", 1, 1)]
    assert stored.version == 5
    assert stored.columns.key(0).data == b"new.example"
