"""Engineers' own tools work on every service without any .proto file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor import ServiceDescriptor
from service_process import ServiceProcess

from securenet.detection.v1 import detection_pb2
from securenet.registry.v1 import registry_pb2
from securenet.scanner.v1 import scanner_pb2

pytestmark = [pytest.mark.integration, pytest.mark.slow]

Services = Callable[[str], ServiceProcess]

#: A service, and a call of it that needs nothing: method, request, key of the answer.
CALLS = [
    ("detection", detection_pb2.DESCRIPTOR.services_by_name["DetectionService"], "ListDetectors", "detectors"),
    ("scanner", scanner_pb2.DESCRIPTOR.services_by_name["ScannerService"], "ListScopes", "scopes"),
    ("registry", registry_pb2.DESCRIPTOR.services_by_name["ModelRegistryService"], "ListModels", None),
]
NAMES = [name for name, *_ in CALLS]


def run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(("name", "service", "method", "key"), CALLS, ids=NAMES)
class TestBufCurl:
    """buf is locked with the developer's tools, so this runs everywhere."""

    CURL = (str(Path(sys.executable).with_name("buf")), "curl", "--http2-prior-knowledge", "--protocol", "grpc")

    def test_lists_every_method(
        self, services: Services, name: str, service: ServiceDescriptor, method: str, key: str | None
    ) -> None:
        url = f"http://{services(name).address}"
        listed = run(*self.CURL, "--list-methods", url).split()
        assert {f"{service.full_name}/{each.name}" for each in service.methods} <= set(listed)
        assert "grpc.health.v1.Health/Check" in listed

    def test_calls(
        self, services: Services, name: str, service: ServiceDescriptor, method: str, key: str | None
    ) -> None:
        url = f"http://{services(name).address}/{service.full_name}/{method}"
        for version in ("grpc-v1", "grpc-v1alpha"):
            answer = json.loads(run(*self.CURL, "--reflect-protocol", version, "-d", "{}", url))
            if key is not None:
                assert answer[key]


@pytest.mark.parametrize(("name", "service", "method", "key"), CALLS, ids=NAMES)
@pytest.mark.skipif(shutil.which("grpcurl") is None, reason="grpcurl is not installed; buf curl covers reflection")
class TestGrpcurl:
    """grpcurl is in no package registry that Python reads; where it is installed, it is tested."""

    def test_lists_describes_and_calls(
        self, services: Services, name: str, service: ServiceDescriptor, method: str, key: str | None
    ) -> None:
        address = services(name).address
        assert service.full_name in run("grpcurl", "-plaintext", address, "list").split()
        assert method in run("grpcurl", "-plaintext", address, "describe", service.full_name)
        answer = json.loads(run("grpcurl", "-plaintext", address, f"{service.full_name}/{method}"))
        if key is not None:
            assert answer[key]
