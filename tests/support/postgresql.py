"""A real PostgreSQL for tests: a cluster in a scratch folder, by a socket in it, gone after.

It needs the server's programs, which Debian's package `postgresql` puts below /usr/lib/postgresql, or the folder that
SECURENET_POSTGRESQL_BIN names. The service that the package may start is not used.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

INSTALL = (
    "no PostgreSQL server programs: install Debian's package postgresql (apt-get install postgresql), "
    "or let SECURENET_POSTGRESQL_BIN name the folder with initdb and pg_ctl"
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that runs.

    Attributes:
        socket: folder of its socket; there is no TCP port.
    """

    socket: Path

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """SQLAlchemy URL of a new, empty database that is dropped after."""
        self._execute("CREATE DATABASE {}", name)
        try:
            yield f"postgresql+psycopg://securenet@/{name}?host={quote(str(self.socket))}"
        finally:
            self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def _execute(self, statement: str, name: str) -> None:
        where = f"host={self.socket} user=securenet dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, of the latest PostgreSQL that is installed; None where there is none."""
    named = os.environ.get("SECURENET_POSTGRESQL_BIN")
    folders = (
        [Path(named)]
        if named
        else sorted(
            Path("/usr/lib/postgresql").glob("*/bin"),
            key=lambda folder: [int(part) for part in folder.parent.name.split(".") if part.isdigit()],
            reverse=True,
        )
    )
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


@contextmanager
def running_cluster(bin_folder: Path) -> Iterator[Cluster]:
    """Makes and starts a cluster; stops and removes it after. Durability is off: nothing of it is to last.

    Raises:
        AssertionError: it does not start; with what it said.
    """
    # A socket's path has at most 107 characters; the folders of pytest are longer.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    user = _unprivileged()
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        data, log = folder / "data", folder / "log"
        _run(
            [
                str(bin_folder / "initdb"), "-D", str(data), "-U", "securenet", "-A", "trust", "-E", "UTF8",
                "--locale=C", "--no-sync",
            ],
            folder, user,
        )  # fmt: skip
        options = f"-k {folder} -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=200"
        control = [str(bin_folder / "pg_ctl"), "-D", str(data), "-w"]
        try:
            _run([*control, "-t", "60", "-l", str(log), "-o", options, "start"], folder, user)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{log.read_text() if log.exists() else ''}") from None
        try:
            yield Cluster(folder)
        finally:
            _run([*control, "-m", "immediate", "stop"], folder, user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom the server runs as where we are root, which it refuses to be; None: as ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _run(command: Sequence[str], folder: Path, user: pwd.struct_passwd | None) -> None:
    # What the server says goes to its log; a pipe would be held open by it for as long as it lives.
    said = folder / "said"
    with said.open("wb") as stream:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, check=False, timeout=120,
            user=user.pw_uid if user else None, group=user.pw_gid if user else None,
            extra_groups=[] if user else None, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": str(folder)},
        )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{said.read_text()[-4000:]}")
