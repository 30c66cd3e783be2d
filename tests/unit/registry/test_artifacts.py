"""Blobs, manifests and signatures on disk."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from securenet_core.exceptions import DataLossError
from securenet_registry.artifacts.disk_store import DiskStore
from securenet_registry.artifacts.manifest import ArtifactFile, Manifest
from securenet_registry.artifacts.signing import Signer
from securenet_registry.artifacts.store import SignedManifest
from securenet_registry.training.evaluation import Metric

pytestmark = pytest.mark.unit


def test_a_blob_bears_its_digest_and_nobody_else_may_read_it(artifacts: DiskStore, tmp_path: Path) -> None:
    blob = artifacts.put([b"abc", b"def"])
    assert blob.digest == hashlib.sha256(b"abcdef").hexdigest()
    assert blob.size_bytes == 6
    place = artifacts.local_path(blob.digest)
    assert place == tmp_path / "artifacts/blobs/sha256" / blob.digest[:2] / blob.digest
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert b"".join(artifacts.read(blob.digest, 4)) == b"ef"
    assert artifacts.verify(blob.digest)
    place.write_bytes(b"abcdeF")
    assert not artifacts.verify(blob.digest)


def test_a_failed_write_leaves_nothing(artifacts: DiskStore, tmp_path: Path) -> None:
    def broken() -> object:
        yield b"abc"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        artifacts.put(broken())  # type: ignore[arg-type]  # a generator of bytes that breaks
    assert not list((tmp_path / "artifacts/incoming").iterdir())
    leftover = tmp_path / "artifacts/incoming/leftover"
    leftover.write_bytes(b"half")
    os.utime(leftover, (0, 0))
    DiskStore(tmp_path / "artifacts")
    assert not list((tmp_path / "artifacts/incoming").iterdir())


@pytest.mark.parametrize("digest", ["", "abc", "../" * 20, "A" * 64, "0" * 63 + "/"])
def test_digests_are_checked_before_they_become_paths(artifacts: DiskStore, digest: str) -> None:
    with pytest.raises(DataLossError, match="expected a SHA-256"):
        artifacts.local_path(digest)


def test_a_missing_blob_is_data_loss(artifacts: DiskStore) -> None:
    assert not artifacts.verify("0" * 64)
    with pytest.raises(DataLossError, match="not in the store"):
        next(artifacts.read("0" * 64))


def test_manifests_are_kept_with_their_signature(artifacts: DiskStore) -> None:
    signed = SignedManifest(b"{}", b"sig", "key", "bundle")
    artifacts.put_manifest("north", "flows", 3, signed)
    assert artifacts.manifest("north", "flows", 3) == signed
    # What a crash left before its version was committed gives way.
    artifacts.put_manifest("north", "flows", 3, SignedManifest(b"{1}", b"s", "k"))
    assert artifacts.manifest("north", "flows", 3).bundle == ""
    artifacts.delete_manifest("north", "flows", 3)
    artifacts.delete_manifest("north", "flows", 3)
    with pytest.raises(DataLossError, match="cannot be read"):
        artifacts.manifest("north", "flows", 3)
    with pytest.raises(DataLossError, match="expected lower-case"):
        artifacts.manifest("..", "flows", 3)


def test_the_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    key, public = tmp_path / "keys/signing.pem", tmp_path / "keys/signing.pub.pem"
    first = Signer(key, public)
    signature = first.sign(b"data")
    second = Signer(key, public)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert second.key_id == first.key_id
    assert second.verify(b"data", signature)
    assert not second.verify(b"datA", signature)
    assert not second.verify(b"data", b"junk")
    assert not Signer(tmp_path / "other.pem", tmp_path / "other.pub").verify(b"data", signature)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "rsa.pem").write_bytes(pem)
    with pytest.raises(TypeError, match="expected an EC key on the curve P-256"):
        Signer(tmp_path / "rsa.pem", tmp_path / "pub")


def test_manifests_round_trip() -> None:
    manifest = Manifest(
        tenant="north", model="flows", version=1, source="model.skops", format="skops",
        files=[ArtifactFile("model.skops", 3, "0" * 64)], metrics=[Metric("mcc", 0.5)], params={"a": "b"},
        feature_names=["a"], thresholds=[{"score": 0.5}],
    )  # fmt: skip
    assert Manifest.decode(manifest.encode()) == manifest
    assert manifest.file("model.skops") == manifest.files[0]
    assert manifest.file("absent") is None


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"schema": "securenet.manifest/2"}', b"\xff"])
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(DataLossError, match="manifest"):
        Manifest.decode(data)
