"""What can go wrong with a simulation: settings that do not fit. Each message says what came and what is accepted."""

from __future__ import annotations

from securenet_flows.exceptions import FlowDataError


class SimulationError(FlowDataError):
    """A setting, a scenario or one of its parameters is not accepted."""

    def __init__(self, what: str, came: str, expected: str) -> None:
        super().__init__(f"{what}: {came}; expected {expected}")
        self.what = what
        self.came = came
        self.expected = expected
