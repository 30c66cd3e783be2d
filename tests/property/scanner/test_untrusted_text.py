"""Readers of foreign text raise what they declare, and nothing else."""

from __future__ import annotations

import contextlib
import ipaddress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securenet_scanner import cvss, purls
from securenet_scanner.advisories import records
from securenet_scanner.network.banners import MAX_BANNER, Banner, printable
from securenet_scanner.network.ports import PortsError, parse_ports
from securenet_scanner.network.scopes import OutOfScopeError, authorize, loopback
from securenet_scanner.network.services import identify
from securenet_scanner.network.targets import HostName, Span, TargetError, parse_target

pytestmark = pytest.mark.unit

addresses = st.ip_addresses().map(str)
pieces = st.lists(
    addresses | st.sampled_from(list("-/.:%")) | st.integers(0, 300).map(str) | st.text(max_size=4), max_size=4
)
target_texts = st.text(max_size=40) | pieces.map("".join)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "affected", "package", "name", "ecosystem", "ranges", "events", "introduced", "aliases"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(target_texts)
def test_targets(text: str) -> None:
    try:
        target = parse_target(text)
    except TargetError:
        return
    assert isinstance(target, HostName) or 0 < int(target.first) <= int(target.last)


@given(target_texts | st.ip_addresses(v=4).map(lambda ip: f"::ffff:{ip}"))
def test_only_loopback_passes_the_loopback_scope(text: str) -> None:
    try:
        target = parse_target(text)
        if isinstance(target, HostName):
            return
        authorize([target], [loopback("t")], datetime.now(UTC))
    except (TargetError, OutOfScopeError):
        return
    assert isinstance(target, Span)
    for address in (target.first, target.last):
        assert address in ipaddress.ip_network("127.0.0.0/8") or str(address) == "::1"


@given(st.text(max_size=40) | st.lists(st.integers(-5, 70_000).map(str), max_size=4).map(",".join))
def test_ports(text: str) -> None:
    with contextlib.suppress(PortsError):
        assert all(1 <= port <= 65_535 for port in parse_ports(text))


@given(st.text(max_size=60) | st.text(max_size=40).map(lambda text: f"pkg:{text}"))
def test_package_urls(text: str) -> None:
    with contextlib.suppress(purls.PurlError):
        purls.parse(text)


@given(st.text(max_size=60) | st.text(max_size=40).map(lambda text: f"CVSS:3.1/{text}"))
def test_vectors(text: str) -> None:
    with contextlib.suppress(ValueError):
        cvss.parse(text)


@given(json_values)
def test_records(value: object) -> None:
    with contextlib.suppress(records.BadRecordError):
        records.advisory(value)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: b"HTTP/1.1 200 OK\r\nServer: " + data))
def test_banners(data: bytes) -> None:
    identify(Banner(data, "greeting", tls=False))
    text = printable(data)
    assert len(text) <= MAX_BANNER
    assert text.isascii()
    assert all(character.isprintable() for character in text)
