"""What the scanner can be told, as SECURENET_SCANNER_* in the environment or in a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from securenet_core.settings import Port, ServerSettings

Count = Annotated[int, Field(ge=1, le=1 << 40)]
Seconds = Annotated[float, Field(gt=0, le=60)]


class ScannerSettings(ServerSettings):
    """Settings of the scanner service."""

    model_config = SettingsConfigDict(env_prefix="SECURENET_SCANNER_")

    port: Port = 50052
    """Port to listen on; 0 takes a free one."""

    database_url: str | None = None
    """SQLAlchemy URL of the scans, scopes and audit log; absent: `scanner.sqlite` in the data folder."""

    knowledge_file: Path | None = None
    """File of the knowledge base; absent: `knowledge.sqlite` in the data folder."""

    knowledge_roots: tuple[Path, ...] = ()
    """Folders below which feeds may be imported. Empty: every folder while callers are on this machine (plaintext on
    loopback), none otherwise."""

    knowledge_hosts: tuple[str, ...] = (
        "osv-vulnerabilities.storage.googleapis.com",
        "storage.googleapis.com",
        "www.cisa.gov",
        "epss.empiricalsecurity.com",
        "epss.cyentia.com",
    )
    """Hosts that feeds may be fetched from, over HTTPS."""

    knowledge_fetch_timeout: Seconds = 30.0
    """Seconds without a byte after which a fetch is given up."""

    max_feed_bytes: Count = 16 << 30
    """What one feed may expand to, in bytes."""

    loopback_scope: bool = True
    """Every tenant may scan this machine's loopback addresses."""

    max_running_scans: Annotated[int, Field(ge=1, le=64)] = 2
    """Scans that probe at once."""

    max_pending_scans: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Scans that may wait; above it the answer is RESOURCE_EXHAUSTED with RetryInfo."""

    max_addresses: Count = 65_536
    """Addresses of one scan."""

    max_probes: Count = 16_777_216
    """Addresses × ports of one scan."""

    max_rate: Annotated[int, Field(ge=0, le=1_000_000)] = 5_000
    """New connections a second of one scan that leaves this machine; 0 is no limit."""

    max_window: Annotated[int, Field(ge=1, le=65_536)] = 512
    """Connections of one scan in flight at once."""

    probe_timeout: Annotated[float, Field(ge=0.01, le=30)] = 1.0
    """Seconds to wait for one answer, where the scan does not say."""

    probe_retries: Annotated[int, Field(ge=0, le=5)] = 1
    """Further tries for a silent port of a host that answers elsewhere, where the scan does not say."""

    banner_timeout: Seconds = 4.0
    """Seconds for one port's banner, all questions together."""

    banner_connections: Annotated[int, Field(ge=1, le=4_096)] = 64
    """Banners of one scan asked for at once."""
