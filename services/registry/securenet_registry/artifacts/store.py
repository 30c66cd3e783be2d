"""The port to artifact storage: immutable blobs by digest, and small files of each version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Blob:
    """Stored bytes: SHA-256 in hex, and size."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A manifest as it is stored.

    Attributes:
        manifest: JSON bytes.
        signature: detached, ECDSA P-256 with SHA-256, DER.
        key_id: SHA-256 of the public key's DER form, in hex.
        bundle: OpenSSF Model Signing bundle, JSON; empty where none was made.
    """

    manifest: bytes
    signature: bytes
    key_id: str
    bundle: str = ""


class ArtifactStore(Protocol):
    """Where bytes lie. Every method may raise OSError where the storage fails."""

    def put(self, chunks: Iterable[bytes]) -> Blob:
        """Stores bytes under their digest; durable when it returns, and the same bytes twice are stored once."""

    def put_file(self, path: Path) -> Blob:
        """Stores a file's bytes."""

    def read(self, digest: str, offset: int = 0) -> Iterator[bytes]:
        """The bytes from an offset, in chunks of at most 1 MiB.

        Raises:
            DataLossError: there is no such blob, or it ends early.
        """

    def verify(self, digest: str) -> bool:
        """Whether the blob is there and its bytes have that digest."""

    def local_path(self, digest: str) -> Path:
        """A file with the blob's bytes, to be opened and never written.

        Raises:
            DataLossError: there is no such blob.
        """

    def put_manifest(self, tenant: str, model: str, version: int, signed: SignedManifest) -> None:
        """Stores a version's manifest with its signature; durable when it returns."""

    def manifest(self, tenant: str, model: str, version: int) -> SignedManifest:
        """A version's manifest.

        Raises:
            DataLossError: it is not there.
        """

    def versions(self, tenant: str) -> Iterator[tuple[str, int]]:
        """Model and number of each version of a tenant that has a manifest, in order."""

    def delete_manifest(self, tenant: str, model: str, version: int) -> None:
        """Removes a version's manifest; its blobs stay until a collection finds them unused."""
