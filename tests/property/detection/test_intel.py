"""Feeds of any bytes, and lookups against what a person would do with the same lists."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securenet_detection.intel.columns import Columns, FeedBuilder, FeedTooLargeError
from securenet_detection.intel.feeds import Feed, FeedHeader, Limits, read_feed
from securenet_detection.intel.index import IntelIndex
from securenet_detection.intel.indicators import IndicatorKind
from securenet_detection.intel.stix_pattern import PatternError, alternatives
from securenet_detection.intel.tables import Texts, words_of

pytestmark = pytest.mark.unit

LIMITS = Limits(1 << 16, 1 << 16, 1000)

texts = st.text(max_size=60)
leaves = st.none() | st.booleans() | st.integers() | texts | st.floats(allow_nan=False)
names = st.sampled_from(
    ["type", "id", "objects", "indicator", "bundle", "pattern", "Event", "response", "Attribute", "Object", "value",
     "to_ids", "list", "name", "Tag", "info", "analysis", "valid_from", "confidence", "labels", "timestamp", "ip-dst",
     "domain", "relationship", "source_ref", "pattern_type", "stix", "[ipv4-addr:value = '203.0.113.9']", "uuid"]
)  # fmt: skip
documents = st.recursive(
    leaves | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | texts, inner | names, max_size=6),
    max_leaves=30,
)


def read(content: bytes, **header: Any) -> Any:
    return read_feed(content, FeedHeader("f", **header), LIMITS)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400) | st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_counted(content: bytes) -> None:
    document = read(content)
    assert document.rejected >= len(document.rejections)
    assert all(rejection.place and rejection.reason for rejection in document.rejections)


@settings(max_examples=300, deadline=None)
@given(documents)
def test_any_json_is_read_or_counted(value: Any) -> None:
    read(json.dumps(value).encode(), warning_list=isinstance(value, dict) and len(value) % 2 == 0)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["ip", "type", "value", "confidence", "valid_until", "x", "url", "ja3"]), min_size=1),
    st.lists(st.lists(texts, max_size=8), max_size=6),
    st.sampled_from(",;\t"),
)
def test_any_table_is_read_or_counted(header: list[str], rows: list[list[str]], delimiter: str) -> None:
    read("\n".join(delimiter.join(row) for row in [header, *rows]).encode("utf-8", "replace"))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*"[]()='\\,", " OR ", " AND ", " IN ", "a:b", "ipv4-addr:value", "'x'"])))
def test_any_pattern_is_answered_or_refused(words: list[str]) -> None:
    try:
        found = alternatives("".join(words))
    except PatternError:
        return
    assert found


@given(st.lists(st.just(0), min_size=1001, max_size=1100))
@settings(max_examples=2, deadline=None)
def test_one_indicator_too_many_is_refused(items: list[int]) -> None:
    with pytest.raises(FeedTooLargeError):
        read(b"203.0.113.9\n" * len(items))


def index_of(entries: list[str]) -> IntelIndex:
    builder = FeedBuilder(limit=1000, confidence=80)
    for entry in entries:
        builder.read("", entry)
    columns = builder.columns() if len(builder) else Columns.concatenate(())
    return IntelIndex(
        columns, [Feed("f", "", "", False, 80, "", "", 0, 0, len(columns), 0, 0, {}, {})], version=1, seed=11
    )


# Few bits differ, so that networks nest and addresses fall into them.
v4 = st.builds(
    lambda a, b, bits: ipaddress.ip_network(f"45.{a}.{b}.{bits}/{bits}", strict=False),
    st.integers(0, 3), st.integers(0, 3), st.integers(8, 32),
)  # fmt: skip
v6 = st.builds(
    lambda a, b, bits: ipaddress.ip_network(f"2001:db8:{a:x}:{b:x}::/{bits}", strict=False),
    st.integers(0, 3), st.integers(0, 3), st.integers(16, 128),
)  # fmt: skip
addresses = st.builds(
    lambda a, b, c: ipaddress.ip_address(f"45.{a}.{b}.{c}"),
    st.integers(0, 4), st.integers(0, 4), st.integers(0, 40),
) | st.builds(
    lambda a, b, c: ipaddress.ip_address(f"2001:db8:{a:x}:{b:x}::{c:x}"),
    st.integers(0, 4), st.integers(0, 4), st.integers(0, 4),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(v4 | v6, max_size=40), st.lists(addresses, min_size=1, max_size=40))
def test_addresses_are_found_as_by_hand(networks: list[Any], asked: list[Any]) -> None:
    index = index_of([str(network) for network in networks])
    packed = b"".join(a.packed if a.version == 6 else b"\0" * 10 + b"\xff\xff" + a.packed for a in asked)
    nodes = index.entries.find_addresses(words_of(np.frombuffer(packed, np.uint8).reshape(-1, 16)))
    for address, node in zip(asked, nodes.tolist(), strict=True):
        holding = sorted(
            {n for n in networks if n.version == address.version and address in n}, key=lambda n: -n.prefixlen
        )
        assert (node >= 0) == bool(holding)
        answered = [entry.indicator for entry in index.lookup(str(address)).entries]
        assert answered == [str(n.network_address) if n.num_addresses == 1 else str(n) for n in holding]


labels = st.sampled_from(["a", "b", "evil", "x-y"])
domains = st.lists(labels, min_size=1, max_size=4).map(lambda parts: ".".join([*parts, "com"]))


@settings(max_examples=300, deadline=None)
@given(st.lists(domains | domains.map(lambda d: f"*.{d}"), max_size=20), st.lists(domains, min_size=1, max_size=20))
def test_names_are_found_as_by_hand(listed: list[str], asked: list[str]) -> None:
    index = index_of(listed)
    found, _ = index.entries.find_texts(Texts.of([name.upper() for name in asked]), IndicatorKind.DOMAIN, suffixes=True)
    for name, node in zip(asked, found.tolist(), strict=True):
        expected = {entry for entry in listed if name == entry or name.endswith("." + entry.removeprefix("*."))}
        answered = {entry.indicator for entry in index.lookup(name).entries}
        assert answered == expected
        # What only names below may match is found at the name itself, and left out when it is judged.
        assert (node >= 0) or not expected
