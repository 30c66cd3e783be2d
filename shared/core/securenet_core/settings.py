"""Settings of a gRPC process: environment first, then an optional TOML file, then defaults.

A service subclasses :class:`ServerSettings`, sets its own prefix, and loads with :func:`load`. A wrong value names the
variable, what came and what is accepted.
"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from securenet_core.exceptions import SettingsError
from securenet_core.hosts import is_loopback

Port = Annotated[int, Field(ge=0, le=65535)]


class ServerSettings(BaseSettings):
    """What every service can be told. Names in the environment bear the service's prefix, in upper case."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on. Any address but loopback needs TLS."""

    port: Port = 0
    """Port to listen on; 0 takes a free one, and the log and `address_file` say which."""

    address_file: Path | None = None
    """File that gets `host:port` once the service listens, written atomically."""

    data_dir: Path = Path("data")
    """Folder of everything that the service keeps."""

    tls_certificate: Path | None = None
    """PEM file of the server's certificate chain; together with `tls_key` it turns TLS on."""

    tls_key: Path | None = None
    """PEM file of the server's private key."""

    tls_client_ca: Path | None = None
    """PEM file of the CA whose client certificates identify callers (mutual TLS). Without it callers need tokens."""

    tokens_file: Path | None = None
    """TOML file of bearer tokens: `[[tokens]]` with sha256, subject, tenant, roles and, if wanted, expires."""

    policy_file: Path | None = None
    """TOML file that overrides who may call which RPC: `[methods]` with `"package.Service/Method" = [roles]`."""

    grace: Annotated[float, Field(ge=0, le=600)] = 10.0
    """Seconds that calls in flight get to finish after SIGTERM."""

    max_in_flight: Annotated[int, Field(ge=1, le=1_000_000)] = 2048
    """Calls handled at once; above it the answer is RESOURCE_EXHAUSTED with RetryInfo."""

    max_message_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 16 << 20
    """Largest message accepted, in bytes."""

    reflection: bool = True
    """Answer gRPC reflection, v1 and v1alpha, so that grpcurl and buf curl work without files."""

    http_port: Port | None = None
    """Port of `/metrics` (Prometheus) and `/health` (JSON) on `http_host`; 0 takes a free one; absent: none."""

    http_host: str = "127.0.0.1"
    """Address of the HTTP endpoint. It answers without identity: keep it inside."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """One JSON object a line, or text; auto takes text on a terminal."""

    access_log: bool = True
    """Log one line a call."""

    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Part of the calls without a sampled parent that are traced. Only where `otlp_endpoint` is set."""

    otlp_endpoint: str | None = None
    """OpenTelemetry collector (OTLP over gRPC) that gets traces and metrics, such as http://localhost:4317."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the TOML file that `<PREFIX>CONFIG_FILE` names."""
        config_file = os.environ.get(f"{settings_cls.model_config.get('env_prefix', '')}CONFIG_FILE")
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        return (*sources, TomlConfigSettingsSource(settings_cls, Path(config_file))) if config_file else sources

    @model_validator(mode="after")
    def _safe_by_default(self) -> ServerSettings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together; one of them is not set")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        if self.tls_certificate is None and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} is not loopback and TLS is off; set tls_certificate and tls_key "
                "(securenet certs init makes them for development), or host 127.0.0.1"
            )
        if self.tls_certificate is not None and self.tls_client_ca is None and self.tokens_file is None:
            raise ValueError("TLS is on but nobody could be identified; set tls_client_ca or tokens_file")
        return self


SettingsType = TypeVar("SettingsType", bound=ServerSettings)


def load(settings: type[SettingsType], **values: Any) -> SettingsType:
    """The settings of this process.

    Args:
        settings: the service's class.
        values: take precedence over environment and file.

    Raises:
        SettingsError: something is wrong; the message names each variable, what came and what is accepted.
    """
    try:
        return settings(**values)
    except ValidationError as error:
        config = settings.model_config
        raise SettingsError("\n".join(_describe(config, problem) for problem in error.errors())) from error
    except (OSError, tomllib.TOMLDecodeError) as error:
        prefix = settings.model_config.get("env_prefix", "")
        raise SettingsError(f"{prefix}CONFIG_FILE: {error}") from error


def load_or_exit(settings: type[SettingsType], **values: Any) -> SettingsType:
    """Like :func:`load`, but ends the process with exit code 2 and the message on stderr."""
    try:
        return load(settings, **values)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error


def _describe(config: SettingsConfigDict, problem: Any) -> str:
    """One line about a problem, with the variable's name as the environment spells it, nested parts included."""
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return f"settings: {message}"
    delimiter = config.get("env_nested_delimiter") or "__"
    name = (config.get("env_prefix", "") + delimiter.join(str(part) for part in problem["loc"])).upper()
    return f"{name}: got {problem['input']!r}; {message[0].lower()}{message[1:]}"
