"""The simulated offices that a first model is trained on, before there are labels of one's own.

A model that saw one office at one hour learns that office: its hosts, its rate, its morning. These differ in all that a
setting can change: size, hour, day, busyness, length, share of IPv6; and what attacks one may be missing from another,
so that holding whole offices out tells what was learned of attacks rather than of offices. Several have no attack.

Attacks that show in names (generated domains, tunnels in DNS) or in who talks to whom (lateral movement) are in none of
them: in the shape of its flows each is ordinary traffic, so a model of flows learns from them to suspect every lookup.
Detectors of their own look for them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from securenet_flows.simulation.settings import ScheduledScenario, SimulationSettings

#: Seed, minutes, hosts, start (day of March 2025, hour), rate, share of IPv6, attacks.
_OFFICES: Final[tuple[tuple[int, float, int, tuple[int, int], float, float, tuple[str, ...]], ...]] = (
    (101, 45, 40, (3, 8), 1.0, 0.3, (
        "horizontal-scan@6m", "ssh-brute-force@14m", "beacon@4m:interval=60", "vertical-scan@28m",
    )),
    (102, 90, 25, (4, 19), 1.0, 0.0, (
        "ssh-brute-force@9m", "slow-scan@5m", "beacon@2m:interval=45,transport=http", "rdp-brute-force@30m",
    )),
    (103, 40, 90, (8, 11), 0.6, 0.6, (
        "vertical-scan@5m", "beacon@3m:interval=90", "ssh-brute-force@20m", "horizontal-scan@30m:where=outside",
    )),
    (104, 150, 16, (6, 1), 1.0, 0.2, (
        "beacon@10m:interval=300", "password-spray@30m",
    )),
    (105, 40, 40, (5, 14), 1.2, 0.3, ()),
    (106, 600, 14, (8, 22), 0.7, 0.5, ("slow-scan@90m", "vertical-scan@300m")),
    (107, 60, 30, (7, 12), 1.5, 0.1, ("rdp-brute-force@12m", "horizontal-scan@25m")),
    (108, 300, 20, (10, 5), 0.5, 0.3, ()),
)  # fmt: skip


def training_offices() -> tuple[SimulationSettings, ...]:
    """Settings of the offices, always the same; together about 87,000 flows."""
    return tuple(
        SimulationSettings(
            seed=seed,
            start=datetime(2025, 3, day, hour, tzinfo=UTC),
            duration_s=minutes * 60.0,
            hosts=hosts,
            rate=rate,
            ipv6_share=ipv6,
            scenarios=tuple(map(ScheduledScenario.parse, attacks)),
        )
        for seed, minutes, hosts, (day, hour), rate, ipv6, attacks in _OFFICES
    )
