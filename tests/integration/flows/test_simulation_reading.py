"""What the simulator writes, the readers read: the same flows, labels and application fields, in both formats."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from securenet_flows import FlowBatch, read_flows
from securenet_flows.host_days import host_days
from securenet_flows.simulation import Flows, ScheduledScenario, SimulationSettings, simulate, write_zeek_logs

pytestmark = pytest.mark.integration

SETTINGS = SimulationSettings(
    duration_s=1200.0,
    hosts=30,
    scenarios=tuple(
        ScheduledScenario.parse(text)
        for text in (
            "beacon@1m",
            "dns-tunnel@2m:queries=80",
            "ssh-brute-force@3m:attempts=60",
            "vertical-scan@5m:kind=null,ports=90",
        )
    ),
)


@pytest.mark.parametrize("form", ["tsv", "json"])
@pytest.mark.parametrize("compress", [False, True])
def test_logs_read_back_as_the_flows_that_were_simulated(tmp_path: Path, form: str, compress: bool) -> None:
    summary = write_zeek_logs(SETTINGS, tmp_path, "json" if form == "json" else "tsv", compress=compress)
    read = FlowBatch.concatenate(list(read_flows(tmp_path, strict=True)))
    meant = Flows.concatenate(list(simulate(SETTINGS)))
    wanted = meant.to_batch()
    assert len(read) == summary.flows == len(wanted)
    # A time in JSON is a number, in which the last microsecond may be lost.
    assert np.abs(read.start_time_ns - wanted.start_time_ns).max() <= (1000 if form == "json" else 0)
    assert (read.src_addr == wanted.src_addr).all()
    assert (read.dst_addr == wanted.dst_addr).all()
    assert (read.protocol == wanted.protocol).all()
    for name in wanted.numeric:
        assert (read.has(name) == wanted.has(name)).all(), name
        near = 1000 if name == "duration_ns" else 0
        assert np.abs(read.number(name).astype(np.int64) - wanted.number(name).astype(np.int64)).max() <= near, name
    for name in wanted.text:
        assert read.texts(name).decode() == wanted.texts(name).decode(), name
    assert Counter(read.texts("detailed_label").decode()) == Counter(summary.scenarios) + Counter(summary.activities)
    assert host_days(read) >= 25


def test_application_fields_are_joined(tmp_path: Path) -> None:
    summary = write_zeek_logs(SETTINGS, tmp_path)
    read = FlowBatch.concatenate(list(read_flows(tmp_path)))
    assert read.has("dns_query").sum() == summary.records["dns"]
    assert read.has("tls_server_name").sum() == summary.records["ssl"]
    assert read.has("http_host").sum() == summary.records["http"]
    assert read.has("ssh_auth_attempts").sum() == summary.records["ssh"]
    guesses = read.texts("detailed_label").matches(["ssh-brute-force"]) & read.has("ssh_auth_success")
    assert guesses.sum() > 40
    assert not read.number("ssh_auth_success")[guesses].any()
    tunnel = read.texts("detailed_label").matches(["dns-tunnel"])
    names = [name for name, chosen in zip(read.texts("dns_query").decode(), tunnel.tolist(), strict=True) if chosen]
    assert max(len(name or "") for name in names) > 150
