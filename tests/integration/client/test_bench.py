"""`securenet bench` with a real service: figures that others can read, and no trace left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from service_process import running
from typer.testing import CliRunner

from securenet_client import DetectionClient
from securenet_client.cli.application import make_application
from securenet_flows.simulation import ScheduledScenario, SimulationSettings, write_zeek_logs

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KEYS = ["name", "value", "unit", "ratio_to", "ratio", "machine"]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("office")
    scenarios = (ScheduledScenario.parse("vertical-scan@2m"),)
    write_zeek_logs(SimulationSettings(seed=1, duration_s=900, hosts=12, scenarios=scenarios), folder)
    return folder


def bench(*arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
    result = CliRunner().invoke(make_application(), ["bench", *arguments, "--seconds", "1", "--output", "json"])
    assert result.exit_code == code, result.output
    figures = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(list(figure) == KEYS for figure in figures)
    return {figure["name"]: figure for figure in figures}


def test_a_service_is_measured_and_learns_nothing(tmp_path: Path, capture: Path) -> None:
    with running("detection", tmp_path) as service:
        to = ("--server", service.address, "--data", str(capture))
        calls = bench("analyze", *to, "--in-flight", "8")
        assert calls.keys() == {f"analyze.8-in-flight.{what}" for what in ("rate", "p50", "p99")}
        assert all(figure["ratio"] > 0 and "echo" in figure["ratio_to"] for figure in calls.values())
        rows = bench("stream", *to)
        assert rows["stream.rate"]["value"] > 0
        assert rows["stream.rate"]["ratio"] is None
        with DetectionClient(service.address) as client:
            assert list(client.list_findings()) == []
            assert not any(detector.state.entries for detector in client.list_detectors() if detector.state)


def test_reading_needs_no_service(capture: Path, tmp_path: Path) -> None:
    assert bench("read", "--data", str(capture))["read.rate"]["value"] > 0
    (tmp_path / "empty").mkdir()
    bench("read", "--data", str(tmp_path / "empty"), code=2)


def test_what_does_not_answer_is_said(capture: Path) -> None:
    bench("stream", "--server", "127.0.0.1:1", "--data", str(capture), code=3)
