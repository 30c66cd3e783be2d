"""Settings: where they come from, and what a wrong one says."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import SettingsConfigDict

from securenet_core.exceptions import SettingsError
from securenet_core.settings import ServerSettings, load, load_or_exit

pytestmark = pytest.mark.unit


class EchoSettings(ServerSettings):
    model_config = SettingsConfigDict(env_prefix="SECURENET_ECHO_")


def test_the_environment_counts_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "echo.toml"
    config.write_text('port = 1111\ngrace = 3.5\nlog_level = "debug"\n')
    monkeypatch.setenv("SECURENET_ECHO_CONFIG_FILE", str(config))
    monkeypatch.setenv("SECURENET_ECHO_PORT", "2222")
    settings = load(EchoSettings, log_level="error")
    assert (settings.port, settings.grace, settings.log_level) == (2222, 3.5, "error")


def test_a_wrong_value_names_variable_value_and_what_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURENET_ECHO_PORT", "70000")
    monkeypatch.setenv("SECURENET_ECHO_LOG_LEVEL", "loud")
    with pytest.raises(SettingsError) as caught:
        load(EchoSettings)
    lines = str(caught.value).splitlines()
    assert "SECURENET_ECHO_PORT: got '70000'; input should be less than or equal to 65535" in lines
    assert any(line.startswith("SECURENET_ECHO_LOG_LEVEL: got 'loud'; ") and "warning" in line for line in lines)


class Limits(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    rows_kept: int = Field(default=1, ge=1)


class NestedSettings(ServerSettings):
    model_config = SettingsConfigDict(env_prefix="SECURENET_NESTED_", env_nested_delimiter="__")

    limits: Limits = Limits()


def test_a_wrong_nested_value_names_the_variable_that_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "SECURENET_NESTED_LIMITS__ROWS_KEPT"
    monkeypatch.setenv(name, "0")
    with pytest.raises(SettingsError) as caught:
        load(NestedSettings)
    assert str(caught.value).startswith(f"{name}: got '0'; ")
    # The name in the message is the one that is read.
    monkeypatch.setenv(name, "7")
    assert load(NestedSettings).limits.rows_kept == 7


def test_an_unknown_nested_name_is_named_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURENET_NESTED_LIMITS__ROW_KEPT", "1")
    with pytest.raises(SettingsError, match="SECURENET_NESTED_LIMITS__ROW_KEPT: "):
        load(NestedSettings)


def test_an_unknown_name_in_the_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "echo.toml"
    config.write_text("prot = 1\n")
    monkeypatch.setenv("SECURENET_ECHO_CONFIG_FILE", str(config))
    with pytest.raises(SettingsError, match="SECURENET_ECHO_PROT"):
        load(EchoSettings)


def test_a_broken_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "echo.toml"
    config.write_text("port = = 1\n")
    monkeypatch.setenv("SECURENET_ECHO_CONFIG_FILE", str(config))
    with pytest.raises(SettingsError, match="SECURENET_ECHO_CONFIG_FILE"):
        load(EchoSettings)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_plaintext_off_loopback_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match=r"not loopback and TLS is off"):
        load(EchoSettings, host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_plaintext_on_loopback_is_allowed(host: str) -> None:
    assert load(EchoSettings, host=host).host == host


def test_tls_without_anybody_to_identify_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nobody could be identified"):
        load(EchoSettings, tls_certificate=tmp_path / "c", tls_key=tmp_path / "k")


def test_exit_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load_or_exit(EchoSettings, port=-1)
    assert caught.value.code == 2
    assert "SECURENET_ECHO_PORT" in capsys.readouterr().err
