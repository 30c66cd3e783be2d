"""Typed clients of the SecureNet services, and the `securenet` command.

>>> from securenet_client import SecureNet
>>> with SecureNet() as net:
...     for flow in net.detection.analyze_file("conn.log"):
...         if flow.threat_level >= ThreatLevel.MEDIUM:
...             print(flow.src_ip, flow.dst_ip, flow.threat_level, flow.detectors)

Errors are those of :mod:`securenet_core.exceptions`. Names are imported when they are first asked for, because a
command line must not wait for gRPC to print its help.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from securenet_client.connection import ConnectionSettings
    from securenet_client.detection.aio import AsyncDetectionClient
    from securenet_client.detection.client import DetectionClient
    from securenet_client.detection.records import Flow, ThreatLevel
    from securenet_client.embedded import EmbeddedSuite
    from securenet_client.registry.aio import AsyncRegistryClient
    from securenet_client.registry.client import RegistryClient
    from securenet_client.scanner.aio import AsyncScannerClient
    from securenet_client.scanner.client import ScannerClient
    from securenet_client.suite import AsyncSecureNet, SecureNet

__all__ = [
    "AsyncDetectionClient",
    "AsyncRegistryClient",
    "AsyncScannerClient",
    "AsyncSecureNet",
    "ConnectionSettings",
    "DetectionClient",
    "EmbeddedSuite",
    "Flow",
    "RegistryClient",
    "ScannerClient",
    "SecureNet",
    "ThreatLevel",
]

_MODULES = {
    "AsyncDetectionClient": "detection.aio",
    "AsyncRegistryClient": "registry.aio",
    "AsyncScannerClient": "scanner.aio",
    "AsyncSecureNet": "suite",
    "ConnectionSettings": "connection",
    "DetectionClient": "detection.client",
    "EmbeddedSuite": "embedded",
    "Flow": "detection.records",
    "RegistryClient": "registry.client",
    "ScannerClient": "scanner.client",
    "SecureNet": "suite",
    "ThreatLevel": "detection.records",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
