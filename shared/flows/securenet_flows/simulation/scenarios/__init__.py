"""Attacks: one file for each kind, and the registry that the simulator goes through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from securenet_flows.simulation.scenarios import (
    beacon,
    cryptomining,
    dga,
    dns_tunnel,
    exfiltration,
    flood,
    horizontal_scan,
    lateral_movement,
    password_spray,
    rdp_brute_force,
    slow_scan,
    ssh_brute_force,
    vertical_scan,
)
from securenet_flows.simulation.scenarios.interface import Attack, Parameter, Scenario, Value

__all__ = ["SCENARIOS", "Attack", "Parameter", "Scenario", "Value"]

_ALL: Final = (
    beacon.SCENARIO,
    cryptomining.SCENARIO,
    dga.SCENARIO,
    dns_tunnel.SCENARIO,
    exfiltration.SCENARIO,
    exfiltration.SLOW,
    flood.DATAGRAMS,
    flood.SYNS,
    horizontal_scan.SCENARIO,
    lateral_movement.SCENARIO,
    password_spray.SCENARIO,
    rdp_brute_force.SCENARIO,
    slow_scan.SCENARIO,
    ssh_brute_force.SCENARIO,
    vertical_scan.SCENARIO,
)

#: Scenarios by name, in alphabetical order.
SCENARIOS: Final[Mapping[str, Scenario]] = {scenario.name: scenario for scenario in sorted(_ALL, key=lambda s: s.name)}
