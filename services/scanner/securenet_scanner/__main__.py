"""Runs the scanner: settings, container, serve."""

from __future__ import annotations

import sys

from securenet_core.serving import ServiceDefinition, run
from securenet_core.settings import load_or_exit
from securenet_scanner.container import ScannerContainer
from securenet_scanner.server import DESCRIPTOR, POLICY
from securenet_scanner.settings import ScannerSettings

if __name__ == "__main__":
    definition = ServiceDefinition("scanner", DESCRIPTOR, POLICY, ScannerContainer)
    sys.exit(run(load_or_exit(ScannerSettings), definition))
