"""A gRPC process: settings, lifecycle, calls, errors, identity, health, telemetry and channels.

A service states a :class:`ServiceDefinition` and calls :func:`run`; what it needs is built by its
:class:`ServiceContainer`. Client code needs :mod:`securenet_core.channels` and :mod:`securenet_core.status`.
"""

from securenet_core.authorization import Policy
from securenet_core.containers import Runtime, ServiceContainer
from securenet_core.health import Probe, Readiness
from securenet_core.principal import Principal, Role, current_principal
from securenet_core.serving import ExitCode, Server, ServiceDefinition, run
from securenet_core.settings import ServerSettings, load, load_or_exit

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
