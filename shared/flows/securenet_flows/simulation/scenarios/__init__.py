"""Attacks: one file for each scenario, and the registry that the simulator goes through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from securenet_flows.simulation.scenarios import beacon, horizontal_scan, ssh_brute_force
from securenet_flows.simulation.scenarios.interface import Attack, Parameter, Scenario, Value

__all__ = ["SCENARIOS", "Attack", "Parameter", "Scenario", "Value"]

_ALL: Final = (beacon.SCENARIO, horizontal_scan.SCENARIO, ssh_brute_force.SCENARIO)

#: Scenarios by name.
SCENARIOS: Final[Mapping[str, Scenario]] = {scenario.name: scenario for scenario in sorted(_ALL, key=lambda s: s.name)}
