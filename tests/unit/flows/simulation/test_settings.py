from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from securenet_flows.simulation import (
    SCENARIOS,
    ScheduledScenario,
    SimulationError,
    SimulationSettings,
    parse_duration,
    simulate,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("0", 0.0),
        ("1.5h", 5400.0),
        ("1h30m", 5400.0),
        ("2d", 172_800.0),
        ("250ms", 0.25),
        ("1w", 604_800.0),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-5", "1x", "h", "10 m", "1h30", "nan", "inf", "1e3", "٣s"])
def test_other_durations_are_refused_with_what_came(text: str) -> None:
    with pytest.raises(SimulationError, match=r"^pause: .*expected seconds"):
        parse_duration(text, "pause")


def test_scenarios_are_read_with_offset_and_parameters() -> None:
    assert ScheduledScenario.parse("beacon") == ScheduledScenario("beacon")
    assert ScheduledScenario.parse("ssh-brute-force@10m") == ScheduledScenario("ssh-brute-force", 600.0)
    assert ScheduledScenario.parse(" beacon@0s:interval=60, jitter = 0.2 ") == ScheduledScenario(
        "beacon", 0.0, {"interval": "60", "jitter": "0.2"}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected name, name@offset"),
        ("@10m", "expected name, name@offset"),
        ("beacon@", "expected name, name@offset"),
        ("beacon@5m:", "expected name, name@offset"),
        ("beacon@soon", "offset of beacon: 'soon'; expected seconds"),
        ("beacon@1m:interval", "parameter of beacon: 'interval'; expected key=value"),
        ("beacon@1m:interval=", "expected key=value"),
        ("beacon@1m:jitter=0.1,jitter=0.2", "jitter twice"),
        ("b" * 500, "a text of 500 characters"),
    ],
)
def test_other_scenario_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        ScheduledScenario.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("becon", r"scenario: 'becon'; expected one of beacon, cryptomining"),
        ("beacon:intervall=60", r"parameter of beacon: 'intervall'; expected one of interval, jitter"),
        ("beacon:jitter=2", r"parameter jitter of beacon: 2; expected 0 to 0.95"),
        ("beacon:jitter=nan", r"parameter jitter of beacon: nan; expected 0 to 0.95"),
        ("beacon:jitter=much", r"parameter jitter of beacon: 'much'; expected a number from 0 to 0.95"),
        ("beacon:interval=often", r"parameter interval of beacon: 'often'; expected seconds"),
        ("beacon:transport=smoke", r"parameter transport of beacon: 'smoke'; expected one of tls, http"),
        ("beacon@2h", r"offset of beacon: 7200 s; expected 0 to less than the duration of 3600 s"),
    ],
)
def test_scenarios_are_checked_at_the_call(text: str, message: str) -> None:
    settings = SimulationSettings(scenarios=(ScheduledScenario.parse(text),))
    with pytest.raises(SimulationError, match=message):
        simulate(settings)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hosts": 3}, "hosts: 3; expected 12 to 20000"),
        ({"duration_s": 0.0}, "duration_s"),
        ({"duration_s": float("nan")}, "duration_s"),
        ({"rate": -1.0}, "rate"),
        ({"seed": -1}, "seed"),
        ({"ipv6_share": 1.5}, "ipv6_share"),
        ({"start": datetime(2025, 1, 1)}, "start: .*expected a time with a zone"),  # noqa: DTZ001 (what is refused)
        ({"start": datetime(1812, 1, 1, tzinfo=UTC)}, "start"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        SimulationSettings(**wrong)


def test_every_scenario_describes_itself() -> None:
    for name, scenario in SCENARIOS.items():
        told = scenario.describe()
        assert told["name"] == name
        assert len(told["summary"]) > 20
        assert told["techniques"]
        assert all(technique.startswith("T1") for technique in told["techniques"])
        assert all(parameter["help"] for parameter in told["parameters"])
        assert scenario.read({p.name: str(p.default) for p in scenario.parameters}) == scenario.read({})
