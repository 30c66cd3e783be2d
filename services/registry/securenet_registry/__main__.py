"""Runs the registry: settings, container, serve."""

from __future__ import annotations

import sys

from securenet_core.serving import ServiceDefinition, run
from securenet_core.settings import load_or_exit
from securenet_registry.container import RegistryContainer
from securenet_registry.server import DESCRIPTOR, POLICY
from securenet_registry.settings import RegistrySettings

if __name__ == "__main__":
    definition = ServiceDefinition("registry", DESCRIPTOR, POLICY, RegistryContainer)
    sys.exit(run(load_or_exit(RegistrySettings), definition))
