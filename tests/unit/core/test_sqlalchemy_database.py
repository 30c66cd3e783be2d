"""A database brings its schema up to date, and loads Alembic only where there is something to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import inspect

from securenet_core.sqlalchemy_database import Database, sqlite_url

pytestmark = pytest.mark.unit

_ENVIRONMENT = """
from alembic import context
context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
"""

_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down}


def upgrade() -> None:
    op.create_table("t{revision}", sa.Column("id", sa.Integer, primary_key=True))
"""

_OPEN = """
import asyncio, sys
from pathlib import Path
from securenet_core.sqlalchemy_database import Database

async def main():
    database = Database(sys.argv[1], Path(sys.argv[2]))
    await database.open()
    assert (await database.probe()).ready
    await database.close()

asyncio.run(main())
print("alembic" in sys.modules)
"""


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(_ENVIRONMENT)
    add(folder, "0001", "None")
    return folder


def add(folder: Path, revision: str, down: str) -> None:
    (folder / "versions" / f"{revision}.py").write_text(_MIGRATION.format(revision=revision, down=down))


async def tables(url: str, migrations: Path) -> set[str]:
    database = Database(url, migrations)
    await database.open()
    found = set(inspect(database.engine).get_table_names())
    await database.close()
    return found


def loads_alembic(url: str, migrations: Path) -> bool:
    done = subprocess.run(
        [sys.executable, "-c", _OPEN, url, str(migrations)], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip() == "True"


async def test_later_migrations_are_applied_to_what_is_there(tmp_path: Path, migrations: Path) -> None:
    url = sqlite_url(tmp_path / "data" / "x.sqlite")
    assert await tables(url, migrations) == {"alembic_version", "t0001"}
    assert await tables(url, migrations) == {"alembic_version", "t0001"}
    add(migrations, "0002", '"0001"')
    assert await tables(url, migrations) == {"alembic_version", "t0001", "t0002"}


def test_a_database_that_is_up_to_date_opens_without_alembic(tmp_path: Path, migrations: Path) -> None:
    url = sqlite_url(tmp_path / "x.sqlite")
    assert loads_alembic(url, migrations)
    assert not loads_alembic(url, migrations)
    add(migrations, "0002", '"0001"')
    assert loads_alembic(url, migrations)
    assert not loads_alembic(url, migrations)


async def test_a_migration_in_another_form_is_left_to_alembic(tmp_path: Path, migrations: Path) -> None:
    url = sqlite_url(tmp_path / "x.sqlite")
    await tables(url, migrations)
    add(migrations, "0002", "'0001'")
    assert "t0002" in await tables(url, migrations)
