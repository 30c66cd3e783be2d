"""Runs the registry: python -m securenet_registry."""

from __future__ import annotations

import sys

from securenet_core.serving import run
from securenet_core.settings import load_or_exit
from securenet_registry.container import DEFINITION
from securenet_registry.settings import RegistrySettings


def main() -> int:
    """Serves until SIGTERM or SIGINT."""
    return run(load_or_exit(RegistrySettings), DEFINITION)


if __name__ == "__main__":
    sys.exit(main())
