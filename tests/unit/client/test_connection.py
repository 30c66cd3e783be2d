"""Where services are, by options, environment and defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from securenet_client.cli.invocation import CommandError, Invocation, parse_servers
from securenet_client.cli.output import Output
from securenet_client.connection import ConnectionSettings
from securenet_core.exceptions import InvalidArgumentError

pytestmark = pytest.mark.unit


def test_defaults_are_loopback_ports() -> None:
    settings = ConnectionSettings.from_environment({})

    assert [settings.address(name) for name in ("detection", "scanner", "registry")] == [
        "127.0.0.1:50051",
        "127.0.0.1:50052",
        "127.0.0.1:50053",
    ]


def test_the_environment_names_addresses_and_identity() -> None:
    settings = ConnectionSettings.from_environment(
        {"SECURENET_SCANNER_ADDRESS": "scanner:443", "SECURENET_CA": "ca.pem", "SECURENET_TOKEN": "secret"}
    )

    assert settings.address("scanner") == "scanner:443"
    assert settings.ca == Path("ca.pem")
    assert settings.channel("scanner").token == "secret"


@pytest.mark.parametrize("address", ["scanner", "scanner:", ":50052", "scanner:http"])
def test_an_address_without_port_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgumentError, match="expected host:port"):
        ConnectionSettings({"scanner": address}).channel("scanner")


def test_plaintext_does_not_leave_this_machine() -> None:
    with pytest.raises(InvalidArgumentError, match="loopback"):
        ConnectionSettings({"scanner": "192.0.2.1:50052"}).channel("scanner")


def test_one_server_is_that_of_the_command() -> None:
    assert parse_servers("127.0.0.1:9", ("scanner",)) == {"scanner": "127.0.0.1:9"}
    assert parse_servers("", ("scanner",)) == {}


def test_several_servers_are_named() -> None:
    found = parse_servers("detection=127.0.0.1:1, registry=[::1]:2", ("detection", "registry"))

    assert found == {"detection": "127.0.0.1:1", "registry": "[::1]:2"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [("127.0.0.1:9", "name each"), ("printer=127.0.0.1:9", "expected detection"), ("scanner=here", "host:port"),
     ("scanner=here:99999", "host:port")],
)  # fmt: skip
def test_a_wrong_server_is_said_so(text: str, reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        parse_servers(text, ("detection", "scanner"))


def test_options_go_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURENET_SERVER", "127.0.0.1:1")
    monkeypatch.setenv("SECURENET_TOKEN", "from-environment")
    run = Invocation(Output(), server="127.0.0.1:3")

    assert Invocation(Output()).connection("registry").address("registry") == "127.0.0.1:1"
    monkeypatch.setenv("SECURENET_REGISTRY_ADDRESS", "127.0.0.1:2")
    assert Invocation(Output()).connection("registry").address("registry") == "127.0.0.1:2"
    assert run.connection("registry").address("registry") == "127.0.0.1:3"
    assert run.connection("registry").token == "from-environment"
    assert Invocation(Output(), token="given").connection("registry").token == "given"
