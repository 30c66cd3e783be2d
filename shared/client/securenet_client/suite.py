"""The three services as one."""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import Self

from securenet_client.connection import ConnectionSettings
from securenet_client.detection.aio import AsyncDetectionClient
from securenet_client.detection.client import DetectionClient
from securenet_client.registry.aio import AsyncRegistryClient
from securenet_client.registry.client import RegistryClient
from securenet_client.scanner.aio import AsyncScannerClient
from securenet_client.scanner.client import ScannerClient


class SecureNet:
    """Clients of all services; each connects when it is first used. A context manager.

    Args:
        settings: how to connect; the environment's by default.
    """

    def __init__(self, settings: ConnectionSettings | None = None) -> None:
        self.settings = settings or ConnectionSettings.from_environment()

    @cached_property
    def detection(self) -> DetectionClient:
        """The detection service."""
        return DetectionClient(settings=self.settings)

    @cached_property
    def scanner(self) -> ScannerClient:
        """The scanner."""
        return ScannerClient(settings=self.settings)

    @cached_property
    def registry(self) -> RegistryClient:
        """The model registry."""
        return RegistryClient(settings=self.settings)

    def close(self) -> None:
        """Closes what was opened."""
        for name in ("detection", "scanner", "registry"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncSecureNet:
    """The same for asyncio. Clients belong to the event loop in which they are first used."""

    def __init__(self, settings: ConnectionSettings | None = None) -> None:
        self.settings = settings or ConnectionSettings.from_environment()

    @cached_property
    def detection(self) -> AsyncDetectionClient:
        """The detection service."""
        return AsyncDetectionClient(settings=self.settings)

    @cached_property
    def scanner(self) -> AsyncScannerClient:
        """The scanner."""
        return AsyncScannerClient(settings=self.settings)

    @cached_property
    def registry(self) -> AsyncRegistryClient:
        """The model registry."""
        return AsyncRegistryClient(settings=self.settings)

    async def close(self) -> None:
        """Closes what was opened."""
        for name in ("detection", "scanner", "registry"):
            if name in self.__dict__:
                await self.__dict__.pop(name).close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()
