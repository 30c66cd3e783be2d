"""Targets: what is read, what is refused, and that no spelling gets round."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from securenet_scanner.network.targets import AddressList, HostName, Span, TargetError, parse_target, resolve

pytestmark = pytest.mark.unit


def span(text: str) -> Span:
    target = parse_target(text)
    assert isinstance(target, Span)
    return target


@pytest.mark.parametrize(
    ("text", "shown", "count"),
    [
        ("10.0.0.0/30", "10.0.0.0-10.0.0.3", 4),
        ("10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9", 9),
        ("10.0.0.1-9", "10.0.0.1-10.0.0.9", 9),
        (" 127.0.0.1 ", "127.0.0.1", 1),
        ("::1", "::1", 1),
        ("fd00::/126", "fd00::-fd00::3", 4),
        ("::ffff:127.0.0.1", "127.0.0.1", 1),
        ("::ffff:10.0.0.0/126", "10.0.0.0-10.0.0.3", 4),
        ("::ffff:10.0.0.1-10.0.0.2", "10.0.0.1-10.0.0.2", 2),
    ],
)
def test_addresses(text: str, shown: str, count: int) -> None:
    assert str(span(text)) == shown
    assert span(text).size == count


@pytest.mark.parametrize("text", ["localhost", "my-host.example", "a_b.example.", "xn--bcher-kva.example"])
def test_names(text: str) -> None:
    assert parse_target(text) == HostName(text.rstrip("."))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "0 characters"),
        ("x" * 300, "300 characters"),
        ("10.0.0.5/24", "host bits"),
        ("10.0.0.0/99", "no network"),
        ("10.0.0.9-10.0.0.1", "lower address"),
        ("10.0.0.1-::1", "one family"),
        ("10.0.0.1-300", "after the dash"),
        ("0.0.0.0", "no host's address"),
        ("::", "no host's address"),
        ("0.0.0.0/0", "no host's address"),
        ("224.0.0.1", "no host's address"),
        ("255.255.255.255", "no host's address"),
        ("fe80::1%eth0", "zone"),
        ("::fffe:0:0/95", "name them as IPv4"),
        ("127.1", "expected a CIDR"),
        ("2130706433", "expected a CIDR"),
        ("0x7f.0x1", "expected a CIDR"),
        ("host name", "expected a CIDR"),
        ("-host", "expected a CIDR"),
        ("http://host/", "no network"),
    ],
)
def test_refusals(text: str, complaint: str) -> None:
    with pytest.raises(TargetError, match=complaint):
        parse_target(text)


async def test_names_are_resolved_once_and_mapped_addresses_are_unmapped() -> None:
    asked: list[str] = []

    async def resolver(name: str) -> Sequence[str]:
        asked.append(name)
        return ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1", "fd00::1"]

    spans = await resolve(["host.example", "10.0.0.8/31"], resolver, 100)
    assert asked == ["host.example"]
    assert [str(item) for item in spans] == ["10.0.0.1", "fd00::1", "10.0.0.8-10.0.0.9"]
    assert spans[0].host_name == "host.example"


async def test_too_much_and_too_little_are_located() -> None:
    async def none(name: str) -> Sequence[str]:
        raise OSError("no such name")

    async def many(name: str) -> Sequence[str]:
        return [f"10.0.1.{i}" for i in range(100)]

    with pytest.raises(TargetError, match=r"targets\[1\]: 257 addresses so far; at most 256"):
        await resolve(["10.0.0.0/24", "10.1.0.1"], none, 256)
    with pytest.raises(TargetError, match=r"targets\[0\]: 'x' cannot be resolved: no such name"):
        await resolve(["x"], none, 256)
    with pytest.raises(TargetError, match="100 addresses; expected 1 to 64"):
        await resolve(["x"], many, 256)


async def test_the_greatest_network_is_refused_at_once() -> None:
    async def none(name: str) -> Sequence[str]:
        return []

    with pytest.raises(TargetError, match="at most 65536"):
        await resolve(["fd00::/8"], none, 65_536)


def test_the_list_of_addresses_is_not_held() -> None:
    addresses = AddressList([span("10.0.0.0/8"), span("fd00::/100"), span("::1")])
    assert len(addresses) == 2**24 + 2**28 + 1
    assert [str(addresses[i]) for i in (0, 2**24 - 1, 2**24, len(addresses) - 1)] == [
        "10.0.0.0",
        "10.255.255.255",
        "fd00::",
        "::1",
    ]
