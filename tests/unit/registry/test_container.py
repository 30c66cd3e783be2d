"""Every provider builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from securenet_core.containers import Runtime
from securenet_registry.container import RegistryContainer
from securenet_registry.server import DESCRIPTOR, POLICY, ModelRegistryServicer
from securenet_registry.settings import RegistrySettings

pytestmark = pytest.mark.unit


async def test_wiring(tmp_path: Path) -> None:
    settings = RegistrySettings(
        data_dir=tmp_path, mlflow_tracking_uri="sqlite://", model_storage_path=tmp_path / "models"
    )
    container: Any = RegistryContainer(settings=settings, runtime=Runtime())
    await container.init_resources()
    servicer = await container.servicer()
    assert isinstance(servicer, ModelRegistryServicer)
    probes = await container.probes()
    readiness = {probe.name: await probe.check() for probe in probes}
    assert all(found.ready for found in readiness.values()), readiness
    await container.shutdown_resources()
    assert (tmp_path / "models" / "blobs").is_dir()


def test_every_rpc_has_its_roles_and_its_method() -> None:
    for method in DESCRIPTOR.methods:
        assert POLICY.roles(f"{DESCRIPTOR.full_name}/{method.name}")
        assert method.name in vars(ModelRegistryServicer)
