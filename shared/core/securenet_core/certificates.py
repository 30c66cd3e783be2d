"""A development CA and the certificates that it signs: `securenet certs init`."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from securenet_core.principal import Principal


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a certificate and its key were written."""

    certificate: Path
    key: Path


class DevelopmentAuthority:
    """A CA for development and tests. Its key lies unencrypted beside it: not for production.

    Args:
        folder: where everything is written; made if it is not there.
        days: how long certificates are valid.
    """

    def __init__(self, folder: Path, *, days: int = 365) -> None:
        self.folder = folder
        self.ca = CertificateFiles(folder / "ca.pem", folder / "ca-key.pem")
        self._days = days
        folder.mkdir(parents=True, exist_ok=True)
        if self.ca.key.exists():
            self._key = _load_key(self.ca.key)
            self._certificate = x509.load_pem_x509_certificate(self.ca.certificate.read_bytes())
        else:
            self._key = ec.generate_private_key(ec.SECP256R1())
            self._certificate = self._make_ca()
            _write(self.ca.key, _key_pem(self._key), secret=True)
            _write(self.ca.certificate, self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue_server(self, name: str, hosts: Sequence[str]) -> CertificateFiles:
        """A server's certificate for the given host names and addresses."""
        names: list[x509.GeneralName] = [_general_name(host) for host in hosts]
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        return self._issue(builder, name, [ExtendedKeyUsageOID.SERVER_AUTH])

    def issue_client(self, principal: Principal, name: str | None = None) -> CertificateFiles:
        """A client's certificate: subject as common name, tenant as organisation, roles as organisational units."""
        attributes = [
            x509.NameAttribute(NameOID.COMMON_NAME, principal.subject),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, principal.tenant),
            *(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role) for role in sorted(principal.roles)),
        ]
        builder = self._builder(x509.Name(attributes))
        return self._issue(builder, name or principal.subject, [ExtendedKeyUsageOID.CLIENT_AUTH])

    def _make_ca(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SecureNet development CA")])
        public = self._key.public_key()
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=self._days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
                    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
                ),
                critical=True,
            )
            .sign(self._key, hashes.SHA256())
        )  # fmt: skip

    def _builder(self, subject: x509.Name) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._certificate.subject)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=self._days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _issue(
        self, builder: x509.CertificateBuilder, name: str, usages: list[x509.ObjectIdentifier]
    ) -> CertificateFiles:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            builder.public_key(key.public_key())
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        files = CertificateFiles(self.folder / f"{name}.pem", self.folder / f"{name}-key.pem")
        _write(files.key, _key_pem(key), secret=True)
        _write(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return files


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path}: a {type(key).__name__}; expected an elliptic curve key")  # noqa: TRY004 - a wrong file
    return key


def _write(path: Path, data: bytes, *, secret: bool = False) -> None:
    # Opened with its final mode, so that a key is at no moment readable by others.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if secret else 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
