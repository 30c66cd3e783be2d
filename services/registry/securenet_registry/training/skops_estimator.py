"""The source form of a trained estimator: a skops file, of which every type is checked before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import skops.io

from securenet_registry.training.recipe import TREE_TYPES


def dump(estimator: Any, path: Path) -> None:
    """Writes an estimator."""
    skops.io.dump(estimator, path)


def load(path: Path) -> Any:
    """Reads an estimator that this registry wrote and whose digest was checked.

    Raises:
        skops.io.exceptions.UntrustedTypesFoundException: it holds a type that is not allowed.
    """
    return skops.io.load(path, trusted=list(TREE_TYPES))


def untrusted_types(path: Path) -> list[str]:
    """Types in a file that are neither on skops' own list nor tree types; nothing is built."""
    return [name for name in skops.io.get_untrusted_types(file=path) if name not in TREE_TYPES]
