"""The `securenet` command line: a file for each group of commands. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys

from securenet_client.cli.application import make_application

__all__ = ["main", "make_application"]


def main() -> None:
    """Runs the command line of this process."""
    try:
        make_application()(prog_name="securenet")
    except KeyboardInterrupt:
        sys.exit(130)
