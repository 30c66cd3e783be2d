"""`securenet hunt` over several captures at a real service."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from service_process import ServiceProcess, running
from typer.testing import CliRunner

from securenet_client.cli.application import make_application
from securenet_client.cli.captures import Analyst, Reading
from securenet_client.cli.invocation import Invocation
from securenet_client.cli.output import Output
from securenet_flows import Capture, FlowBatch
from securenet_flows.simulation import ScheduledScenario, SimulationSettings, write_zeek_logs

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days, on two of which hosts are attacked."""
    folder = tmp_path_factory.mktemp("logs")
    for seed, attacks in enumerate((["vertical-scan@2m"], [], ["ssh-brute-force@1m", "vertical-scan@5m"]), start=1):
        scenarios = tuple(map(ScheduledScenario.parse, attacks))
        settings = SimulationSettings(seed=seed, duration_s=900, hosts=12, scenarios=scenarios)
        write_zeek_logs(settings, folder / f"day-{seed}")
    return folder


@pytest.fixture(scope="module")
def detection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with running("detection", tmp_path_factory.mktemp("detection")) as service:
        yield service


def hunt(service: ServiceProcess, logs: Path, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    paths = [str(logs / f"day-{seed}") for seed in (1, 2, 3)]
    command = ["hunt", *paths, "--server", service.address, "--output", "jsonl", *arguments]
    result = CliRunner().invoke(make_application(), command)
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_attackers_are_ranked_over_all_captures(detection: ServiceProcess, logs: Path, tmp_path: Path) -> None:
    ranked = hunt(detection, logs, "--jobs", "3", "--findings", str(tmp_path / "findings.jsonl"))
    assert {"vertical-scan", "brute-force"} <= {name for record in ranked for name in record["detectors"]}
    captures = {name for record in ranked if record["threat_level"] != "low" for name in record["captures"]}
    assert captures == {"day-1", "day-3"}
    written = [json.loads(line) for line in (tmp_path / "findings.jsonl").read_text().splitlines()]
    assert sum(record["findings"] for record in ranked) == len(written)
    # How many are at work at once changes nothing.
    assert hunt(detection, logs, "--jobs", "1") == ranked


def test_only_what_is_asked_for_is_shown(detection: ServiceProcess, logs: Path) -> None:
    guessed = hunt(detection, logs, "--detector", "brute-force")
    assert [record["detectors"] for record in guessed] == [["brute-force"]]
    (record,) = hunt(detection, logs, "--detector", "brute-force", "--entity", guessed[0]["entity"])
    assert record == guessed[0]
    assert hunt(detection, logs, "--detector", "brute-force", "--entity", "2001:db8::/32") == []
    assert hunt(detection, logs, "--level", "medium", "--fail-on", "medium", code=1)
    hunt(detection, logs, "--entity", "somewhere", code=2)
    hunt(detection, logs, "--findings", str(logs / "none" / "findings.jsonl"), code=2)


def test_who_leaves_early_waits_for_no_capture(detection: ServiceProcess, logs: Path) -> None:
    run = Invocation(Output(quiet=True), server=detection.address)
    captures = Reading(run, strict=False).find([str(logs / f"day-{seed}") for seed in (1, 2, 3)])
    asked, gone = threading.Event(), threading.Event()

    def endless(capture: Capture) -> Iterator[FlowBatch]:
        batches = list(capture)
        if capture is captures[0]:
            yield from batches
            return
        while not gone.wait(0.01):
            asked.set()
            yield from batches

    summaries = Analyst(run, captures, batches_of=endless).summaries(3)
    try:
        first, _ = next(iter(summaries))
        assert first is captures[0]
        assert asked.wait(30)
        leaving = threading.Thread(target=summaries.close)  # type: ignore[attr-defined]  # a generator
        leaving.start()
        leaving.join(30)
        assert not leaving.is_alive()
    finally:
        gone.set()
