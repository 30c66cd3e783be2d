"""What the detection service can be told, as SECURENET_DETECTION_* in the environment or in a TOML file.

Settings of detectors are nested and stand in :mod:`.detector_settings`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from securenet_core.settings import Port, ServerSettings
from securenet_detection.detector_settings import DetectorSettings, Part


class IntelSettings(Part):
    """Where feeds of threat intelligence are kept, and how large they may be. A million addresses take 100 MB of
    memory, a million names 130 MB; while a feed is imported, three times as much."""

    folder: Path | None = None
    """Folder of every tenant's set; absent: `data_dir`/intel."""

    max_feed_bytes: Annotated[int, Field(ge=1024, le=2 << 30)] = 256 << 20
    """Largest feed, in bytes, also when it is unpacked."""

    max_json_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 64 << 20
    """Largest feed in JSON, in bytes; while it is read, it takes about ten times as much."""

    max_indicators: Annotated[int, Field(ge=1, le=100_000_000)] = 2_000_000
    """Most indicators of a tenant."""

    max_total_indicators: Annotated[int, Field(ge=1, le=400_000_000)] = 4_000_000
    """Most indicators of all tenants."""

    max_feeds: Annotated[int, Field(ge=1, le=4096)] = 256
    """Most feeds of a tenant."""


class LoadSettings(Part):
    """When work is left out or refused, in seconds that the work which waits will last."""

    shed_model_seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0
    """Above it the model is left out, and verdicts say so."""

    shed_details_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0
    """Above it evidence is left out as well; levels and scores stay."""

    refuse_seconds: Annotated[float, Field(gt=0, le=3600)] = 4.0
    """Above it calls and new streams answer RESOURCE_EXHAUSTED. A stream that was let in is held back instead."""

    waiting_rows: Annotated[int, Field(ge=1, le=1 << 24)] = 524_288
    """Flows that may wait at once, whatever they cost, about 200 bytes each; above it likewise. One call alone is
    always taken."""


class DetectionSettings(ServerSettings):
    """Settings of the detection service."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        env_prefix="SECURENET_DETECTION_",
        env_nested_delimiter="__",
    )

    port: Port = 50051
    """Port to listen on; 0 takes a free one, and the log and `address_file` say which."""

    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that serve the port together. A connection stays with one; the flows of a tenant's state are scored by
    the one that owns it. Process n, from 0, has its HTTP endpoint on `http_port` + n."""

    database_url: str | None = None
    """SQLAlchemy URL of findings and suppressions; absent: SQLite in `data_dir`/detection.sqlite."""

    registry: str | None = None
    """Address of the model registry, host:port; absent: rules and behaviours only."""

    registry_ca: Path | None = None
    """PEM file of the CA that signed the registry's certificate; absent: plaintext, loopback only."""

    registry_certificate: Path | None = None
    """PEM file of the client certificate that the registry knows this service by."""

    registry_key: Path | None = None
    """PEM file of its private key."""

    registry_token_file: Path | None = None
    """File that holds the bearer token for the registry."""

    model_name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")] = "flow-threat"
    """Model to serve."""

    anomaly_model_name: Annotated[str, Field(pattern=r"^([a-z][a-z0-9-]{0,62})?$")] = "flow-anomaly"
    """Anomaly model to serve beside it; empty follows none."""

    model_alias: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")] = "champion"
    """Alias whose version serves, of either model."""

    model_max_bytes: Annotated[int, Field(ge=1024, le=4 << 30)] = 256 << 20
    """Largest model artifact that is downloaded, in bytes."""

    model_trusted_key: Path | None = None
    """PEM file of the public key that the registry signs models with. Without it no model is served."""

    batch_limit: Annotated[int, Field(ge=1, le=65_536)] = 128
    """Most unary calls scored together."""

    batch_window: Annotated[float, Field(ge=0, le=0.1)] = 0.02
    """Longest wait, in seconds, of a unary call for others to share its batch; only while others keep coming."""

    chunk_rows: Annotated[int, Field(ge=64, le=16_384)] = 4096
    """Rows of a batch that are scored at a stretch before other calls get their turn."""

    stream_window: Annotated[int, Field(ge=1, le=64)] = 4
    """Batches of one stream that may be scored and not yet stored; above it the stream is not read further."""

    load: LoadSettings = LoadSettings()
    """When work is left out or refused."""

    finding_queue: Annotated[int, Field(ge=1, le=1_000_000)] = 65_536
    """Changes to findings waiting for the store; above it calls that make findings answer RESOURCE_EXHAUSTED."""

    risk_half_life_hours: Annotated[float, Field(ge=0.01, le=8760)] = 24.0
    """Hours, by the time of the flows, in which the risk of a finding that is not seen again halves."""

    retention_days: Annotated[float, Field(gt=0, le=36_500)] = 90.0
    """Days after which a finding that did not change is deleted."""

    retention_findings: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """Findings kept of a tenant; beyond it resolved ones go first, then suppressed ones, each the oldest first."""

    retention_labels: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """Analysts' verdicts kept of a tenant as training labels; they outlive their findings."""

    intel: IntelSettings = IntelSettings()
    """Feeds of threat intelligence."""

    detectors: DetectorSettings = DetectorSettings()
    """Thresholds and state of detectors."""
