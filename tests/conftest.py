"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Named in a module, fixtures are found by every test below it.
from databases import database_url, postgresql_cluster, postgresql_url  # noqa: F401 - see above
from hypothesis import settings

# How long an example takes says something of the machine and its neighbours, and nothing of what is tested.
settings.register_profile("securenet", deadline=None)
settings.load_profile("securenet")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real captures and advisories, which does not belong to the tree.

    SECURENET_DATA_DIR names it; without that, `../shared/data` beside the repository. Tests that need it skip where it
    is absent.
    """
    folder = Path(os.environ.get("SECURENET_DATA_DIR") or REPOSITORY.parent / "shared" / "data")
    if not (folder / "flows").is_dir():
        pytest.skip(f"no captures at {folder}; SECURENET_DATA_DIR names the folder")
    return folder
