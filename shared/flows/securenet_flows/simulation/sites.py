"""The outside: sites that the office uses, with invented names, addresses and sizes.

Names are made of words and ordinary top-level domains and addresses are drawn from the public unicast range, because a
detector that saw only `.example` and reserved networks would learn the reservation. Nothing is ever contacted; a
likeness to a real name or address is an accident. The servers of attackers are drawn by the same functions.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

import numpy as np

from securenet_flows.batch import Bool, Int8
from securenet_flows.simulation.application import fingerprint
from securenet_flows.simulation.table import Column, Floats, Objects

_FIRST: Final = (
    "amber", "arbor", "atlas", "birch", "blue", "bright", "cedar", "clear", "cloud", "coral", "crisp", "delta",
    "ember", "fern", "field", "flint", "fox", "gold", "grand", "green", "harbor", "hazel", "indigo", "ivory",
    "jade", "lake", "lark", "lemon", "lunar", "maple", "meadow", "mint", "north", "nova", "oak", "ocean", "olive",
    "opal", "orchard", "pearl", "pine", "plain", "prime", "quartz", "rapid", "raven", "red", "river", "rowan",
    "sage", "silver", "sky", "slate", "solar", "spruce", "star", "stone", "summit", "swift", "teal", "terra",
    "tidal", "topaz", "vale", "velvet", "violet", "west", "willow", "winter", "wren", "zen",
)  # fmt: skip
_SECOND: Final = (
    "ads", "analytics", "apps", "assets", "bank", "base", "blog", "books", "bridge", "cast", "cdn", "chat", "code",
    "craft", "data", "desk", "docs", "drive", "edge", "feed", "files", "forge", "forum", "gate", "goods", "grid",
    "group", "hub", "images", "info", "journal", "lab", "learn", "line", "link", "list", "mail", "maps", "market",
    "media", "metrics", "motors", "music", "news", "node", "notes", "page", "parts", "pay", "photo", "play",
    "point", "portal", "post", "press", "room", "search", "shop", "social", "soft", "space", "sports", "store",
    "stream", "studio", "supply", "sync", "systems", "tag", "tech", "ticket", "tools", "track", "trade", "travel",
    "tv", "video", "ware", "web", "wiki", "works",
)  # fmt: skip
_TLDS: Final = ("com", "com", "com", "com", "net", "net", "org", "io", "co.uk", "de", "fr", "eu", "app", "info")
_LABELS: Final = ("www", "www", "www", "api", "cdn", "static", "img", "", "", "app", "login", "assets", "m", "edge")
#: First octets that hold ordinary hosts: no private, shared, loopback, reserved or multicast block among them.
_OCTETS: Final = np.array([n for n in range(2, 224) if n not in {10, 100, 127, 169, 172, 192, 198, 203}])


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """Sites as columns, n of them.

    Attributes:
        name: host name.
        addresses, addresses6: (n, 4, 16), the addresses that its name resolves to, in IPv4-mapped form and in IPv6.
        answers, answers6: text of the first two of them, as a resolver answers.
        has6: whether it is reachable by IPv6.
        rtt: seconds to it.
        software: number of its server software, for TLS fingerprints.
        certificate: SHA-256 of its certificate.
        weight: relative popularity, summing to 1.
        size: mean of the logarithm of its answers, in bytes.
        dead: it no longer answers (a stale bookmark, a retired advertising host).
    """

    name: Objects
    addresses: Int8
    addresses6: Int8
    answers: Objects
    answers6: Objects
    has6: Bool
    rtt: Floats
    software: Column
    certificate: Objects
    weight: Floats
    size: Floats
    dead: Bool

    def __len__(self) -> int:
        return len(self.name)


def public_addresses(rng: np.random.Generator, count: int) -> Int8:
    """IPv4-mapped public unicast addresses (count, 16), spread over hosting networks as a few popular /16."""
    networks = np.stack([rng.choice(_OCTETS, 400), rng.integers(0, 256, 400)], axis=1)
    chosen = networks[np.minimum(rng.zipf(1.3, count) - 1, 399)]
    out = np.zeros((count, 16), dtype=np.uint8)
    out[:, 10:12] = 255
    out[:, 12:14] = chosen
    out[:, 14] = rng.integers(0, 256, count)
    out[:, 15] = rng.integers(1, 255, count)
    return out


def scattered_addresses(rng: np.random.Generator, count: int) -> Int8:
    """IPv4-mapped public unicast addresses (count, 16) uniformly at random, as a forger of sources draws them."""
    out = np.zeros((count, 16), dtype=np.uint8)
    out[:, 10:12] = 255
    out[:, 12] = rng.choice(_OCTETS, count)
    out[:, 13:] = rng.integers(0, 256, (count, 3))
    return out


def public_addresses6(rng: np.random.Generator, count: int) -> Int8:
    """Global unicast IPv6 addresses (count, 16)."""
    out = rng.integers(0, 256, (count, 16)).astype(np.uint8)
    out[:, :2] = np.array([[0x26, 0x06], [0x2A, 0x00], [0x24, 0x04], [0x28, 0x00]], dtype=np.uint8)[
        rng.integers(0, 4, count)
    ]
    out[:, 6:14] = 0
    out[:, 4:6] &= 0x0F
    return out


def site_names(rng: np.random.Generator, count: int) -> list[str]:
    """Distinct host names."""
    names: dict[str, None] = {}
    while len(names) < count:
        first, second = _FIRST[rng.integers(len(_FIRST))], _SECOND[rng.integers(len(_SECOND))]
        joint = "-" if rng.random() < 0.15 else ""
        digits = str(rng.integers(1, 100)) if rng.random() < 0.12 else ""
        label, tld = _LABELS[rng.integers(len(_LABELS))], _TLDS[rng.integers(len(_TLDS))]
        names[f"{label}{'.' if label else ''}{first}{joint}{second}{digits}.{tld}"] = None
    return list(names)


def make_sites(rng: np.random.Generator, count: int, *, dead_share: float = 0.0) -> Sites:
    """`count` sites, popularity falling as a power of the rank."""
    names = site_names(rng, count)
    addresses = public_addresses(rng, count * 4).reshape(count, 4, 16)
    addresses6 = public_addresses6(rng, count * 4).reshape(count, 4, 16)
    rank_weight = 1.0 / np.arange(1, count + 1) ** 0.9
    return Sites(
        name=np.array(names, dtype=object),
        addresses=addresses,
        addresses6=addresses6,
        answers=_answers(addresses),
        answers6=_answers(addresses6),
        has6=rng.random(count) < 0.45,
        rtt=np.clip(rng.lognormal(-3.9, 0.8, count), 0.002, 0.4),
        software=rng.integers(0, 40, count),
        certificate=np.array([fingerprint(name, "sha256") for name in names], dtype=object),
        weight=rank_weight / rank_weight.sum(),
        size=rng.normal(8.6, 1.1, count),
        dead=rng.random(count) < dead_share,
    )


def _answers(addresses: Int8) -> Objects:
    return np.array([",".join(_text(address) for address in row[:2]) for row in addresses], dtype=object)


def _text(address: Int8) -> str:
    return str(ipaddress.ip_address(address.tobytes() if address[:10].any() else address[12:].tobytes()))
