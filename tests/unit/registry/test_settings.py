"""Settings: the names that MLflow's users know, and the registry's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from securenet_core.exceptions import SettingsError
from securenet_core.settings import load
from securenet_registry.settings import RegistrySettings

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MODEL_STORAGE_PATH"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"SECURENET_REGISTRY_{name}", raising=False)


def test_defaults() -> None:
    settings = load(RegistrySettings)
    assert (settings.port, settings.mlflow_tracking_uri, settings.mlflow_experiment_name) == (
        50053,
        None,
        "securenet-ml",
    )


def test_both_spellings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("MODEL_STORAGE_PATH", "/models")
    settings = load(RegistrySettings)
    assert settings.mlflow_tracking_uri == "http://mlflow:5000"
    assert settings.model_storage_path == Path("/models")
    monkeypatch.setenv("SECURENET_REGISTRY_MLFLOW_TRACKING_URI", "sqlite:///x")
    assert load(RegistrySettings).mlflow_tracking_uri == "sqlite:///x"
    assert load(RegistrySettings, mlflow_tracking_uri="sqlite:///y").mlflow_tracking_uri == "sqlite:///y"


def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "no/slash")
    with pytest.raises(SettingsError, match="MLFLOW_EXPERIMENT_NAME"):
        load(RegistrySettings)
