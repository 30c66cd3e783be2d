"""What every simulated flow obeys, whatever was asked for: Zeek's own rules on states, histories and counts."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from securenet_flows.simulation import SCENARIOS, Flows, ScheduledScenario, SimulationSettings, simulate
from securenet_flows.simulation.table import LOG_COLUMNS, STATE

pytestmark = [pytest.mark.unit, pytest.mark.slow]

NAMES = {number: name for name, number in STATE.items()}
SERVICES = {"dns": {"dns"}, "http": {"http"}, "ssl": {"ssl"}, "ssh": {"ssh"}}


@st.composite
def simulations(draw: st.DrawFn) -> SimulationSettings:
    names = draw(st.lists(st.sampled_from(sorted(SCENARIOS)), max_size=3))
    scenarios = []
    for name in names:
        choices = {p.name: draw(st.sampled_from(p.choices)) for p in SCENARIOS[name].parameters if p.choices}
        scenarios.append(ScheduledScenario(name, draw(st.floats(0, 100)), choices))
    return SimulationSettings(
        seed=draw(st.integers(0, 2**63 - 1)),
        hosts=draw(st.integers(12, 60)),
        duration_s=draw(st.floats(101, 400)),
        rate=draw(st.sampled_from([0.0, 1.0, 5.0])),
        ipv6_share=draw(st.sampled_from([0.0, 0.3, 1.0])),
        scenarios=tuple(scenarios),
    )


def zeek_state(history: str | None) -> str:
    """The state that Zeek gives a TCP connection of this history, as far as histories of the simulator go."""
    seen = history or ""
    if "h" not in seen:
        return {"S": "S0", "Sr": "REJ", "F": "SH", "Fr": "RSTR", "r": "RSTR", "": "OTH"}[seen]
    if "F" in seen and "f" in seen:
        return "SF"
    if "r" in seen:
        return "RSTR"
    if "R" in seen:
        return "RSTO"
    return "S2" if "F" in seen else "S3" if "f" in seen else "S1"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(simulations())
def test_flows_obey_zeek(asked: SimulationSettings) -> None:
    pieces = list(simulate(asked))
    flows = Flows.concatenate(pieces)
    assert (np.diff(flows["start_us"]) >= 0).all()
    assert ((flows["start_us"] >= asked.start_us) & (flows["start_us"] < asked.end_us)).all()
    check_uids(flows)
    check_counts(flows)
    check_states(flows)
    for piece in pieces:
        check_logs(piece)


def check_uids(flows: Flows) -> None:
    uids = flows["uid"].tolist()
    assert len(set(uids)) == len(uids)
    assert all(re.fullmatch(rb"C[0-9A-Za-z]{17}", uid) for uid in uids)


def check_counts(flows: Flows) -> None:
    six = (flows["src"][:, :10] != 0).any(axis=1)
    assert (six == (flows["dst"][:, :10] != 0).any(axis=1)).all()
    layer = np.where(flows["protocol"] == 6, 20, 8)
    header = np.where(six, 40, 20) + layer
    for side in ("orig", "resp"):
        payload, packets = np.maximum(flows[f"{side}_bytes"], 0), flows[f"{side}_pkts"]
        total = flows[f"{side}_ip_bytes"]
        assert (total >= payload + header * packets).all()
        assert ((packets > 0) | ((payload == 0) & (total == 0))).all()
        # A segment holds at most 1,460 bytes, a datagram what fits into 64 kB.
        assert (payload <= packets * np.where(flows["protocol"] == 6, 1460, 65_507)).all()
    alone = flows["duration_us"] < 0
    assert (alone == (flows["orig_bytes"] < 0)).all()
    assert (alone == (flows["resp_bytes"] < 0)).all()
    assert (flows["orig_pkts"][alone] + flows["resp_pkts"][alone] == 1).all()
    assert (flows["duration_us"][~alone] > 0).all()


def check_states(flows: Flows) -> None:
    for protocol, state, history in zip(
        flows["protocol"].tolist(), flows["state"].tolist(), flows["history"].tolist(), strict=True
    ):
        if protocol == 6:
            assert NAMES[state] == zeek_state(history), history
        elif protocol == 17:
            assert (NAMES[state], history) in {("SF", "Dd"), ("S0", "D")}
        else:
            assert (NAMES[state], history) == ("OTH", None)
    silent = np.isin(flows["state"], [STATE["S0"], STATE["SH"]])
    assert (flows["resp_pkts"][silent] == 0).all()
    letters = {letter: np.array([letter in (h or "") for h in flows["history"]]) for letter in "DdSh"}
    carried = flows["protocol"] == 6
    assert (letters["D"][carried] == (flows["orig_bytes"][carried] > 0)).all()
    assert (letters["d"][carried] == (flows["resp_bytes"][carried] > 0)).all()
    assert (flows["resp_pkts"][letters["h"]] > 0).all()
    assert (flows["service"][carried & ~letters["D"]] == None).all()  # noqa: E711 (rowwise)


def check_logs(flows: Flows) -> None:
    for name, records in flows.logs.items():
        assert set(records.columns) == set(LOG_COLUMNS[name])
        assert ((records.row >= 0) & (records.row < len(flows))).all()
        assert (np.diff(records.row) >= 0).all()
        assert (records.delay_us >= 0).all()
        assert set(flows["service"][records.row]) <= SERVICES[name]
