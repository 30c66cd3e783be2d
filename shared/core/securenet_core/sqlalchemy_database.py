"""A service's own database: SQLite in one file, or PostgreSQL, by the same models and migrations."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

from securenet_core.health import Readiness

Result = TypeVar("Result")


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite:///{path}"


class Database:
    """Runs units of work in threads, one transaction each, never on the event loop.

    On SQLite there is one thread, because there is one writer; on PostgreSQL a small pool.

    Args:
        url: SQLAlchemy URL; the folder of an SQLite file is made if it is not there.
        migrations: folder of the service's Alembic migrations.
    """

    def __init__(self, url: str, migrations: Path) -> None:
        self.url = url
        self._migrations = migrations
        parsed = make_url(url)
        self._sqlite = parsed.get_backend_name() == "sqlite"
        if self._sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = _engine(url, sqlite=self._sqlite)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._threads = ThreadPoolExecutor(1 if self._sqlite else 8, thread_name_prefix="database")

    async def open(self) -> None:
        """Brings the schema up to date."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._migrate)

    async def run(self, work: Callable[[Session], Result]) -> Result:
        """Runs `work` in a transaction of its own, and answers after its commit."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.run_sync, work)

    def run_sync(self, work: Callable[[Session], Result]) -> Result:
        """As :meth:`run`, in the calling thread."""
        with self._sessions.begin() as session:
            return work(session)

    async def close(self) -> None:
        """Ends what runs, then lets go of every connection."""
        await asyncio.to_thread(self._threads.shutdown)
        self.engine.dispose()

    async def probe(self) -> Readiness:
        """Asks the database for its word."""
        await self.run(lambda session: session.execute(text("SELECT 1")).scalar_one())
        return Readiness(ready=True, detail=self.engine.dialect.name)

    def _migrate(self) -> None:
        with self.engine.connect() as connection:
            if _is_current(connection, self._migrations):
                return
        # Ten megabytes and a fifth of a second that a database which is up to date need not cost.
        from alembic import command  # noqa: PLC0415
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(self._migrations))
        with self.engine.begin() as connection:
            if not self._sqlite:
                # Replicas start together; one migrates, the others wait for it.
                connection.execute(text("SELECT pg_advisory_xact_lock(7305)"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


#: How a migration names itself and what it follows, in the one form that is read without loading Alembic.
_REVISION = re.compile(r'^(down_revision|revision)(?:: [^=]+)? = (?:"([^"]+)"|None)$', re.MULTILINE)


def _is_current(connection: Connection, migrations: Path) -> bool:
    """Whether the schema is that of the latest migration; False also where only Alembic itself could tell."""
    revisions: set[str] = set()
    followed: set[str] = set()
    for file in (migrations / "versions").glob("*.py"):
        names = dict(_REVISION.findall(file.read_text(encoding="utf-8")))
        if set(names) != {"revision", "down_revision"}:
            return False
        revisions.add(names["revision"])
        followed.add(names["down_revision"])
    heads = revisions - followed
    if len(heads) != 1 or not inspect(connection).has_table("alembic_version"):
        return False
    return set(connection.scalars(text("SELECT version_num FROM alembic_version"))) == heads


def _engine(url: str, *, sqlite: bool) -> Engine:
    if not sqlite:
        return create_engine(url, pool_size=8, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _set_up(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]  # a DBAPI connection has no common type
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine
