"""`securenet findings` and both clients against a real detection service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from service_process import ServiceProcess, running
from typer.testing import CliRunner

from securenet_client import AsyncDetectionClient, DetectionClient, Flow
from securenet_client.cli.application import make_application
from securenet_flows import read_flows

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SCANNER = "10.0.0.66"
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def detection(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service with the finding of one port scan."""
    with running("detection", tmp_path / "detection") as service:
        with DetectionClient(service.address) as client:
            for port in range(1, 41):
                flow = Flow(
                    SCANNER, "10.0.0.5", src_port=50_000 + port, dst_port=port, protocol="tcp", conn_state="S0",
                    start_time=NOW - timedelta(seconds=60) + timedelta(seconds=port), flow_id=f"C{port}",
                )  # fmt: skip
                client.analyze(flow)
        yield service


def invoke(detection: ServiceProcess, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(make_application(), ["findings", *arguments, "--server", detection.address])
    assert result.exit_code == code, result.output
    return result.stdout


def lines(detection: ServiceProcess, *arguments: str, code: int = 0) -> list[Any]:
    return [json.loads(line) for line in invoke(detection, *arguments, "-o", "jsonl", code=code).splitlines()]


def listed(detection: ServiceProcess, *arguments: str) -> dict[str, Any]:
    """Findings by detector."""
    return {",".join(found["detectors"]): found for found in lines(detection, "list", *arguments)}


def test_the_life_of_a_finding(detection: ServiceProcess, tmp_path: Path) -> None:
    scan = listed(detection)["vertical-scan"]
    identity = scan["finding_id"]
    assert (scan["entity"], scan["status"]) == (SCANNER, "new")
    invoke(detection, "list", "--fail-on", "medium", code=1)
    assert lines(detection, "list", "--since", "1h", "--level", "critical", "--fail-on", "low") == []
    invoke(detection, "list", "--since", "yesterday", code=2)

    (shown,) = lines(detection, "show", identity)
    assert shown["evidence"][0]["threshold"] == 15
    assert 0 < len(shown["flow_ids"]) <= 10
    assert SCANNER in invoke(detection, "show", identity)
    invoke(detection, "show", "none", code=2)

    update = ("update", identity, "--status", "resolved", "--verdict", "true-positive", "--comment", "cleaned")
    (updated,) = lines(detection, *update)
    assert (updated["status"], updated["analyst_verdict"]) == ("resolved", "true-positive")
    invoke(detection, *update, "--revision", "1", code=2)
    first = lines(detection, "history", identity)[0]
    assert (first["status_before"], first["status_after"], first["comment"]) == ("new", "resolved", "cleaned")

    labelled = lines(detection, "labels", "--since", "1h")
    assert {record["label"] for record in labelled} == {"malicious"}
    file = tmp_path / "labels.json"
    file.write_text("".join(json.dumps(record) + "\n" for record in labelled))
    read = [label for batch in read_flows(file) for label in batch.texts("label").decode()]
    assert read == ["malicious"] * len(labelled)

    events = lines(detection, "export", "--suppressed")
    assert {event["class_uid"] for event in events} == {2004}
    plain = lines(detection, "export", "--format", "plain", "--suppressed")
    assert identity in {record["finding_id"] for record in plain}


def test_suppressions(detection: ServiceProcess) -> None:
    condition = ("--detector", "vertical-scan", "--entity", f"{SCANNER}/32")
    (previewed,) = lines(detection, "suppress", *condition, "--preview")
    assert previewed["entity"] == SCANNER
    assert "vertical-scan" in listed(detection)
    invoke(detection, "suppress", *condition, code=2)
    invoke(detection, "suppress", *condition, "--for", "for ever", "--reason", "ours", code=2)
    (made,) = lines(detection, "suppress", *condition, "--for", "1h", "--reason", "our own scanner")
    assert "vertical-scan" not in listed(detection)
    assert listed(detection, "--status", "suppressed").keys() == {"vertical-scan"}
    (held,) = lines(detection, "suppressions")
    assert held["suppression_id"] == made["suppression_id"]
    invoke(detection, "unsuppress", made["suppression_id"])
    assert "vertical-scan" in listed(detection)
    assert lines(detection, "suppressions") == []


def test_the_asyncio_client_answers_the_same(detection: ServiceProcess) -> None:
    identity = listed(detection)["vertical-scan"]["finding_id"]
    expires = NOW + timedelta(hours=1)

    async def ask() -> tuple[Any, ...]:
        async with AsyncDetectionClient(detection.address) as client:
            await client.update_finding(identity, analyst_verdict="benign", comment="a drill")
            previewed = await client.preview_suppression(expires=expires, detector="vertical-scan")
            made = await client.create_suppression(expires=expires, reason="a drill", detector="vertical-scan")
            held = [one async for one in client.list_suppressions(page_size=1)]
            opened = await client.delete_suppression(made.name)
            history = [event async for event in client.list_finding_events(identity, page_size=1)]
            labels = [record async for record in client.export_labels()]
            return previewed, made, held, opened, history, labels

    previewed, made, held, opened, history, labels = asyncio.run(ask())
    assert previewed[0] == opened == 1
    assert held == [made]
    with DetectionClient(detection.address) as client:
        assert list(client.list_finding_events(identity)) == history
        assert list(client.export_labels()) == labels != []
    assert {record["label"] for record in labels} == {"benign"}
