"""Which members an image is made of."""

from __future__ import annotations

from pathlib import Path

import members
import pytest

pytestmark = pytest.mark.unit


def folders(name: str) -> list[str]:
    return [folder.relative_to(members.REPOSITORY).as_posix() for folder in members.members(name)]


@pytest.mark.parametrize("name", ["detection", "scanner", "registry"])
def test_a_service_comes_last_and_brings_no_other_service(name: str) -> None:
    found = folders(name)
    assert found[-1] == f"services/{name}"
    assert [folder for folder in found if folder.startswith("services/")] == [f"services/{name}"]
    assert {"shared/generated", "shared/core"} <= set(found)


def test_the_scanner_needs_no_flows() -> None:
    assert "shared/flows" not in folders("scanner")


def test_what_is_not_of_the_workspace_has_no_members() -> None:
    assert folders("mlflow") == []


def test_a_member_that_needs_itself_with_an_extra_is_listed_once(tmp_path: Path) -> None:
    for name, needs in {"a": ["securenet-b[x]>=1", "other"], "b": ["securenet-b"]}.items():
        folder = tmp_path / "shared" / name
        folder.mkdir(parents=True)
        (folder / "pyproject.toml").write_text(f'[project]\nname = "securenet-{name}"\ndependencies = {needs}\n')
    assert members.members("a", tmp_path) == [tmp_path / "shared/b", tmp_path / "shared/a"]
