"""Which addresses are meant: CIDRs, ranges, addresses and host names, bounded, resolved once."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_TEXT = 255
MAX_RESOLVED = 64
"""Addresses taken from one name; more are an error, not a cut."""

_RESOLVING_SECONDS = 10.0
"""For all names of a scan together."""
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


class TargetError(ValueError):
    """A target that cannot be read, resolved or scanned; the message says what came and what was expected."""


@dataclass(frozen=True, slots=True)
class Span:
    """Addresses from `first` to `last`, both included, of one family."""

    first: Address
    last: Address
    host_name: str = ""
    """The name that it was resolved from, where it was one."""

    @property
    def size(self) -> int:
        """How many addresses; more than `len` may answer where somebody names all of IPv6."""
        return int(self.last) - int(self.first) + 1

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class HostName:
    """A name that is still to be resolved."""

    name: str


Resolver = Callable[[str], Awaitable[Sequence[str]]]
"""From a host name to its addresses in text form. Raises OSError where there are none."""


def unmapped(address: Address) -> Address:
    """The IPv4 address behind an IPv4-mapped IPv6 address; the operating system connects to that one."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_network(text: str) -> Network:
    """Read a CIDR or a single address, IPv4-mapped ones as the IPv4 that they are.

    Raises `TargetError`.
    """
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise TargetError(f"{text!r} is no network: {error}; expected a CIDR such as 10.1.0.0/16") from None
    if isinstance(network, ipaddress.IPv6Network):
        if network.network_address.scope_id is not None:
            raise TargetError(f"{text!r}: addresses with a zone are not scanned")
        if network.subnet_of(_MAPPED):
            low = unmapped(network.network_address)
            return ipaddress.IPv4Network((int(low), network.prefixlen - 96))
    return network


def parse_target(text: str) -> Span | HostName:
    """Read `10.0.0.0/24`, `10.0.0.1-10.0.0.9`, `10.0.0.1-9`, an address, or a host name.

    Raises `TargetError` and nothing else, whatever the text.
    """
    text = text.strip()
    if not text or len(text) > MAX_TEXT:
        raise TargetError(f"{len(text)} characters; expected 1 to {MAX_TEXT}")
    if "/" in text:
        network = parse_network(text)
        return _checked(Span(network[0], network[-1]), text)
    address = _address(text)
    if address is not None:
        return _checked(Span(address, address), text)
    left, dash, right = text.partition("-")
    first = _address(left.strip()) if dash else None
    if first is not None:
        return _checked(_range(first, right.strip(), text), text)
    return HostName(_host_name(text))


async def resolve(targets: Sequence[str], resolver: Resolver, max_addresses: int) -> tuple[Span, ...]:
    """The addresses of all targets, each name resolved exactly once, none twice in a row.

    Raises `TargetError` naming the target's place, where one cannot be read or resolved, or where there are more than
    `max_addresses` in all.
    """
    spans: dict[Span, None] = {}
    deadline = asyncio.get_running_loop().time() + _RESOLVING_SECONDS
    for place, text in enumerate(targets):
        try:
            target = parse_target(text)
            found = await _resolve(target, resolver, deadline) if isinstance(target, HostName) else (target,)
        except TargetError as error:
            raise TargetError(f"targets[{place}]: {error}") from None
        spans.update(dict.fromkeys(found))
        total = sum(span.size for span in spans)
        if total > max_addresses:
            raise TargetError(f"targets[{place}]: {total} addresses so far; at most {max_addresses} a scan")
    return tuple(spans)


async def _resolve(target: HostName, resolver: Resolver, deadline: float) -> tuple[Span, ...]:
    try:
        async with asyncio.timeout_at(deadline):
            texts = dict.fromkeys(await resolver(target.name))
    except TimeoutError:
        raise TargetError(f"{target.name!r}: no answer within {_RESOLVING_SECONDS:.0f} s for all names") from None
    except (OSError, UnicodeError) as error:
        raise TargetError(f"{target.name!r} cannot be resolved: {error}") from error
    if not 1 <= len(texts) <= MAX_RESOLVED:
        raise TargetError(f"{target.name!r} has {len(texts)} addresses; expected 1 to {MAX_RESOLVED}")
    spans = []
    for text in texts:
        address = _address(text)
        if address is None:
            raise TargetError(f"{target.name!r} resolves to {text!r}, which is no address")
        spans.append(_checked(Span(address, address, target.name), text))
    return tuple(dict.fromkeys(spans))


class AddressList:
    """The addresses of several spans as one list, without holding them."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = tuple(spans)
        self._ends = list(accumulate(span.size for span in self._spans))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Address:
        place = bisect_right(self._ends, index)
        span = self._spans[place]
        return span.first + (index - (self._ends[place] - span.size))


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise TargetError(f"{text!r}: addresses with a zone are not scanned")
    return unmapped(address)


def _range(first: Address, right: str, text: str) -> Span:
    last = _address(right)
    if (
        last is None
        and isinstance(first, ipaddress.IPv4Address)
        and right.isascii()
        and right.isdecimal()
        and len(right) <= 3
    ):
        octets = str(first).rpartition(".")[0]
        last = _address(f"{octets}.{int(right)}")
    if last is None:
        raise TargetError(f"{text!r}: expected an address, or a last octet, after the dash")
    if type(first) is not type(last) or int(first) > int(last):
        raise TargetError(f"{text!r}: a range goes from the lower address to the higher, of one family")
    return Span(first, last)


def _host_name(text: str) -> str:
    name = text.removesuffix(".")
    labels = name.split(".")
    # A last label of digits would be an address in one of the spellings that only old C libraries know (127.1, 0x7f.1).
    if not all(_LABEL.fullmatch(label) for label in labels) or re.fullmatch(r"(0[xX][0-9a-fA-F]*|[0-9]+)", labels[-1]):
        raise TargetError(f"{text!r}: expected a CIDR, a range, an address or a host name")
    return name


def _checked(span: Span, text: str) -> Span:
    """Refuse what is no host: connecting to 0.0.0.0 reaches this machine, and groups answer with many voices."""
    for address in (span.first, span.last):
        if address.is_unspecified or address.is_multicast or address == ipaddress.IPv4Address("255.255.255.255"):
            raise TargetError(f"{text!r}: {address} is no host's address")
    low, high = int(_MAPPED[0]), int(_MAPPED[-1])
    if isinstance(span.first, ipaddress.IPv6Address) and int(span.first) <= high and int(span.last) >= low:
        raise TargetError(f"{text!r}: holds IPv4-mapped addresses; name them as IPv4")
    return span
