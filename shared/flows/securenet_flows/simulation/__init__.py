"""A traffic simulator: labelled Zeek logs of an office network, with attacks by scenario.

A tool to check that a pipeline sees an attack, and to try detectors on traffic whose every flow is known. It is not a
substitute for real captures: what each part models and what it leaves out stands in the parts' docstrings.
"""

from __future__ import annotations

from securenet_flows.simulation.exceptions import SimulationError
from securenet_flows.simulation.scenarios import SCENARIOS, Parameter, Scenario
from securenet_flows.simulation.settings import DEFAULT_START, ScheduledScenario, SimulationSettings, parse_duration
from securenet_flows.simulation.simulator import simulate
from securenet_flows.simulation.table import Flows, LogRecords
from securenet_flows.simulation.zeek_writer import SimulationProgress, SimulationSummary, write_zeek_logs

__all__ = [
    "DEFAULT_START",
    "SCENARIOS",
    "Flows",
    "LogRecords",
    "Parameter",
    "Scenario",
    "ScheduledScenario",
    "SimulationError",
    "SimulationProgress",
    "SimulationSettings",
    "SimulationSummary",
    "parse_duration",
    "simulate",
    "write_zeek_logs",
]
