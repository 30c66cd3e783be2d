"""A gRPC process: settings, lifecycle, calls, errors, identity, health, telemetry and channels.

A service states a :class:`ServiceDefinition` and calls :func:`run`; what it needs is built by its
:class:`ServiceContainer`. Client code needs :mod:`securenet_core.channels` and :mod:`securenet_core.status` only, so
the names below are imported when they are first asked for: a command line must not wait for a server's libraries.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from securenet_core.authorization import Policy
    from securenet_core.containers import Runtime, ServiceContainer
    from securenet_core.health import Probe, Readiness
    from securenet_core.principal import Principal, Role, current_principal
    from securenet_core.serving import ExitCode, Server, ServiceDefinition, run
    from securenet_core.settings import ServerSettings, load, load_or_exit

# Read when gRPC is loaded. Its fork handlers run in the child that uvloop forks to start a program, and crash it now
# and then (7 of 90 starts) before the program begins. No child here uses gRPC between fork and exec: nothing is lost.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

__all__ = [
    "ExitCode",
    "Policy",
    "Principal",
    "Probe",
    "Readiness",
    "Role",
    "Runtime",
    "Server",
    "ServerSettings",
    "ServiceContainer",
    "ServiceDefinition",
    "current_principal",
    "load",
    "load_or_exit",
    "run",
]

_MODULES = {
    "authorization": ("Policy",),
    "containers": ("Runtime", "ServiceContainer"),
    "health": ("Probe", "Readiness"),
    "principal": ("Principal", "Role", "current_principal"),
    "serving": ("ExitCode", "Server", "ServiceDefinition", "run"),
    "settings": ("ServerSettings", "load", "load_or_exit"),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
