"""Prepares the composition, once before the services start, and again without harm: certificates, then databases.

`python prepare.py certificates` makes a development CA, a server and a client certificate for each service and one for
the operator, each in a volume of its own, so that a service can read its own keys and nobody else's. It also makes the
key that the registry signs models with, whose public half detection gets.
`python prepare.py databases` makes a role and a database for each part that keeps its state in PostgreSQL.
"""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from psycopg import sql

from securenet_core.certificates import CertificateFiles, DevelopmentAuthority
from securenet_core.principal import ALL_ROLES, Principal, Role

SERVICES = ("detection", "scanner", "registry")
#: Certificates are renewed when the composition starts with less than this left of them.
RENEW_BEFORE = timedelta(days=30)


def certificates(authority_folder: Path, issued: Path) -> None:
    """Issues what is missing or about to expire.

    Args:
        authority_folder: keeps the CA and its key; only this program has it.
        issued: holds one folder a service, and `operator`.
    """
    if _expires_soon(authority_folder / "ca.pem"):
        for file in authority_folder.glob("*.pem"):
            file.unlink()
    authority = DevelopmentAuthority(authority_folder)
    tenant = os.environ.get("SECURENET_TENANT", "default")
    for service in SERVICES:
        folder = issued / service
        if _is_current(folder, authority):
            continue
        _deliver(authority.issue_server(service, [service, "localhost", "127.0.0.1", "::1"]), folder, "server")
        _deliver(authority.issue_client(Principal(service, tenant, frozenset({Role.READER}))), folder, "client")
        _deliver_ca(authority, folder)
    operator = issued / "operator"
    if not _is_current(operator, authority):
        _deliver(authority.issue_client(Principal("operator", tenant, ALL_ROLES)), operator, "client")
        _deliver_ca(authority, operator)


def signing_key(issued: Path) -> None:
    """Makes the registry's signing key, once; it outlives certificates, since it vouches for models that are kept."""
    private, public = issued / "registry" / "signing.pem", issued / "registry" / "signing.pub.pem"
    if not public.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        private.touch(mode=0o600)
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        public.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    shutil.copyfile(public, issued / "detection" / "model-signing.pub.pem")


def databases(url: str, password: str) -> None:
    """Makes roles and databases named for the parts, each owner of its own; others may not even connect.

    Args:
        url: of a superuser's connection, as libpq takes it.
        password: of every role; it is set again if it changed.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        for name in (*SERVICES, "mlflow"):
            role = sql.Identifier(name)
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone():
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(password)))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
            connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(role))


def _is_current(folder: Path, authority: DevelopmentAuthority) -> bool:
    ca = folder / "ca.pem"
    same_ca = ca.exists() and ca.read_bytes() == authority.ca.certificate.read_bytes()
    return same_ca and not any(_expires_soon(folder / name) for name in ("server.pem", "client.pem"))


def _expires_soon(certificate: Path) -> bool:
    if not certificate.exists():
        return False
    end = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    return end < datetime.now(UTC) + RENEW_BEFORE


def _deliver(files: CertificateFiles, folder: Path, name: str) -> None:
    """Moves a certificate and its key out of the authority's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.move(files.key, folder / f"{name}-key.pem")
    shutil.move(files.certificate, folder / f"{name}.pem")


def _deliver_ca(authority: DevelopmentAuthority, folder: Path) -> None:
    # Comes last, so that a folder that was interrupted is not taken for current.
    shutil.copyfile(authority.ca.certificate, folder / "ca.pem")


def main() -> int:
    match sys.argv[1:]:
        case ["certificates"]:
            certificates(Path("/authority"), Path("/issued"))
            signing_key(Path("/issued"))
        case ["databases"]:
            databases(os.environ["PREPARE_DATABASE_URL"], os.environ["PREPARE_DATABASE_PASSWORD"])
        case wrong:
            sys.stderr.write(f"prepare: got {wrong}; expected certificates or databases\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
