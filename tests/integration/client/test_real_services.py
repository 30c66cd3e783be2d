"""The command line with the services themselves, which it starts on free ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from securenet_client import DetectionClient, EmbeddedSuite, Flow
from securenet_core.exceptions import UnavailableError
from securenet_flows import FlowDataError, read_flows

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def securenet(*arguments: str, code: int = 0, cwd: Path) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", "from securenet_client.cli import main; main()", *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two labelled captures of the same addresses."""
    folder = tmp_path_factory.mktemp("workshop")
    for seed, name in enumerate(("one", "two"), start=1):
        securenet(
            "simulate", name, "--duration", "12m", "--hosts", "15", "--seed", str(seed), "-q",
            "--scenario", "ssh-brute-force@2m", "--scenario", "vertical-scan@7m", cwd=folder,
        )  # fmt: skip
    return folder


def test_train_analyze_and_evaluate(workshop: Path) -> None:
    out, _ = securenet(
        "train", "office", "--data", "one", "--data", "two", "--promote", "--embedded", "-o", "json", cwd=workshop
    )
    trained = json.loads(out.splitlines()[-1])
    assert (trained["model"], trained["version"]) == ("office", 1)
    assert trained["metrics"]["flows"] > 0

    out, err = securenet(
        "analyze", "one", "two", "--embedded", "-o", "jsonl", "--findings", "findings.jsonl", cwd=workshop
    )
    records = [json.loads(line) for line in out.splitlines()]
    flows = [
        flow
        for name in ("one", "two")
        for part in read_flows(workshop / name)
        for flow in part.texts("flow_id").decode()
    ]
    assert [record["flow_id"] for record in records] == flows
    alarmed = {
        label: [r["threat_level"] != "low" for r in records if r["label"] == label] for label in ("malicious", "benign")
    }
    assert sum(alarmed["malicious"]) > 0.95 * len(alarmed["malicious"])
    # How many false alarms a model of two short captures gives is not for the client to judge.
    assert sum(alarmed["benign"]) < 0.3 * len(alarmed["benign"])
    assert "models/office/versions/1" in err
    findings = [json.loads(line) for line in (workshop / "findings.jsonl").read_text().splitlines()]
    assert {"brute-force", "vertical-scan"} <= {name for finding in findings for name in finding["detectors"]}
    assert {finding["capture"] for finding in findings} == {"one", "two"}

    out, _ = securenet("evaluate", "two", "one", "--embedded", "-o", "json", cwd=workshop)
    result = json.loads(out)
    assert [capture["name"] for capture in result["captures"]] == ["two", "one"]
    assert result["pooled"]["mcc"] > 0.5
    assert result["pooled"]["flows"] == sum(capture["flows"] for capture in result["captures"])


def test_a_model_is_fitted_to_a_site(workshop: Path) -> None:
    securenet("simulate", "site", "--duration", "30m", "--hosts", "40", "--seed", "9", "-q", cwd=workshop)
    securenet("train", "fitted", "--data", "one", "--data", "two", "--promote", "--embedded", "-q", cwd=workshop)
    out, err = securenet(
        "baseline", "learn", "site", "--name", "fitted", "--promote", "--embedded", "-o", "json", cwd=workshop
    )
    learned = json.loads(out)
    assert (learned["model"], learned["version"], learned["promotion"]) == ("fitted", 2, "committed")
    assert learned["flows"] > 2000
    assert learned["threshold"] >= 0.5
    assert (
        learned["alarmed"] <= max(learned["alarmed_before"], 0.002)
        or learned["threshold"] < learned["threshold_before"]
    )
    assert "operating point" in err
    out, _ = securenet("models", "show", "fitted", "-o", "json", "--embedded", cwd=workshop)
    second, first = json.loads(out)
    # The same trees under the same digest, with another point.
    assert second["digest"] == first["digest"]
    assert second["metrics"]["threshold"] == learned["threshold"]
    assert first["metrics"]["threshold"] == learned["threshold_before"]
    assert "mcc" in first["metrics"]
    # A detection service of its own would have scored nothing.
    _, err = securenet("models", "drift", "--embedded", code=2, cwd=workshop)
    assert "--server" in err
    _, err = securenet(
        "baseline", "learn", "one/conn.log", "--name", "fitted", "--base", "7", "--embedded", code=2, cwd=workshop
    )
    assert "versions/7" in err


def test_captures_do_not_mix(workshop: Path) -> None:
    """The same capture twice gives the same answer twice: its behaviours do not add up."""
    out, _ = securenet(
        "analyze", "one", "one", "--embedded", "--once", "-o", "jsonl", "-q", "--data-dir", "none", cwd=workshop
    )
    lines = out.splitlines()

    assert len(lines) % 2 == 0
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]


def test_captures_do_not_mix_at_a_running_service(workshop: Path, up: UpProcess) -> None:
    def analyze(*captures: str) -> list[dict[str, object]]:
        out, _ = securenet("analyze", *captures, "--server", up.service["address"], "-o", "jsonl", "-q", cwd=workshop)
        return [json.loads(line) for line in out.splitlines()]

    alone = analyze("two")
    both = analyze("one", "two")
    assert both[-len(alone) :] == alone
    # What contributed is named whatever the level, and nobody where nobody did.
    assert all(record["detectors"] for record in alone if record["threat_level"] != "low")
    assert any(not record["detectors"] for record in alone)
    out, _ = securenet("evaluate", "one", "two", "--server", up.service["address"], "-o", "json", "-q", cwd=workshop)
    again, _ = securenet("evaluate", "two", "one", "--server", up.service["address"], "-o", "json", "-q", cwd=workshop)
    by_name = [{c["name"]: c for c in json.loads(text)["captures"]} for text in (out, again)]
    assert by_name[0] == by_name[1]


def test_scan_and_match(workshop: Path) -> None:
    out, _ = securenet("scan", "127.0.0.1", "--ports", "1-64", "--embedded", "-o", "json", cwd=workshop)
    assert "hosts" in json.loads(out)
    _, err = securenet("match", "pkg:pypi/jinja2@2.4.1", "--embedded", code=2, cwd=workshop)
    assert "knowledge" in err
    feed = workshop / "feeds" / "pypi.jsonl"
    feed.parent.mkdir(exist_ok=True)
    advisory = {
        "id": "TEST-1", "modified": "2026-01-02T00:00:00Z", "summary": "a test",
        "affected": [{
            "package": {"ecosystem": "PyPI", "name": "jinja2"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.0"}]}],
        }],
    }  # fmt: skip
    feed.write_text(json.dumps(advisory) + "\n")
    securenet("knowledge", "import", "--from", "feeds", "--embedded", cwd=workshop)
    out, _ = securenet(
        "match", "pkg:pypi/jinja2@2.4.1", "pkg:pypi/jinja2@3.1", "--embedded", "-o", "jsonl", cwd=workshop
    )
    old, new = [json.loads(line) for line in out.splitlines()]
    assert [vulnerability["id"] for vulnerability in old["vulnerabilities"]] == ["TEST-1"]
    assert (new["covered"], new["vulnerabilities"]) == (True, [])


def test_the_demo_shows_everything_and_ends(tmp_path: Path) -> None:
    out, err = securenet("demo", cwd=tmp_path)

    assert "version 1 is champion" in err
    for title in ("Verdicts", "Findings", "brute-force", "open ports", "Services"):
        assert title in out
    # Without advisories the packages are not said to be clean.
    assert "were not checked" in err
    assert "grpcurl -plaintext" in err


class UpProcess:
    """`securenet up` of detection in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-c", "from securenet_client.cli import main; main()",
                "up", "--only", "detection", "--port-base", "0", "-o", "jsonl",
            ],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.service = json.loads(self.process.stdout.readline())


@pytest.fixture
def up(tmp_path: Path) -> Iterator[UpProcess]:
    running = UpProcess(tmp_path)
    yield running
    running.process.kill()
    running.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_serves_and_stops(up: UpProcess, number: signal.Signals) -> None:
    with DetectionClient(up.service["address"]) as client:
        assert client.analyze(Flow("10.0.0.5", "192.0.2.1", dst_port=22)).flow_id == ""
    up.process.send_signal(number)

    _, err = up.process.communicate(timeout=30)
    assert up.process.returncode == 0, err
    assert "stopping" in err
    assert not alive(up.service["pid"])


def test_a_service_that_ends_is_reported(up: UpProcess) -> None:
    os.kill(up.service["pid"], signal.SIGKILL)

    _, err = up.process.communicate(timeout=30)
    assert up.process.returncode == 3
    assert "detection ended with exit code -9" in err


def test_services_end_with_a_command_that_is_killed(up: UpProcess) -> None:
    up.process.kill()
    up.process.communicate()

    ended = threading.Event()
    for _ in range(300):
        if not alive(up.service["pid"]):
            break
        ended.wait(0.1)
    assert not alive(up.service["pid"])


def test_a_service_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    suite = EmbeddedSuite(["detection"], tmp_path, environment={"SECURENET_DETECTION_GRACE": "long"})

    with pytest.raises(UnavailableError, match="SECURENET_DETECTION_GRACE: got 'long'"):
        suite.start()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that has ended and was not waited for is still listed.
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_every_record_of_what_others_recorded_gets_a_line(shared_data: Path, tmp_path: Path) -> None:
    folders = [shared_data / "flows" / name for name in ("zeek-zat-samples", "rita", "slips/port-scans")]
    paths = [str(folder) for folder in folders if folder.exists()]
    problems: list[FlowDataError] = []
    flows = read_flows(paths, on_error=problems.append)
    records = sum(len(batch) for batch in flows)
    unreadable = flows.report.unreadable

    code = 2 if unreadable else 0
    out, err = securenet("analyze", *paths, "--embedded", "-o", "jsonl", code=code, cwd=tmp_path)

    assert len(out.splitlines()) == records > 1000
    for error in unreadable:
        assert str(error) in err
