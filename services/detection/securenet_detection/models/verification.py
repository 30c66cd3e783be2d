"""Whether a manifest and its file are what the registry signed. Checked before anything is opened."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from securenet_core.exceptions import UnavailableError
from securenet_detection.models.interface import ModelRejectedError

#: Kind and version of manifest that is understood.
SCHEMA: Final = "securenet.manifest/1"


class TrustedKey:
    """The public key that signs models.

    Args:
        path: PEM file of a P-256 key, read at each use because the registry makes it at its own first start.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def check(self, manifest: bytes, signature: bytes, key_id: str) -> None:
        """Lets a manifest pass that the key signed: ECDSA with SHA-256.

        Raises:
            ModelRejectedError: another key signed it, or nobody.
            UnavailableError: the key is not there yet.
        """
        if self._path is None:
            raise ModelRejectedError("no key is trusted: set model_trusted_key", reason="NO_TRUSTED_KEY")
        try:
            key = serialization.load_pem_public_key(self._path.read_bytes())
        except (OSError, ValueError) as error:
            raise UnavailableError(f"model_trusted_key {self._path}: {error}") from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise UnavailableError(f"model_trusted_key {self._path}: {type(key).__name__}; expected an EC key")
        try:
            key.verify(signature, manifest, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise ModelRejectedError(
                f"the manifest is not signed by model_trusted_key (it names key {key_id[:16] or 'none'})",
                reason="BAD_SIGNATURE",
            ) from None


def read_manifest(data: bytes) -> Mapping[str, Any]:
    """The document of a manifest whose signature was checked.

    Raises:
        ModelRejectedError: it is none that is understood.
    """
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelRejectedError(f"manifest: {error}; expected JSON") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise ModelRejectedError(f"manifest: not of schema {SCHEMA}", reason="UNKNOWN_MANIFEST")
    return manifest


def file_digest(manifest: Mapping[str, Any], path: str) -> tuple[str, int]:
    """SHA-256 in hexadecimal and size in bytes that a manifest names for a file.

    Raises:
        ModelRejectedError: it does not know the file.
    """
    files = manifest.get("files")
    for file in files if isinstance(files, list) else ():
        if isinstance(file, dict) and file.get("path") == path:
            digest, size = file.get("digest"), file.get("size_bytes")
            if isinstance(digest, str) and isinstance(size, int):
                return digest, size
    raise ModelRejectedError(f"{path[:128]} does not stand in the manifest", reason="UNKNOWN_FILE")


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
