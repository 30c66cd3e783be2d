"""Fixtures of databases. A test that asks for `database_url` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgresql import INSTALL, Cluster, programs, running_cluster

from securenet_core.sqlalchemy_database import sqlite_url


@pytest.fixture(scope="session")
def postgresql_cluster() -> Iterator[Cluster]:
    """A PostgreSQL of this run; skips where its programs are not installed."""
    folder = programs()
    if folder is None:
        pytest.skip(INSTALL)
    with running_cluster(folder) as cluster:
        yield cluster


@pytest.fixture
def postgresql_url(postgresql_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of an empty database on PostgreSQL."""
    name = re.sub(r"[^a-z0-9]+", "_", request.node.name.lower())[:40]
    with postgresql_cluster.database(f"{name}_{secrets.token_hex(4)}") as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database: once on SQLite, once on PostgreSQL."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "database.sqlite")
    url: str = request.getfixturevalue("postgresql_url")
    return url
