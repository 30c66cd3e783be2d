"""From a call's credentials to a :class:`Principal`: bearer token, client certificate, or loopback."""

from __future__ import annotations

import hashlib
import re
import time
import tomllib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from securenet_core.exceptions import SettingsError, UnauthenticatedError
from securenet_core.principal import LOCAL, Principal, Role
from securenet_core.settings import ServerSettings

if TYPE_CHECKING:
    from cryptography import x509

TENANT_PATTERN: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_CERTIFICATES_REMEMBERED: Final = 1024


class CallContext(Protocol):
    """The part of a gRPC servicer context that carries credentials."""

    def invocation_metadata(self) -> Any:
        """Pairs of key and value."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Properties of the peer's TLS session."""


@dataclass(frozen=True, slots=True)
class _Token:
    principal: Principal
    expires: float


class Authenticator:
    """Says who calls.

    A bearer token counts first, then the certificate of a mutual TLS session; a plaintext loopback port without tokens
    takes everybody for :data:`LOCAL`.

    Args:
        tokens: principal and expiry by the SHA-256 of the token, in hexadecimal.
        mutual_tls: client certificates were checked by the transport.
        anonymous: who a caller without credentials is; None refuses it.
    """

    def __init__(self, tokens: Mapping[str, _Token], *, mutual_tls: bool, anonymous: Principal | None) -> None:
        self._tokens = dict(tokens)
        self._mutual_tls = mutual_tls
        self._anonymous = anonymous
        self._certificates: OrderedDict[bytes, Principal] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: ServerSettings) -> Authenticator:
        """The authenticator that `settings` describe.

        Raises:
            SettingsError: the tokens file cannot be read or holds something else than tokens.
        """
        tokens = _read_tokens(settings.tokens_file) if settings.tokens_file else {}
        plain = settings.tls_certificate is None and settings.tokens_file is None
        return cls(
            tokens,
            mutual_tls=settings.tls_client_ca is not None,
            anonymous=LOCAL if plain else None,
        )

    def identify(self, context: CallContext) -> Principal:
        """The caller.

        Raises:
            UnauthenticatedError: no credentials, or none that are known and valid.
        """
        if self._tokens:
            for key, value in context.invocation_metadata() or ():
                if key == "authorization":
                    return self._by_token(value)
        if self._mutual_tls:
            return self._by_certificate(context.auth_context())
        if self._anonymous is None:
            raise UnauthenticatedError(
                "no credentials; send metadata 'authorization: Bearer <token>'", reason="CREDENTIALS_MISSING"
            )
        return self._anonymous

    def _by_token(self, value: str | bytes) -> Principal:
        scheme, _, secret = (value if isinstance(value, str) else value.decode("latin-1")).partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise UnauthenticatedError(
                f"authorization: got scheme {scheme[:16]!r}; accepted is 'Bearer <token>'", reason="CREDENTIALS_INVALID"
            )
        # Tokens are random and only their digests are kept, so the look-up leaks nothing that helps to guess one.
        token = self._tokens.get(hashlib.sha256(secret.encode()).hexdigest())
        if token is None:
            raise UnauthenticatedError("authorization: the token is not known", reason="CREDENTIALS_INVALID")
        if token.expires < time.time():
            raise UnauthenticatedError("authorization: the token has expired", reason="CREDENTIALS_EXPIRED")
        return token.principal

    def _by_certificate(self, auth: Mapping[str, Iterable[bytes]]) -> Principal:
        pem = next(iter(auth.get("x509_pem_cert") or ()), None)
        if pem is None:
            raise UnauthenticatedError("no client certificate", reason="CREDENTIALS_MISSING")
        known = self._certificates.get(pem)
        if known is None:
            from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415 - 9 MB, for mutual TLS alone

            known = principal_of(load_pem_x509_certificate(pem))
            self._certificates[pem] = known
            if len(self._certificates) > _CERTIFICATES_REMEMBERED:
                self._certificates.popitem(last=False)
        return known


def principal_of(certificate: x509.Certificate) -> Principal:
    """Subject from the common name, tenant from the organisation, roles from the organisational units.

    Raises:
        UnauthenticatedError: one of them is missing or not a name of that kind.
    """
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - see above

    subject = _attributes(certificate, NameOID.COMMON_NAME)
    tenant = _attributes(certificate, NameOID.ORGANIZATION_NAME)
    roles = _attributes(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME)
    try:
        return _principal(subject[0] if subject else "", tenant[0] if tenant else "", roles)
    except ValueError as error:
        raise UnauthenticatedError(f"client certificate: {error}", reason="CREDENTIALS_INVALID") from error


def _attributes(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid)]


def _principal(subject: str, tenant: str, roles: Sequence[str]) -> Principal:
    if not subject or len(subject) > 255:
        raise ValueError("no subject; expected 1–255 characters")
    if not TENANT_PATTERN.fullmatch(tenant):
        raise ValueError(f"tenant {tenant[:64]!r}; expected {TENANT_PATTERN.pattern}")
    try:
        return Principal(subject, tenant, frozenset(Role(role) for role in roles))
    except ValueError:
        raise ValueError(f"roles {list(roles)!r}; each must be one of {', '.join(Role)}") from None


def _read_tokens(path: Path) -> dict[str, _Token]:
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("tokens", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"tokens_file {path}: {error}") from error
    tokens: dict[str, _Token] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            digest, token = _read_token(entry)
        except KeyError as error:
            raise SettingsError(f"tokens_file {path}: token {number} lacks {error}") from error
        except (TypeError, ValueError) as error:
            raise SettingsError(f"tokens_file {path}: token {number}: {error}") from error
        tokens[digest] = token
    return tokens


def _read_token(entry: Mapping[str, Any]) -> tuple[str, _Token]:
    digest = str(entry["sha256"]).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError("sha256 is not 64 hexadecimal digits")
    expires = entry.get("expires", datetime.max.replace(tzinfo=UTC))
    if not isinstance(expires, datetime) or expires.tzinfo is None:
        raise ValueError(f"expires {expires!r}; expected a date-time with an offset")
    return digest, _Token(_principal(str(entry["subject"]), str(entry["tenant"]), entry["roles"]), expires.timestamp())
