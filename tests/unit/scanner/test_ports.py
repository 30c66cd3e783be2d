"""Lists and profiles of ports."""

from __future__ import annotations

import pytest

from securenet_scanner.network.ports import PortProfile, PortsError, parse_ports, profile_ports

pytestmark = pytest.mark.unit


def test_numbers_and_ranges_in_the_order_given_and_once() -> None:
    assert parse_ports("443, 22,8000-8003,22") == (443, 22, 8000, 8001, 8002, 8003)
    assert len(parse_ports("1-65535")) == 65_535


@pytest.mark.parametrize("text", ["", "0", "65536", "22,", "a", "10-5", "1-", "-5", "²", "1" * 5000, "22;23"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(PortsError):
        parse_ports(text)


@pytest.mark.parametrize(
    ("profile", "size"), [(PortProfile.TOP_100, 100), (PortProfile.TOP_1000, 1000), (PortProfile.ALL, 65_535)]
)
def test_profiles_hold_what_their_names_say(profile: PortProfile, size: int) -> None:
    ports = profile_ports(profile)
    assert len(ports) == len(set(ports)) == size
    assert min(ports) >= 1
    assert max(ports) <= 65_535
    assert {22, 80, 443, 3389} <= set(ports)


def test_each_profile_begins_with_the_smaller_one() -> None:
    top = profile_ports(PortProfile.TOP_1000)
    assert top[:100] == profile_ports(PortProfile.TOP_100)
    assert profile_ports(PortProfile.ALL)[:1000] == top
