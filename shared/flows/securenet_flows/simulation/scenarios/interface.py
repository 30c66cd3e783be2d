"""The plug point of attacks: a scenario says what it does, what can be set, and makes its flows in start-time order.

To add one, add a file that defines `SCENARIO` and name it in the package's registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from securenet_flows.batch import Int8, Int64
from securenet_flows.simulation.exceptions import SimulationError
from securenet_flows.simulation.office import Office
from securenet_flows.simulation.settings import parse_duration
from securenet_flows.simulation.sites import Sites, make_sites
from securenet_flows.simulation.table import Flows

#: The most flows that a scenario makes at once: what bounds memory.
PIECE: Final = 20_000

#: How far a piece may reach back behind the end of the one before: answers and follow-ups come later.
SLACK_US: Final = 1_000_000

#: What comes before the first event, such as the lookup of its address, has this much time.
LEAD_US: Final = 100_000

Value = float | str


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of a scenario.

    Attributes:
        name: key in the text form.
        default: a number, or one of `choices`.
        help: what it is, with its unit.
        low, high: bounds of a number.
        choices: accepted texts; a parameter with choices is a text.
        duration: a number of seconds that may be written as `10m`.
    """

    name: str
    default: Value
    help: str
    low: float = 0.0
    high: float = 1e9
    choices: tuple[str, ...] = ()
    duration: bool = False

    def read(self, text: str, scenario: str) -> Value:
        """The value of a text.

        Raises:
            SimulationError: it is not one of the choices, not a number or out of bounds.
        """
        what = f"parameter {self.name} of {scenario}"
        if self.choices:
            if text not in self.choices:
                raise SimulationError(what, repr(text), f"one of {', '.join(self.choices)}")
            return text
        try:
            value = parse_duration(text, what) if self.duration else float(text)
        except ValueError:
            raise SimulationError(what, repr(text), f"a number from {self.low:g} to {self.high:g}") from None
        if not self.low <= value <= self.high:
            raise SimulationError(what, text, f"{self.low:g} to {self.high:g}")
        return value


@dataclass(frozen=True, slots=True, eq=False)
class Attack:
    """One run of a scenario.

    Attributes:
        office: the network under attack.
        start_us, end_us: when it begins, and when the simulation ends.
        rng: its own source of randomness.
        values: its parameters, all of them.
    """

    office: Office
    start_us: int
    end_us: int
    rng: np.random.Generator
    values: Mapping[str, Value]

    def number(self, name: str) -> float:
        """A numeric parameter."""
        return float(self.values[name])

    def count(self, name: str) -> int:
        """A numeric parameter as a whole number."""
        return round(float(self.values[name]))

    def text(self, name: str) -> str:
        """A parameter with choices."""
        return str(self.values[name])

    def workstation(self) -> int:
        """A work station that the attacker holds."""
        return int(self.rng.choice(self.office.workstations))

    def outside(self, count: int = 1) -> Sites:
        """Servers of the attacker, drawn as every other site is."""
        return make_sites(self.rng, count)

    def until(self, seconds: float) -> int:
        """The time `seconds` after the start, or the end of the simulation if that comes first."""
        return min(self.end_us, self.start_us + round(seconds * 1e6))


@dataclass(frozen=True, slots=True)
class Scenario:
    """An attack that can be simulated.

    Attributes:
        name: its name in the registry and in the detailed label.
        summary: one line.
        techniques: ATT&CK technique ids.
        parameters: what can be set.
        generate: makes the flows, in pieces of at most about :data:`PIECE`, each sorted by start, each beginning less
            than :data:`SLACK_US` before the end of the one before it.
    """

    name: str
    summary: str
    techniques: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    generate: Callable[[Attack], Iterator[Flows]]

    def read(self, given: Mapping[str, str]) -> dict[str, Value]:
        """All parameters: those given, and defaults for the rest.

        Raises:
            SimulationError: a parameter is unknown or its value is not accepted.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                raise SimulationError(f"parameter of {self.name}", repr(name), f"one of {', '.join(known)}")
        return {n: p.read(given[n], self.name) if n in given else p.default for n, p in known.items()}

    def describe(self) -> dict[str, Any]:
        """Name, summary, techniques and parameters with defaults, for a listing."""
        return {
            "name": self.name,
            "summary": self.summary,
            "techniques": list(self.techniques),
            "parameters": [
                {"name": p.name, "default": p.default, "help": p.help, "choices": list(p.choices)}
                for p in self.parameters
            ],
        }


def paced(attack: Attack, count: int, interval_s: float, spread: float = 0.3) -> Iterator[tuple[int, Int64]]:
    """Times of `count` events `interval_s` apart on average, in pieces: (index of the first, times in µs).

    `spread` is the share of each gap that is exponential, the rest being constant. The first comes :data:`LEAD_US`
    after the start; events at the end of the simulation or after it are left out.
    """
    at = attack.start_us + LEAD_US
    for first in range(0, count, PIECE):
        size = min(PIECE, count - first)
        gaps = interval_s * ((1 - spread) + spread * attack.rng.exponential(1.0, size))
        steps = np.maximum((gaps * 1e6).astype(np.int64), 1)
        steps[0] = steps[0] if first else 0
        times = at + np.cumsum(steps)
        inside = times[times < attack.end_us]
        if len(inside):
            yield first, inside
        if len(inside) < size:
            return
        at = int(times[-1])


def repeat(address: Int8, count: int) -> Int8:
    """One (16,) address as (count, 16)."""
    return np.repeat(np.asarray(address)[None, :], count, axis=0)
