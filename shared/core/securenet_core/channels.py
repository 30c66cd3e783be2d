"""Client channels: TLS, credentials, retries and wait-for-ready, set up the same way everywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from securenet_core.hosts import is_loopback

#: UNAVAILABLE is answered before a call has changed anything, so it is safe to retry every method.
SERVICE_CONFIG: Final = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "waitForReady": False,
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """How to reach a service.

    Attributes:
        address: `host:port`.
        ca: PEM file of the CA that signed the server's certificate; None is plaintext, which only loopback may be.
        certificate: PEM file of the client's certificate, for mutual TLS.
        key: PEM file of its private key.
        token: bearer token.
        server_name: name to expect in the server's certificate where it is not the host of `address`.
        max_message_bytes: largest message accepted, in bytes.
    """

    address: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: str | None = None
    server_name: str | None = None
    max_message_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        host = self.address.rpartition(":")[0]
        if self.ca is None and not is_loopback(host):
            raise ValueError(f"{self.address} is not loopback; plaintext is refused, name the CA of its certificate")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together; one of them is missing")


def open_aio_channel(
    settings: ChannelSettings, interceptors: Sequence[grpc.aio.ClientInterceptor] = ()
) -> grpc.aio.Channel:
    """An asyncio channel; it connects at its first call.

    Raises:
        OSError: a certificate cannot be read.
    """
    credentials = _credentials(settings)
    if credentials is None:
        return grpc.aio.insecure_channel(settings.address, options=_options(settings), interceptors=interceptors)
    return grpc.aio.secure_channel(settings.address, credentials, options=_options(settings), interceptors=interceptors)


def open_channel(settings: ChannelSettings) -> grpc.Channel:
    """A synchronous channel; it connects at its first call.

    Raises:
        OSError: a certificate cannot be read.
    """
    credentials = _credentials(settings)
    if credentials is None:
        return grpc.insecure_channel(settings.address, options=_options(settings))
    return grpc.secure_channel(settings.address, credentials, options=_options(settings))


def call_metadata(settings: ChannelSettings) -> tuple[tuple[str, str], ...]:
    """Metadata to send with each call of a plaintext channel; over TLS the token travels as call credentials."""
    if settings.token is None or settings.ca is not None:
        return ()
    return (("authorization", f"Bearer {settings.token}"),)


def _credentials(settings: ChannelSettings) -> grpc.ChannelCredentials | None:
    if settings.ca is None:
        return None
    channel = grpc.ssl_channel_credentials(
        root_certificates=settings.ca.read_bytes(),
        private_key=settings.key.read_bytes() if settings.key else None,
        certificate_chain=settings.certificate.read_bytes() if settings.certificate else None,
    )
    if settings.token is None:
        return channel
    return grpc.composite_channel_credentials(channel, grpc.access_token_call_credentials(settings.token))


def _options(settings: ChannelSettings) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", SERVICE_CONFIG),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
    if settings.server_name:
        options.append(("grpc.ssl_target_name_override", settings.server_name))
    return options
