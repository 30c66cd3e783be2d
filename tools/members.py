"""Prints the folders of the workspace members that a deployable is made of: `python tools/members.py detection`.

The deployable itself comes last, after everything that it declares, directly or by way of others. One that is not of
this workspace (such as the MLflow server) has no members, and nothing is printed. Standard library only: images are
built with it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def projects(repository: Path = REPOSITORY) -> dict[str, Path]:
    """Folder of each workspace member by the name of its distribution."""
    found = {}
    for file in sorted([*repository.glob("shared/*/pyproject.toml"), *repository.glob("services/*/pyproject.toml")]):
        found[tomllib.loads(file.read_text(encoding="utf-8"))["project"]["name"]] = file.parent
    return found


def members(name: str, repository: Path = REPOSITORY) -> list[Path]:
    """Folders of `name` and of the members that it needs, those that others need first."""
    known = projects(repository)
    ordered: list[Path] = []

    def add(project: str) -> None:
        folder = known.get(project)
        if folder is None or folder in ordered:
            return
        for requirement in tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"].get(
            "dependencies", []
        ):
            match = re.match(r"[A-Za-z0-9._-]+", requirement)
            if match and match.group() != project:
                add(match.group())
        ordered.append(folder)

    add(f"securenet-{name}")
    return ordered


if __name__ == "__main__":
    for folder in members(sys.argv[1]):
        print(folder.relative_to(REPOSITORY).as_posix())
