"""The wiring builds, and the policy knows every RPC."""

from __future__ import annotations

from pathlib import Path

import pytest

from securenet_core.containers import Runtime
from securenet_core.exceptions import SettingsError
from securenet_core.health import Probe
from securenet_core.principal import Role
from securenet_core.settings import load
from securenet_scanner.container import ScannerContainer
from securenet_scanner.server import DESCRIPTOR, POLICY, ScannerServicer
from securenet_scanner.settings import ScannerSettings

pytestmark = pytest.mark.unit


async def test_every_provider_builds_and_closes(tmp_path: Path) -> None:
    container = ScannerContainer(settings=load(ScannerSettings, data_dir=tmp_path), runtime=Runtime())
    await container.init_resources()  # type: ignore[misc]  # a future, because resources are asynchronous
    servicer = await container.servicer()  # type: ignore[misc]  # likewise
    probes = await container.probes()  # type: ignore[misc]  # likewise
    assert isinstance(servicer, ScannerServicer)
    found = {probe.name: await probe.check() for probe in probes if isinstance(probe, Probe)}
    assert found["database"].ready
    assert not found["knowledge"].ready
    assert [probe.name for probe in probes if isinstance(probe, Probe) and probe.required] == ["database"]
    await container.shutdown_resources()  # type: ignore[misc]  # likewise
    assert (tmp_path / "scanner.sqlite").exists()


def test_every_rpc_has_roles() -> None:
    for method in DESCRIPTOR.methods:
        assert POLICY.roles(f"{DESCRIPTOR.full_name}/{method.name}"), method.name
    assert POLICY.roles(f"{DESCRIPTOR.full_name}/CreateScope") == {Role.ADMIN}
    assert Role.READER not in POLICY.roles(f"{DESCRIPTOR.full_name}/StartScan")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURENET_SCANNER_MAX_RUNNING_SCANS", "7")
    monkeypatch.setenv("SECURENET_SCANNER_KNOWLEDGE_ROOTS", '["/feeds"]')
    settings = load(ScannerSettings)
    assert (settings.port, settings.max_running_scans, settings.knowledge_roots) == (50052, 7, (Path("/feeds"),))
    monkeypatch.setenv("SECURENET_SCANNER_MAX_RUNNING_SCANS", "0")
    with pytest.raises(SettingsError, match="SECURENET_SCANNER_MAX_RUNNING_SCANS: got '0'"):
        load(ScannerSettings)
