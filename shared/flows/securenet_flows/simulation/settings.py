"""What a simulation is told: how long, how many hosts, how busy, and which attacks when."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from securenet_flows.simulation.exceptions import SimulationError

#: A Monday morning: short runs see the office at work, and a seed reproduces a file byte for byte.
DEFAULT_START: Final = datetime(2025, 3, 3, 8, 0, 0, tzinfo=UTC)

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhdw])")
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_MAX_TEXT: Final = 400


@dataclass(frozen=True, slots=True)
class ScheduledScenario:
    """One attack of a simulation.

    Attributes:
        name: a name of the scenario registry.
        offset_s: seconds after the start of the simulation.
        parameters: what differs from the scenario's defaults, as text.
    """

    name: str
    offset_s: float = 0.0
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> ScheduledScenario:
        """Reads `name`, `name@offset` or `name@offset:key=value,key=value`, as `beacon@10m:interval=60,jitter=0.2`.

        Names and parameters are checked when the simulation is set up, where the registry is known.

        Raises:
            SimulationError: the text has another form.
        """
        if len(text) > _MAX_TEXT:
            raise SimulationError("scenario", f"a text of {len(text)} characters", f"at most {_MAX_TEXT}")
        head, colon, tail = text.strip().partition(":")
        name, at, offset = head.partition("@")
        if not name or (at and not offset) or (colon and not tail):
            raise SimulationError("scenario", repr(text), "name, name@offset or name@offset:key=value,key=value")
        parameters: dict[str, str] = {}
        for item in tail.split(",") if tail else ():
            key, equals, value = (part.strip() for part in item.partition("="))
            if not equals or not key or not value:
                raise SimulationError(f"parameter of {name}", repr(item), "key=value")
            if key in parameters:
                raise SimulationError(f"parameter of {name}", f"{key} twice", "each parameter once")
            parameters[key] = value
        return cls(name.strip(), parse_duration(offset, f"offset of {name}") if at else 0.0, parameters)


@dataclass(frozen=True, slots=True)
class SimulationSettings:
    """One simulation. Equal settings give equal traffic, and adding a scenario leaves all other flows as they are.

    Attributes:
        seed: of everything random.
        start: time of the first moment, with a time zone; office hours are in UTC.
        duration_s: simulated seconds.
        hosts: internal hosts, of which 8 and a twelfth are servers and a twenty-fifth printers.
        rate: multiplies what people and programs do at random times. Regular things (NTP, monitoring, polling) keep
            their interval.
        ipv6_share: share of internal hosts that use IPv6 beside IPv4.
        scenarios: the attacks.

    Raises:
        SimulationError: a value is out of range.
    """

    seed: int = 1
    start: datetime = DEFAULT_START
    duration_s: float = 3600.0
    hosts: int = 50
    rate: float = 1.0
    ipv6_share: float = 0.3
    scenarios: tuple[ScheduledScenario, ...] = ()

    def __post_init__(self) -> None:
        checks = (
            ("seed", self.seed, 0, 2**63 - 1),
            ("duration_s", self.duration_s, 0.001, 10 * 366 * 86400),
            ("hosts", self.hosts, 12, 20_000),
            ("rate", self.rate, 0.0, 100.0),
            ("ipv6_share", self.ipv6_share, 0.0, 1.0),
        )
        for name, value, low, high in checks:
            if not low <= value <= high:
                raise SimulationError(name, str(value), f"{low} to {high}")
        if self.start.tzinfo is None or not 1971 <= self.start.year <= 2200:
            raise SimulationError("start", self.start.isoformat(), "a time with a zone, between 1971 and 2200")

    @property
    def start_us(self) -> int:
        """Microseconds since the epoch."""
        return int(self.start.replace(microsecond=0).timestamp()) * 1_000_000 + self.start.microsecond

    @property
    def end_us(self) -> int:
        """Microseconds since the epoch; no flow starts at it or after."""
        return self.start_us + round(self.duration_s * 1e6)


def parse_duration(text: str, what: str = "duration") -> float:
    """Seconds of `90`, `90s`, `1.5h`, `1h30m`, `2d`, `250ms`.

    Raises:
        SimulationError: the text has another form.
    """
    if _NUMBER.fullmatch(text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise SimulationError(what, repr(text), "seconds, or numbers with ms, s, m, h, d or w such as 90, 10m, 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
