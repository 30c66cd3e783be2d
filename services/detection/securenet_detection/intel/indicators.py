"""What an indicator is, and how its text becomes the one form in which it is stored and looked up.

Addresses and networks become 16 bytes and a prefix length in IPv6's space, IPv4 mapped; names are lower case without
the root's dot; a URL is host, port where it is not the scheme's own, path and query, since a sensor sees no scheme;
fingerprints are lower case.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple
from urllib.parse import urlsplit


class IndicatorKind(IntEnum):
    """What an indicator is compared with. The numbers are those of the contract."""

    ADDRESS = 1
    NETWORK = 2
    DOMAIN = 3
    URL = 4
    JA3 = 5
    JA4 = 6
    CERTIFICATE_SHA256 = 7

    def __str__(self) -> str:
        return _NAMES[self]


_NAMES: Final = {
    IndicatorKind.ADDRESS: "address",
    IndicatorKind.NETWORK: "network",
    IndicatorKind.DOMAIN: "domain",
    IndicatorKind.URL: "URL",
    IndicatorKind.JA3: "JA3 fingerprint",
    IndicatorKind.JA4: "JA4 fingerprint",
    IndicatorKind.CERTIFICATE_SHA256: "certificate",
}

#: Flags of an entry: only names below the domain match; only the name itself does. Without either both do.
BELOW: Final = 1
EXACT: Final = 2

#: A network that is larger is a mistake or an attack on whoever believes the list: lengths for IPv4 and IPv6.
SHORTEST_PREFIX: Final = (8, 16)

#: Longest text of an indicator, in characters; a host and a request target of the contract fit.
LONGEST: Final = 2304

_IPV4_MAPPED: Final = b"\0" * 10 + b"\xff\xff"
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_HEX: Final = re.compile(r"[0-9a-f]+\Z")
_JA4: Final = re.compile(r"[tqd][0-9a-z]{2}[di][0-9]{4}[0-9a-z]{2}_[0-9a-f]{12}_[0-9a-f]{12}\Z")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,15}://", re.IGNORECASE)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ftp": 21}
#: What most domains look like: names that need no other look.
_PLAIN_DOMAIN: Final = re.compile(
    r"(?=.{4,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])\Z"
)
_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f]")


class IndicatorError(ValueError):
    """A text is no indicator; says what came and what was expected."""


class Key(NamedTuple):
    """The stored form: 16 bytes of an address or network with its prefix length, else the bytes of the text."""

    kind: IndicatorKind
    data: bytes
    prefix: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """How texts are to be understood.

    Attributes:
        kind: the only kind that is meant, where the source says it.
        assume_fingerprints: 32 and 64 hexadecimal digits are JA3 and certificate, though they might be a file's.
    """

    kind: IndicatorKind | None = None
    assume_fingerprints: bool = False


_GUESS: Final = Reading()


def read_key(text: str, reading: Reading = _GUESS) -> Key:
    """The stored form of a text, also of a defanged one.

    Raises:
        IndicatorError: it is nothing that flows can be compared with.
    """
    text = text.strip()
    if len(text) > LONGEST:
        raise IndicatorError(f"{len(text)} characters; at most {LONGEST} are read")
    if "[" in text or text[:4].lower() == "hxxp":
        text = _refang(text)
    kind = reading.kind
    if (kind is None or kind is IndicatorKind.DOMAIN) and _PLAIN_DOMAIN.match(text):
        return Key(IndicatorKind.DOMAIN, text.encode())
    if kind is None or kind <= IndicatorKind.NETWORK:
        address = pack_address(text)
        if address is not None:
            _check_address(address, text)
            return Key(IndicatorKind.ADDRESS, address, 128)
        network = _network(text)
        if network is not None:
            return network
    if kind is None:
        kind = _guess(text, reading)
    if kind is IndicatorKind.DOMAIN:
        return read_domain(text)
    if kind is IndicatorKind.URL:
        return _url(text)
    if kind <= IndicatorKind.NETWORK:
        raise IndicatorError(f"{_shown(text)}; expected an address or a network such as 192.0.2.0/24")
    return _fingerprint(text.lower(), kind)


def pack_address(text: str) -> bytes | None:
    """16 bytes of an address in text form, None for anything else."""
    try:
        return _IPV4_MAPPED + socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        pass
    if ":" not in text:
        return None
    try:
        return socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return None


def read_domain(text: str) -> Key:
    """The key of a domain: itself and what is below it; `*.name` is only what is below.

    Raises:
        IndicatorError: it is no domain, or a whole top-level domain.
    """
    flags = 0
    name = text.rstrip(".").lower()
    if name.startswith("*."):
        name, flags = name[2:], BELOW
    name = name.removeprefix(".")
    if not name.isascii():
        try:
            name = name[:253].encode("idna").decode()
        except UnicodeError:
            raise IndicatorError(f"{_shown(text)}; a name that IDNA cannot encode") from None
    labels = name.split(".")
    if len(name) > 253 or not all(map(_LABEL.match, labels)) or labels[-1].isdecimal():
        raise IndicatorError(f"{_shown(text)}; expected an address, a network, a domain, a URL or a fingerprint")
    if len(labels) < 2:
        raise IndicatorError(f"{_shown(text)} is a whole top-level domain or a bare host name")
    return Key(IndicatorKind.DOMAIN, name.encode(), 0, flags)


def key_text(key: Key) -> str:
    """What a person reads for a stored form."""
    if key.kind is IndicatorKind.ADDRESS:
        return _address_text(key.data)
    if key.kind is IndicatorKind.NETWORK:
        mapped = key.prefix >= 96 and key.data.startswith(_IPV4_MAPPED)
        return f"{_address_text(key.data)}/{key.prefix - 96 if mapped else key.prefix}"
    text = key.data.decode("utf-8", "replace")
    return f"*.{text}" if key.flags & BELOW else text


def _address_text(data: bytes) -> str:
    if data.startswith(_IPV4_MAPPED):
        return socket.inet_ntop(socket.AF_INET, data[12:])
    return socket.inet_ntop(socket.AF_INET6, data)


def _refang(text: str) -> str:
    text = text.replace("[.]", ".").replace("[:]", ":").replace("[://]", "://")
    return f"http{text[4:]}" if text[:4].lower() == "hxxp" else text


def _guess(text: str, reading: Reading) -> IndicatorKind:
    if _SCHEME.match(text):
        return IndicatorKind.URL
    lower = text.lower()
    if _JA4.match(lower):
        return IndicatorKind.JA4
    if len(text) in (32, 40, 64) and _HEX.match(lower):
        if reading.assume_fingerprints and len(text) != 40:
            return IndicatorKind.JA3 if len(text) == 32 else IndicatorKind.CERTIFICATE_SHA256
        raise IndicatorError(
            f"{_shown(text)}: {len(text)} hexadecimal digits may be a file's hash; name the kind of the feed if they "
            "are JA3 fingerprints or certificates"
        )
    if "/" in text:
        return IndicatorKind.URL
    return IndicatorKind.DOMAIN


def _network(text: str) -> Key | None:
    base, slash, length = text.partition("/")
    if not slash or not length.isdecimal() or len(length) > 3 or not length.isascii():
        return None
    packed = pack_address(base)
    if packed is None:
        return None
    ipv4 = ":" not in base
    bits = int(length)
    if bits > (32 if ipv4 else 128):
        raise IndicatorError(f"{_shown(text)}; a prefix has at most {32 if ipv4 else 128} bits")
    if bits < SHORTEST_PREFIX[not ipv4]:
        raise IndicatorError(f"{_shown(text)}; networks larger than /{SHORTEST_PREFIX[not ipv4]} are not believed")
    prefix = bits + 96 if ipv4 else bits
    if prefix == 128:
        _check_address(packed, text)
        return Key(IndicatorKind.ADDRESS, packed, 128)
    number = int.from_bytes(packed, "big") >> (128 - prefix) << (128 - prefix)
    return Key(IndicatorKind.NETWORK, number.to_bytes(16, "big"), prefix)


def _check_address(packed: bytes, text: str) -> None:
    if packed.startswith(_IPV4_MAPPED):
        first = packed[12]
        wrong = first in (0, 127) or first >= 224 or packed[12:14] == b"\xa9\xfe"
    else:
        wrong = packed[0] == 255 or packed[:15] == b"\0" * 15 or (packed[0] == 254 and packed[1] & 0xC0 == 0x80)
    if wrong:
        raise IndicatorError(f"{_shown(text)} is no host's address: unspecified, loopback, link-local or multicast")


def _url(text: str) -> Key:
    given = text if _SCHEME.match(text) else f"http://{text}"
    if _UNPRINTABLE.search(given):
        raise IndicatorError(f"{_shown(text)}; a URL holds neither spaces nor control characters")
    try:
        parts = urlsplit(given)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise IndicatorError(f"{_shown(text)}: {error}") from None
    if pack_address(host) is None:
        host = read_domain(host).data.decode() if "." in host else ""
    elif ":" in host:
        host = f"[{host}]"
    if not host or host.startswith("*"):
        raise IndicatorError(f"{_shown(text)}; expected a URL with a host")
    at = host if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f"{host}:{port}"
    query = f"?{parts.query}" if parts.query else ""
    return Key(IndicatorKind.URL, f"{at}{parts.path or '/'}{query}".encode("utf-8", "replace"))


def _fingerprint(text: str, kind: IndicatorKind) -> Key:
    text = text.replace(":", "") if kind is IndicatorKind.CERTIFICATE_SHA256 else text
    digits = {IndicatorKind.JA3: 32, IndicatorKind.CERTIFICATE_SHA256: 64}.get(kind)
    if not (_JA4.match(text) if digits is None else len(text) == digits and _HEX.match(text)):
        expected = "a JA4 such as t13d1516h2_8daaf6152771_b186095e22b6" if digits is None else f"{digits} hex digits"
        raise IndicatorError(f"{_shown(text)}; a {kind} is {expected}")
    return Key(kind, text.encode())


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}…")
