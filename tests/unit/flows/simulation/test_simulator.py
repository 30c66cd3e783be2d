from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from securenet_flows.simulation import SCENARIOS, Flows, ScheduledScenario, SimulationSettings, shapes, simulate
from securenet_flows.simulation.office import make_office
from securenet_flows.simulation.table import STATE

pytestmark = pytest.mark.unit


def run(*scenarios: str, **settings: Any) -> Flows:
    chosen = tuple(ScheduledScenario.parse(text) for text in scenarios)
    return Flows.concatenate(list(simulate(SimulationSettings(scenarios=chosen, **{"duration_s": 1200.0, **settings}))))


def same(first: Flows, second: Flows) -> bool:
    return all((first[name] == second[name]).all() for name in first.columns if len(first) == len(second))


def in_order(pieces: Iterable[Flows]) -> bool:
    last = 0
    for piece in pieces:
        starts = piece["start_us"]
        if starts[0] < last or (np.diff(starts) < 0).any():
            return False
        last = int(starts[-1])
    return True


def test_equal_settings_give_equal_flows_and_another_seed_gives_others() -> None:
    first, second, third = run(seed=4), run(seed=4), run(seed=5)
    assert len(first) == len(second) > 1000
    assert same(first, second)
    assert set(first["uid"].tolist()).isdisjoint(third["uid"].tolist())


def test_an_attack_leaves_all_other_flows_as_they_are() -> None:
    quiet, attacked = run(), run("beacon@1m", "vertical-scan@5m", "syn-flood@2m:duration=5")
    rest = attacked.where(~attacked["malicious"])
    assert len(rest) == len(quiet)
    assert same(rest, quiet)


def test_a_longer_run_begins_with_the_flows_of_a_shorter_one() -> None:
    short, long = run(duration_s=600.0), run(duration_s=1200.0)
    assert same(short, long.take(np.arange(len(short))))
    assert long["start_us"][len(short)] >= SimulationSettings(duration_s=600.0).end_us


def test_the_same_scenario_twice_runs_twice() -> None:
    flows = run("horizontal-scan@1m:targets=50", "horizontal-scan@2m:targets=50")
    attackers = np.unique(flows["src"][flows["malicious"]], axis=0)
    assert flows["malicious"].sum() == 100
    assert 1 <= len(attackers) <= 2


def test_pieces_are_in_order_and_bounded() -> None:
    settings = SimulationSettings(
        duration_s=3600.0,
        hosts=200,
        rate=2.0,
        scenarios=(ScheduledScenario("syn-flood", 60.0, {"rate": "2000"}), ScheduledScenario("beacon", 0.0)),
    )
    sizes = []

    def watched() -> Iterable[Flows]:
        for piece in simulate(settings):
            sizes.append(len(piece))
            yield piece

    assert in_order(watched())
    assert sum(sizes) > 180_000
    assert max(sizes) < 80_000


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_makes_its_flows_and_only_those_are_malicious(name: str) -> None:
    settings = SimulationSettings(duration_s=1800.0, hosts=20, scenarios=(ScheduledScenario(name, 120.0),))
    pieces = list(simulate(settings))
    assert in_order(pieces)
    flows = Flows.concatenate(pieces)
    assert set(flows["detail"][flows["malicious"]]) == {name}
    assert name not in set(flows["detail"][~flows["malicious"]])
    assert flows["start_us"][flows["malicious"]][0] >= settings.start_us + 120_000_000
    assert flows["start_us"][-1] < settings.end_us


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [(name, p.name, choice) for name, s in SCENARIOS.items() for p in s.parameters for choice in p.choices],
)
def test_every_choice_of_every_scenario_runs(name: str, key: str, value: str) -> None:
    flows = run(f"{name}@1m:{key}={value}", hosts=12, duration_s=400.0)
    assert flows["malicious"].any()


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("bound", ["low", "high"])
def test_a_scenario_survives_the_bounds_of_its_parameters(name: str, bound: str) -> None:
    """At a bound nothing fails; how much is made in a fraction of a second is bounded too."""
    for parameter in SCENARIOS[name].parameters:
        if not parameter.choices:
            run(f"{name}@1s:{parameter.name}={getattr(parameter, bound):.12g}", hosts=12, duration_s=1.5)


def test_the_scan_kinds_look_as_zeek_logs_them() -> None:
    expected: dict[str, set[tuple[str, str | None]]] = {
        "syn": {("REJ", "Sr"), ("RSTO", "ShR"), ("S0", "S")},
        "connect": {("REJ", "Sr"), ("RSTO", "ShAR"), ("SF", "ShAFf"), ("SF", "ShAfF"), ("RSTO", "ShAFR"), ("S0", "S")},
        "fin": {("RSTR", "Fr"), ("SH", "F")},
        "xmas": {("RSTR", "Fr"), ("SH", "F")},
        "null": {("RSTR", "r"), ("OTH", None)},
    }
    names = {number: name for name, number in STATE.items()}
    for kind, allowed in expected.items():
        flows = run(f"vertical-scan@1m:kind={kind},ports=500")
        scan = flows.where(flows["malicious"])
        seen = {(names[s], h) for s, h in zip(scan["state"].tolist(), scan["history"].tolist(), strict=True)}
        assert len(seen) >= 2
        assert {
            (state, None if h is None else h.replace("fFr", "fF").replace("FfR", "Ff").replace("fR", "R"))
            for state, h in seen
        } <= allowed


def test_a_udp_scan_is_answered_by_icmp_at_most_once_a_second() -> None:
    flows = run("vertical-scan@1m:kind=udp,ports=600,rate=100")
    scan = flows.where(flows["malicious"])
    unreachable = scan.where(scan["protocol"] == 1)
    assert 3 <= len(unreachable) <= 9
    assert set(zip(unreachable["src_port"].tolist(), unreachable["dst_port"].tolist(), strict=True)) == {(3, 3)}


def test_the_office_has_its_rhythm() -> None:
    def busy(hour: int, day: int = 3) -> int:
        flows = run(start=datetime(2025, 3, day, hour, tzinfo=UTC), duration_s=1800.0)
        return int((flows["detail"] == "browsing").sum())

    night, morning, sunday = busy(3), busy(9), busy(9, day=9)
    assert night * 8 < morning
    assert sunday * 4 < morning


def test_the_office_fails_as_often_as_real_ones_and_uses_ipv6() -> None:
    flows = run(duration_s=3600.0)
    tcp = flows.where(flows["protocol"] == 6)
    not_finished = (tcp["state"] != STATE["SF"]).mean()
    unanswered = np.isin(tcp["state"], [STATE["S0"], STATE["REJ"]]).mean()
    assert 0.05 < not_finished < 0.2
    assert 0.01 < unanswered < 0.08
    six = (flows["src"][:, 0] != 0).mean()
    assert 0.02 < six < 0.3
    none = run(duration_s=1200.0, ipv6_share=0.0)
    assert not (none["src"][:, 0] != 0).any()


def test_sizes_have_a_heavy_tail() -> None:
    flows = run(duration_s=3600.0)
    answers = flows["resp_bytes"][(flows["detail"] == "browsing") & (flows["resp_bytes"] > 0)]
    assert np.quantile(answers, 0.999) > 100 * np.median(answers)


def test_names_are_looked_up_before_most_first_connections() -> None:
    flows = run(duration_s=3600.0)
    names = flows.logs["dns"]
    when: dict[str, int] = {}
    for name, row in zip(names.columns["query"].tolist(), names.row.tolist(), strict=True):
        when.setdefault(name, int(flows["start_us"][row]))
    tls = flows.logs["ssl"]
    local = flows["local_orig"][tls.row] & (flows["detail"][tls.row] == "browsing")
    first: dict[str, int] = {}
    for name, row in zip(tls.columns["server_name"][local].tolist(), tls.row[local].tolist(), strict=True):
        first.setdefault(name, int(flows["start_us"][row]))
    known = [name for name in first if when.get(name, 1 << 62) < first[name]]
    assert len(known) > 0.35 * len(first)


@pytest.mark.parametrize("hosts", [12, 13, 50, 700, 20_000])
def test_offices_of_any_size_have_distinct_addresses(hosts: int) -> None:
    office = make_office(SimulationSettings(hosts=hosts))
    assert len(office) == hosts
    assert len(np.unique(office.address, axis=0)) == hosts
    assert len(np.unique(office.address6, axis=0)) == hosts
    assert len(office.workstations) + len(office.servers) + len(office.printers) == hosts
    assert len(office.workstations) >= 3


def test_an_office_at_rate_zero_still_polls() -> None:
    flows = run(rate=0.0)
    assert "browsing" not in set(flows["detail"])
    assert {"monitoring", "polling"} <= set(flows["detail"])


def test_an_office_may_have_no_windows_desktop() -> None:
    settings = SimulationSettings(seed=3, hosts=12, duration_s=900.0)
    office = make_office(settings)
    assert not (office.stack[office.workstations] == shapes.WINDOWS).any()
    assert sum(len(flows) for flows in simulate(settings)) > 0
