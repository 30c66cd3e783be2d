"""Runs the detection service: python -m securenet_detection."""

from __future__ import annotations

import sys

from securenet_core.processes import run_processes
from securenet_core.settings import load_or_exit
from securenet_detection.settings import DetectionSettings


def main() -> int:
    """Serves until SIGTERM or SIGINT."""
    settings = load_or_exit(DetectionSettings)
    return run_processes(settings, "securenet_detection", settings.processes)


if __name__ == "__main__":
    sys.exit(main())
