"""The stored form of indicators."""

from __future__ import annotations

import pytest

from securenet_detection.intel.indicators import (
    IndicatorError,
    IndicatorKind,
    Reading,
    key_text,
    read_key,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("203.0.113.9", IndicatorKind.ADDRESS, "203.0.113.9"),
        ("::ffff:203.0.113.9", IndicatorKind.ADDRESS, "203.0.113.9"),
        ("2001:DB8::0:1", IndicatorKind.ADDRESS, "2001:db8::1"),
        ("203.0.113.9/32", IndicatorKind.ADDRESS, "203.0.113.9"),
        ("203.0.113.9/24", IndicatorKind.NETWORK, "203.0.113.0/24"),
        ("2001:db8::/32", IndicatorKind.NETWORK, "2001:db8::/32"),
        ("WWW.Evil.Example.", IndicatorKind.DOMAIN, "www.evil.example"),
        ("*.evil.example", IndicatorKind.DOMAIN, "*.evil.example"),
        ("evil[.]example", IndicatorKind.DOMAIN, "evil.example"),
        ("bücher.example", IndicatorKind.DOMAIN, "xn--bcher-kva.example"),
        ("hxxps://Evil.Example:443/A?b=c#d", IndicatorKind.URL, "evil.example/A?b=c"),
        ("http://evil.example:8080", IndicatorKind.URL, "evil.example:8080/"),
        ("evil.example/path", IndicatorKind.URL, "evil.example/path"),
        ("http://[2001:db8::1]/x", IndicatorKind.URL, "[2001:db8::1]/x"),
        ("t13d1516h2_8daaf6152771_b186095e22b6", IndicatorKind.JA4, "t13d1516h2_8daaf6152771_b186095e22b6"),
    ],
)
def test_texts_become_one_form(text: str, kind: IndicatorKind, shown: str) -> None:
    key = read_key(text)
    assert (key.kind, key_text(key)) == (kind, shown)


@pytest.mark.parametrize(
    "text",
    [
        "", "localhost", "com", "0.0.0.0", "127.0.0.1", "224.0.0.1", "::", "::1", "fe80::1", "169.254.1.1", "1.2.3",
        "1.2.3.4.5", "0.0.0.0/0", "10.0.0.0/7", "2001::/8", "203.0.113.0/33", "-a.example", "a..example", "a b.example",
        "x" * 3000, "http://", "http://host/", "http://evil.example:99999/", "a" * 64, "b" * 32, "\x00.example",
    ],
)  # fmt: skip
def test_what_is_no_indicator_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(IndicatorError) as caught:
        read_key(text)
    assert len(str(caught.value)) < 300


def test_a_named_kind_is_the_only_one() -> None:
    assert read_key("B" * 32, Reading(IndicatorKind.JA3)).data == b"b" * 32
    colons = ":".join(["ab"] * 32)
    assert read_key(colons, Reading(IndicatorKind.CERTIFICATE_SHA256)).data == b"ab" * 32
    for text, kind in (("evil.example", IndicatorKind.ADDRESS), ("203.0.113.9", IndicatorKind.DOMAIN)):
        with pytest.raises(IndicatorError):
            read_key(text, Reading(kind))
