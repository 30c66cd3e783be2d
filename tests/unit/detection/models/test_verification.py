"""Verification: nothing is opened that the registry did not sign."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_core.exceptions import UnavailableError
from securenet_detection.models.interface import ModelRejectedError
from securenet_detection.models.verification import TrustedKey, file_digest, read_manifest

pytestmark = pytest.mark.unit


def test_what_the_key_signed_passes(key: Any, manifest: Any) -> None:
    data, signature = key.signed(manifest(b"x"))
    TrustedKey(key.path).check(data, signature, "k")
    assert file_digest(read_manifest(data), "derived/model.onnx")[1] == 1


def test_a_changed_byte_another_key_or_none_is_refused(key: Any, manifest: Any, tmp_path: Any) -> None:
    data, signature = key.signed(manifest(b"x"))
    with pytest.raises(ModelRejectedError, match="not signed"):
        TrustedKey(key.path).check(data + b" ", signature, "k")
    with pytest.raises(ModelRejectedError, match="not signed"):
        TrustedKey(key.path).check(data, b"", "")
    with pytest.raises(ModelRejectedError, match="model_trusted_key"):
        TrustedKey(None).check(data, signature, "k")


def test_a_key_that_is_not_there_yet_is_waited_for(tmp_path: Any) -> None:
    with pytest.raises(UnavailableError, match="model_trusted_key"):
        TrustedKey(tmp_path / "later.pem").check(b"", b"", "")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"schema": "other/9"}', b"[" * 100_000, b"\xff"])
def test_a_manifest_that_is_none_is_refused(data: Any) -> None:
    with pytest.raises(ModelRejectedError):
        read_manifest(data)


def test_a_file_that_was_not_signed_is_refused(manifest: Any) -> None:
    with pytest.raises(ModelRejectedError, match="stand in the manifest"):
        file_digest(manifest(b"x"), "../../etc/passwd")
