"""What the registry can be told, as SECURENET_REGISTRY_* in the environment or in a TOML file.

Three names are those that MLflow's users know, and are read without the prefix too: MLFLOW_TRACKING_URI,
MLFLOW_EXPERIMENT_NAME and MODEL_STORAGE_PATH.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from securenet_core.settings import Port, ServerSettings
from securenet_registry.policies import PromotionPolicy

Bytes = Annotated[int, Field(ge=1024, le=1 << 44)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86_400)]


def _also(name: str) -> AliasChoices:
    return AliasChoices(f"SECURENET_REGISTRY_{name.upper()}", name.upper())


class RegistrySettings(ServerSettings):
    """Settings of the model registry service."""

    model_config = SettingsConfigDict(env_prefix="SECURENET_REGISTRY_", populate_by_name=True)

    port: Port = 50053
    """Port to listen on; 0 takes a free one."""

    database_url: str | None = None
    """SQLAlchemy URL of the registry's own database; absent: `registry.sqlite` in the data folder."""

    mlflow_tracking_uri: Annotated[str | None, Field(validation_alias=_also("mlflow_tracking_uri"))] = None
    """Where MLflow keeps runs and models: a database URL or a server; absent: `mlflow.sqlite` in the data folder."""

    mlflow_experiment_name: Annotated[
        str, Field(validation_alias=_also("mlflow_experiment_name"), pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    ] = "securenet-ml"
    """Prefix of the experiments; a tenant's is `<prefix>/<tenant>`."""

    model_storage_path: Annotated[Path | None, Field(validation_alias=_also("model_storage_path"))] = None
    """Folder of model artifacts; absent: `artifacts` in the data folder."""

    signing_key: Path | None = None
    """PEM file of the P-256 key that signs manifests; absent: `keys/signing.pem` in the data folder, made at the first
    start. The public key is written beside it, as `<name>.pub.pem`, for consumers to pin."""

    model_signing_bundle: bool = True
    """Also make an OpenSSF Model Signing bundle of each version; the library takes a second to load, once."""

    mirror_interval: Seconds = 15.0
    """Seconds between two looks whether MLflow is in step."""

    heartbeat: Seconds = 15.0
    """Seconds of silence after which a watcher gets a sign of life."""

    report_interval: Seconds = 60.0
    """Seconds within which consumers are to report what they serve; one that is silent for three times as long is
    taken for gone."""

    data_roots: tuple[Path, ...] = ()
    """Folders below which training data may lie. Empty: any while callers are on this machine (plaintext on loopback),
    none otherwise."""

    max_training_rows: Annotated[int, Field(ge=1, le=1 << 32)] = 5_000_000
    """Flows that one training may read."""

    max_training_bytes: Bytes = 16 << 30
    """Bytes of files that one training may read."""

    training_timeout: Seconds = 3600.0
    """Seconds that one training may take."""

    max_upload_bytes: Bytes = 1 << 30
    """Largest model that may be uploaded, in bytes."""

    tenant_quota_bytes: Bytes | None = None
    """Bytes that a tenant's versions and unfinished uploads may have in all; absent: no bound. What versions share
    counts once."""

    upload_expiry: Seconds = 86_400.0
    """Seconds after which an upload that nobody goes on with is forgotten."""

    promotion_policies: Annotated[tuple[PromotionPolicy, ...], Field(max_length=1000)] = ()
    """What promotions of which models need, such as `[{"model": "flow-*", "second_person": true}]`; of several that are
    about a model the first holds."""

    garbage_grace: Annotated[float, Field(ge=0, le=365 * 86_400)] = 86_400.0
    """Seconds for which bytes that no version refers to are kept, where a collection is not told otherwise."""

    inspection_timeout: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Seconds that the check of an uploaded model may take."""

    inspection_memory: Bytes = 4 << 30
    """Bytes of address space that the check of an uploaded model may use."""
