"""Resource names."""

from __future__ import annotations

import pytest

from securenet_core.exceptions import InvalidArgumentError
from securenet_registry.model import VersionReference, parse_model, parse_version

pytestmark = pytest.mark.unit


def test_models() -> None:
    assert parse_model("models/flow-threat") == "flow-threat"


NO_MODELS = ["", "models/", "models/A", "models/../x", "models/a/b", "models/-a", "models/\u0430", "models/a\n", "a"]


@pytest.mark.parametrize("name", [*NO_MODELS, "models/" + "a" * 64])
def test_no_models(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"models/\{model\}"):
        parse_model(name)


def test_versions_by_number_alias_and_digest() -> None:
    assert parse_version("models/a/versions/12") == VersionReference("a", number=12)
    assert parse_version("models/a/versions/champion") == VersionReference("a", alias="champion")
    digest = "0f" * 32
    assert parse_version(f"models/a/versions/sha256:{digest}") == VersionReference("a", digest=digest)


@pytest.mark.parametrize("version", ["", "-1", "1.0", "sha256:abc", "sha256:" + "F" * 64, "1234567890", "../2", "١"])
def test_no_versions(version: str) -> None:
    with pytest.raises(InvalidArgumentError, match="sha256"):
        parse_version(f"models/a/versions/{version}")
