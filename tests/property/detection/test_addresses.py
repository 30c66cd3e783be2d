"""Addresses as text, against the standard library's slower way."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securenet_detection.behaviours.observation import address_text

pytestmark = pytest.mark.unit

ipv4 = st.ip_addresses(v=4).map(lambda address: bytes(10) + b"\xff\xff" + address.packed)
sparse = st.lists(st.sampled_from([0, 0, 0, 1, 255]), min_size=16, max_size=16).map(bytes)


@given(st.binary(min_size=16, max_size=16) | ipv4 | sparse)
def test_an_address_has_the_text_that_everybody_gives_it(packed: bytes) -> None:
    address = ipaddress.IPv6Address(packed)
    assert address_text(packed) == str(address.ipv4_mapped or address)
