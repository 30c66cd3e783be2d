"""Signatures over manifests: ECDSA P-256 with SHA-256.

A manifest holds the digest of every file, so its signature vouches for all of them. It is detached and plain, beside
the OpenSSF bundle, because a consumer then needs `cryptography` alone: the Model Signing library brings sigstore along
and takes more than a second to import, which is too much for a service that scores flows.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Bundler(Protocol):
    """Makes an OpenSSF Model Signing bundle."""

    def bundle(self, files: Mapping[str, Path], private_key: Path) -> str:
        """The bundle over files, by their paths below the version; JSON."""


class Signer:
    """Signs with the registry's key and verifies with it.

    Args:
        private_key: PEM file of a P-256 key; made, with mode 0600, if it is not there.
        public_key: PEM file that the public key is written to, for consumers to pin.

    Raises:
        TypeError: the file holds another kind of key.
        ValueError: the file holds no key.
        OSError: a file cannot be read or written.
    """

    def __init__(self, private_key: Path, public_key: Path) -> None:
        self.private_key_file = private_key
        self._key = _load_or_create(private_key)
        public = self._key.public_key()
        self._public = public
        #: SHA-256 of the public key's DER form, in hex.
        self.key_id = key_id(public)
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        if not public_key.exists() or public_key.read_bytes() != pem:
            public_key.parent.mkdir(parents=True, exist_ok=True)
            public_key.write_bytes(pem)

    def sign(self, data: bytes) -> bytes:
        """Detached signature, DER."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether the signature over these bytes is ours."""
        try:
            self._public.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def key_id(public: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of a public key's DER form, in hex."""
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def _load_or_create(path: Path) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(pem)
            stream.flush()
            os.fsync(stream.fileno())
        aside.rename(path)
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TypeError(f"{path}: {type(key).__name__}; expected an EC key on the curve P-256")
    return key
