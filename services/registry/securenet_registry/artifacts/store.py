"""The port to artifact storage: immutable blobs by digest, and small files of each version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Blob:
    """Stored bytes: SHA-256 in hex, and size."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """Whose manifest it is: tenant, model, number."""

    tenant: str
    model: str
    version: int


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

    def hold(self) -> AbstractContextManager[None]:
        """Until the block ends, in whichever process, nothing that is stored from now on may be collected."""

    def collectable_before_ns(self, grace_ns: int) -> int:
        """Nanoseconds since the epoch: what was stored earlier may be collected, if nothing refers to it *after* this
        was asked. It lies so far back, and before every block that holds.
        """

    def blobs(self, before_ns: int) -> Iterator[Blob]:
        """Every blob that was stored before a time, and not once more since."""

    def manifests(self, before_ns: int) -> Iterator[StoredManifest]:
        """Every manifest of all tenants that was stored before a time."""

    def delete_blob(self, digest: str, before_ns: int) -> bool:
        """Removes a blob unless it was stored once more since that time; answers whether it went."""

    def delete_unfinished(self, before_ns: int) -> None:
        """Removes what was begun before a time and never got its name, as a crash leaves it."""
