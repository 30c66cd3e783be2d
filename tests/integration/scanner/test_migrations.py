"""The migrations make exactly the tables that the models speak of."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import securenet_scanner
from securenet_core.sqlalchemy_database import Database
from securenet_scanner.scans.sqlalchemy_models import Base

pytestmark = pytest.mark.integration


async def test_migrations_and_models_agree(database_url: str) -> None:
    database = Database(database_url, Path(securenet_scanner.__file__).parent / "migrations")
    await database.open()
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    await database.open()  # a second time changes nothing
    await database.close()
