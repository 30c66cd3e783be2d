"""The plug point of benign traffic: an activity makes the flows of the whole office that begin in a slice of time.

To add one, add a file with a function of this form and name it in the package's registry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from securenet_flows.batch import Int64
from securenet_flows.simulation.office import Office
from securenet_flows.simulation.table import Column, Floats, Flows

_HOUR_US: Final = 3_600_000_000
#: Activity of people by hour of a working day, 1 at the busiest; at the weekend a tenth of it.
_HOURS: Final = np.array(
    [0.04, 0.03, 0.03, 0.03, 0.03, 0.05, 0.15, 0.45, 0.9, 1.0, 0.98, 0.92, 0.6, 0.85, 0.95, 0.9, 0.75, 0.45, 0.22, 0.14,
     0.1, 0.08, 0.06, 0.05],
)  # fmt: skip
#: Servers and programs have a rhythm too, but a flat one.
PEOPLE, MACHINES = "people", "machines"


def activity_level(time_us: Int64) -> Floats:
    """How busy people are at the given times (microseconds since the epoch), 0 to 1, interpolated between hours."""
    hour = time_us / _HOUR_US
    whole = np.floor(hour).astype(np.int64)
    part = hour - whole
    level = _HOURS[whole % 24] * (1 - part) + _HOURS[(whole + 1) % 24] * part
    weekday = (whole // 24 + 3) % 7  # the epoch was a Thursday
    return np.asarray(np.where(weekday >= 5, level * 0.1, level))


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """A stretch of time to fill, and what for.

    Attributes:
        office: whose traffic.
        start_us, end_us: flows begin here; those that follow from them may begin later.
        rng: of this activity in this slice.
        rate: multiplier of what happens at random.
    """

    office: Office
    start_us: int
    end_us: int
    rng: np.random.Generator
    rate: float

    def arrivals(self, hosts: Int64, per_hour: Column | float, rhythm: str = PEOPLE) -> tuple[Int64, Int64]:
        """Poisson arrivals: (host, time) of each, `per_hour` of each host at the busiest hour."""
        hours = (self.end_us - self.start_us) / _HOUR_US
        expected = np.broadcast_to(np.asarray(per_hour, dtype=np.float64), (len(hosts),)) * hours * self.rate
        who = np.repeat(hosts, self.rng.poisson(expected))
        when = self.rng.integers(self.start_us, self.end_us, len(who))
        level = activity_level(when) if rhythm == PEOPLE else 0.75 + 0.25 * activity_level(when)
        kept = self.rng.random(len(who)) < level
        return who[kept], when[kept]

    def ticks(self, hosts: Int64, interval_s: float, jitter_s: float = 0.0, shift: float = 0.0) -> tuple[Int64, Int64]:
        """Regular events: (host, time) of each; a host has its own phase, an event comes up to `jitter_s` late."""
        interval = round(interval_s * 1e6)
        phase = ((self.office.phase[hosts] + shift) % 1.0 * interval).astype(np.int64)
        first = self.start_us + (phase - self.start_us) % interval
        count = -(-(self.end_us - self.start_us) // interval)
        grid = first[:, None] + np.arange(count)[None, :] * interval
        inside = grid < self.end_us
        who = np.broadcast_to(hosts[:, None], grid.shape)[inside]
        when = grid[inside]
        return who, when + (self.rng.random(len(when)) * jitter_s * 1e6).astype(np.int64)


#: Makes the flows of one kind of benign traffic that begin in a slice, in any order.
Activity = Callable[[Slice], Flows]
