"""`securenet certs`: identities for development."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from securenet_client.cli.invocation import CommandError, Invocation, OutputFormat, add_command

_SERVICES: Final = ("detection", "scanner", "registry")
_TENANT: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_SUBJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")

Folder = Annotated[Path, typer.Option("--dir", help="Folder of the CA and its certificates.")]
Tenant = Annotated[str, typer.Option(help="Whose data it sees.")]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", help="reader, analyst, scanner-operator, model-publisher, admin; repeatable."),
]
Subject = Annotated[str, typer.Argument(help="Who it is.", metavar="SUBJECT")]


def register(application: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="A development CA, certificates and tokens. Not for production.", no_args_is_help=True)
    add_command(group, init, "init", examples=("securenet certs init --host 10.0.0.4",), connects=False)
    add_command(group, client, "client", examples=("securenet certs client alice --role analyst",), connects=False)
    add_command(
        group,
        token,
        "token",
        examples=("securenet certs token alice --role analyst --tokens tokens.toml",),
        connects=False,
    )
    application.add_typer(group, name="certs")


def init(
    run: Invocation,
    *,
    directory: Folder = Path("certs"),
    host: Annotated[
        list[str] | None, typer.Option(help="Further name or address of the servers; may be repeated.")
    ] = None,
    days: Annotated[int, typer.Option(help="How long certificates are valid.", min=1, max=3650)] = 365,
) -> None:
    """Make a CA, a certificate for each service (and localhost), and one for an admin."""
    from securenet_core.certificates import DevelopmentAuthority  # noqa: PLC0415 - start-up must be quick
    from securenet_core.principal import Principal, Role  # noqa: PLC0415 - likewise

    authority = DevelopmentAuthority(directory, days=days)
    made = {"ca": authority.ca.certificate}
    for service in _SERVICES:
        hosts = [service, "localhost", "127.0.0.1", "::1", *(host or ())]
        made[service] = authority.issue_server(service, hosts).certificate
    # Detection asks the registry for its model, as itself.
    made["detection-client"] = authority.issue_client(
        Principal("detection", "default", frozenset({Role.READER})), "detection-client"
    ).certificate
    made["admin"] = authority.issue_client(Principal("admin", "default", frozenset({Role.ADMIN})), "admin").certificate
    _show(run, {name: str(path) for name, path in made.items()})
    run.out.say(
        "TLS of detection (scanner and registry likewise):\n"
        f"  SECURENET_DETECTION_TLS_CERTIFICATE={made['detection']}\n"
        f"  SECURENET_DETECTION_TLS_KEY={directory / 'detection-key.pem'}\n"
        f"  SECURENET_DETECTION_TLS_CLIENT_CA={made['ca']}\n"
        "to ask it:\n"
        f"  securenet findings list --ca {made['ca']} --cert {made['admin']} --key {directory / 'admin-key.pem'}"
    )


def client(
    run: Invocation, subject: Subject, role: Roles = None, tenant: Tenant = "default", directory: Folder = Path("certs")
) -> None:
    """Make a client certificate of an existing CA."""
    from securenet_core.certificates import DevelopmentAuthority  # noqa: PLC0415 - start-up must be quick

    if not (directory / "ca-key.pem").exists():
        raise CommandError(f"{directory}: no CA is there; securenet certs init --dir {directory} makes one")
    files = DevelopmentAuthority(directory).issue_client(_principal(subject, tenant, role))
    _show(run, {"certificate": str(files.certificate), "key": str(files.key)})


def token(
    run: Invocation,
    *,
    subject: Subject,
    role: Roles = None,
    tenant: Tenant = "default",
    days: Annotated[int, typer.Option(help="How long it is valid.", min=1, max=3650)] = 90,
    tokens: Annotated[
        Path | None, typer.Option(help="Tokens file to add the entry to; shown only if not given.")
    ] = None,
) -> None:
    """Make a bearer token. It is shown once; the file that services read keeps only its digest."""
    principal = _principal(subject, tenant, role)
    secret = secrets.token_urlsafe(32)
    expires = (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
    roles = ", ".join(f'"{name}"' for name in sorted(principal.roles))
    entry = (
        f'[[tokens]]\nsha256 = "{hashlib.sha256(secret.encode()).hexdigest()}"\nsubject = "{subject}"\n'
        f'tenant = "{tenant}"\nroles = [{roles}]\nexpires = {expires.isoformat()}\n'
    )
    if tokens is not None:
        with os.fdopen(os.open(tokens, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
            file.write(f"\n{entry}")
    if run.out.form == OutputFormat.TABLE:
        run.out.say(entry if tokens is None else f"{tokens}: entry of {subject} added; restart the services to read it")
        print(secret)
    else:
        run.out.document({"token": secret, "entry": entry, "expires": expires.isoformat()})


def _principal(subject: str, tenant: str, roles: list[str] | None) -> Any:
    from securenet_core.principal import Principal, Role  # noqa: PLC0415 - start-up must be quick

    if not _SUBJECT.fullmatch(subject):
        raise CommandError(f"{subject!r}: expected letters, digits, . _ @ -, at most 64")
    if not _TENANT.fullmatch(tenant):
        raise CommandError(f"--tenant {tenant!r}: expected lower-case letters, digits and -, at most 63")
    try:
        return Principal(subject, tenant, frozenset(Role(role) for role in roles or ("analyst",)))
    except ValueError as error:
        raise CommandError(f"--role: {error}; expected {', '.join(Role)}") from error


def _show(run: Invocation, made: dict[str, str]) -> None:
    if run.out.form == OutputFormat.TABLE:
        run.out.table(list(made.items()), ("what", "file"))
    else:
        run.out.document(made)
