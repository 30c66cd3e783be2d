"""Puts the office and the attacks on one time line, in pieces of bounded size.

Every activity and every attack has its own source of randomness, derived from the seed and its name. Therefore the same
seed gives the same flows whatever the length, and the office with an attack is the office without it plus the attack's
flows: a pair of runs shows what a detector makes of the attack alone.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from securenet_flows.simulation.activities import ACTIVITIES, Slice
from securenet_flows.simulation.exceptions import SimulationError
from securenet_flows.simulation.office import Office, is_local, make_office
from securenet_flows.simulation.scenarios import SCENARIOS, Attack, Scenario, Value
from securenet_flows.simulation.scenarios.interface import SLACK_US
from securenet_flows.simulation.settings import ScheduledScenario, SimulationSettings
from securenet_flows.simulation.table import Column, Flows

#: About how many flows of the office are made at once; with the attacks' pieces this is what bounds memory.
_OFFICE_PIECE: Final = 30_000
_FLOWS_PER_HOST_HOUR: Final = 500
_BASE62: Final = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", dtype=np.uint8)


def simulate(settings: SimulationSettings) -> Iterator[Flows]:
    """The flows of a simulation in start-time order, as tables of some ten thousand rows.

    Scenarios are checked at the call, before the first flow is asked for.

    Raises:
        SimulationError: a scenario or one of its parameters is unknown or not accepted, or begins after the end.
    """
    attacks = [(scheduled, *_resolve(scheduled, settings)) for scheduled in settings.scenarios]
    office = make_office(settings)
    streams = [_office_stream(settings, office)]
    seen: Counter[str] = Counter()
    for scheduled, scenario, values in attacks:
        number = seen[scenario.name]
        streams.append(
            _attack_stream(settings, office, scenario, values=values, offset_s=scheduled.offset_s, number=number)
        )
        seen[scenario.name] += 1
    return _merge(streams)


def _resolve(scheduled: ScheduledScenario, settings: SimulationSettings) -> tuple[Scenario, dict[str, Value]]:
    if scheduled.name not in SCENARIOS:
        raise SimulationError("scenario", repr(scheduled.name), f"one of {', '.join(SCENARIOS)}")
    if not 0 <= scheduled.offset_s < settings.duration_s:
        raise SimulationError(
            f"offset of {scheduled.name}",
            f"{scheduled.offset_s:g} s",
            f"0 to less than the duration of {settings.duration_s:g} s",
        )
    scenario = SCENARIOS[scheduled.name]
    return scenario, scenario.read(scheduled.parameters)


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Flows in order, and the time before which its stream will make no more."""

    flows: Flows
    until_us: int


def _rng(seed: int, name: str, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode()), number])


def _office_stream(settings: SimulationSettings, office: Office) -> Iterator[_Piece]:
    per_second = settings.hosts * max(settings.rate, 0.2) * _FLOWS_PER_HOST_HOUR / 3600
    length = round(min(max(_OFFICE_PIECE / per_second, 0.05), 3600.0) * 1e6)
    pending = Flows.empty()
    uids = _rng(settings.seed, "uids of the office", 0)
    for number, start in enumerate(range(settings.start_us, settings.end_us, length)):
        end = min(start + length, settings.end_us)
        made = [pending]
        for name, activity in ACTIVITIES.items():
            # A slice is filled to its full length, so that a longer run begins with the flows of a shorter one.
            part = Slice(office, start, start + length, _rng(settings.seed, name, number), settings.rate)
            made.append(_stamp(activity(part), uids, detail=name, malicious=False))
        flows = Flows.concatenate(made).in_order()
        cut = int(np.searchsorted(flows["start_us"], end))
        pending = flows.take(np.arange(cut, len(flows)))
        yield _Piece(flows.take(np.arange(cut)), end)


def _attack_stream(
    settings: SimulationSettings,
    office: Office,
    scenario: Scenario,
    *,
    values: dict[str, Value],
    offset_s: float,
    number: int,
) -> Iterator[_Piece]:
    rng = _rng(settings.seed, scenario.name, number)
    uids = _rng(settings.seed, f"uids of {scenario.name}", number)
    attack = Attack(office, settings.start_us + round(offset_s * 1e6), settings.end_us, rng, values)
    pending = Flows.empty()
    for made in scenario.generate(attack):
        flows = _stamp(made, uids, detail=scenario.name, malicious=True)
        flows = Flows.concatenate([pending, flows.where(flows["start_us"] < settings.end_us)]).in_order()
        if len(flows) == 0:
            continue
        settled = int(flows["start_us"][-1]) - SLACK_US
        cut = int(np.searchsorted(flows["start_us"], settled))
        pending = flows.take(np.arange(cut, len(flows)))
        yield _Piece(flows.take(np.arange(cut)), settled)
    if len(pending):
        yield _Piece(pending, int(pending["start_us"][-1]))


def _stamp(flows: Flows, rng: np.random.Generator, *, detail: str, malicious: bool) -> Flows:
    """The flows with uid, label and the local flags."""
    n = len(flows)
    return flows.with_columns(
        uid=_uids(rng, n),
        malicious=np.full(n, malicious),
        detail=np.full(n, detail, dtype=object),
        local_orig=is_local(flows["src"]),
        local_resp=is_local(flows["dst"]),
    )


def _uids(rng: np.random.Generator, count: int) -> Column:
    """Identifiers in Zeek's form: C and 17 base-62 digits."""
    text = np.empty((count, 18), dtype=np.uint8)
    text[:, 0] = ord("C")
    text[:, 1:] = _BASE62[rng.integers(0, 62, (count, 17), dtype=np.uint8)]
    return np.ascontiguousarray(text).view("S18").ravel()


def _merge(streams: list[Iterator[_Piece]]) -> Iterator[Flows]:
    """One time line of several, each in order: what all have passed is handed on, the rest waits."""
    waiting: dict[int, _Piece] = {}
    live = dict(enumerate(streams))
    while live or waiting:
        for key in [key for key in live if key not in waiting]:
            piece = next(live[key], None)
            if piece is None:
                del live[key]
            else:
                waiting[key] = piece
        if not waiting:
            return
        passed = min(piece.until_us for piece in waiting.values())
        ready = []
        for key, piece in list(waiting.items()):
            cut = int(np.searchsorted(piece.flows["start_us"], passed, side="right"))
            ready.append(piece.flows.take(np.arange(cut)))
            if piece.until_us <= passed:
                del waiting[key]
            else:
                waiting[key] = _Piece(piece.flows.take(np.arange(cut, len(piece.flows))), piece.until_us)
        flows = Flows.concatenate(ready).in_order()
        if len(flows):
            yield flows
