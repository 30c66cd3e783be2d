"""Both clients offer every call that its service answers, in the same words."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Final

import pytest

import securenet_client

pytestmark = pytest.mark.unit

#: By another name, since the client does more than the call.
_RENAMED: Final = {"analyze_stream": "analyze_batches"}
#: Consumers of models report by themselves; the others are not answered yet.
_NOT_OFFERED: Final = {
    "detection": set[str](),
    "scanner": {"scan_inventory", "export_report"},
    "registry": {"report_serving"},
}
_CLIENTS: Final = {
    "detection": (securenet_client.DetectionClient, securenet_client.AsyncDetectionClient),
    "scanner": (securenet_client.ScannerClient, securenet_client.AsyncScannerClient),
    "registry": (securenet_client.RegistryClient, securenet_client.AsyncRegistryClient),
}


def calls(name: str) -> set[str]:
    """RPCs of a service, as a Python method would be called."""
    service = import_module(f"securenet.{name}.v1.{name}_pb2").DESCRIPTOR.services_by_name.values()
    names = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", method.name).lower() for one in service for method in one.methods}
    return {_RENAMED.get(found, found) for found in names}


@pytest.mark.parametrize("name", sorted(_CLIENTS))
@pytest.mark.parametrize("asynchronous", [False, True])
def test_every_call_is_offered(name: str, asynchronous: bool) -> None:
    client = _CLIENTS[name][asynchronous]
    assert {call for call in calls(name) if not hasattr(client, call)} == _NOT_OFFERED[name]


@pytest.mark.parametrize("name", sorted(_CLIENTS))
def test_both_clients_take_the_same_arguments(name: str) -> None:
    synchronous, asynchronous = _CLIENTS[name]
    for call in sorted(calls(name) - _NOT_OFFERED[name]):
        ours, theirs = (inspect.signature(getattr(client, call)).parameters for client in (synchronous, asynchronous))
        assert [(p.name, p.kind, p.default) for p in ours.values()] == [
            (p.name, p.kind, p.default) for p in theirs.values()
        ], call
