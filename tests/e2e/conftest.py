"""The composition, built and started once for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from composition import Composition, running_composition


@pytest.fixture(scope="session")
def composition(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composition]:
    """Everything of docker-compose.yml, healthy."""
    compose = os.environ.get("COMPOSE")
    if not compose:
        pytest.skip("no container engine was prepared; run: make e2e")
    folder = tmp_path_factory.mktemp("shared")
    folder.chmod(0o755)  # the containers' user is another one
    with running_composition(compose, folder, tmp_path_factory.mktemp("certificates")) as running:
        yield running
