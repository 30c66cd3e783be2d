"""Clients over real sockets, with servicers made for the purpose."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from typer.testing import CliRunner

from securenet.detection.v1 import detection_pb2, detection_pb2_grpc, finding_pb2, flow_pb2, verdict_pb2
from securenet.scanner.v1 import scanner_pb2, scanner_pb2_grpc
from securenet_client import AsyncDetectionClient, ConnectionSettings, DetectionClient, Flow, SecureNet, ThreatLevel
from securenet_client.cli.application import make_application
from securenet_core.exceptions import DataLossError, NotFoundError, UnavailableError
from securenet_core.status import DETAILS_KEY, to_status
from securenet_flows import FlowBatch, UnreadableFileError

pytestmark = pytest.mark.integration


def batch(rows: int, first: int = 0) -> FlowBatch:
    return FlowBatch(
        start_time_ns=(np.arange(rows, dtype=np.int64) + first) * 10**9,
        src_addr=np.zeros((rows, 16), dtype=np.uint8),
        dst_addr=np.zeros((rows, 16), dtype=np.uint8),
        protocol=np.full(rows, 6, dtype=np.uint8),
    )


class FakeDetection(detection_pb2_grpc.DetectionServiceServicer):
    """Calls a flow high where its destination port is 4444; keeps count of what it got."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.hold = threading.Event()
        self.hold.set()
        self.metadata: dict[str, str] = {}
        self.wrong_sequence = False

    def Analyze(self, request: Any, context: grpc.ServicerContext) -> detection_pb2.AnalyzeResponse:
        self.metadata = {key: str(value) for key, value in context.invocation_metadata()}
        verdict = verdict_pb2.Verdict(
            flow_id=request.flow.flow_id, score=0.5, threat_level=self._level(request.flow.dst_port)
        )
        return detection_pb2.AnalyzeResponse(verdict=verdict)

    def AnalyzeBatch(self, request: Any, context: grpc.ServicerContext) -> detection_pb2.AnalyzeBatchResponse:
        return detection_pb2.AnalyzeBatchResponse(verdicts=self._verdicts(request.batch))

    def AnalyzeStream(self, requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        for request in requests:
            self.received.append(request.sequence)
            self.hold.wait(20)
            yield detection_pb2.AnalyzeStreamResponse(
                sequence=request.sequence + self.wrong_sequence, verdicts=self._verdicts(request.batch)
            )

    def ListFindings(self, request: Any, context: grpc.ServicerContext) -> detection_pb2.ListFindingsResponse:
        page = int(request.page_token or 0)
        findings = [
            finding_pb2.Finding(
                name=f"findings/f{page}", entity="10.0.0.5", threat_level=verdict_pb2.THREAT_LEVEL_HIGH, risk=80
            )
        ]
        return detection_pb2.ListFindingsResponse(findings=findings, next_page_token=str(page + 1) if page < 2 else "")

    def GetFinding(self, request: Any, context: grpc.ServicerContext) -> detection_pb2.GetFindingResponse:
        error = NotFoundError(f"{request.name}: there is no such finding", metadata={"name": request.name})
        context.set_trailing_metadata(((DETAILS_KEY, to_status(error).SerializeToString()),))
        context.abort(grpc.StatusCode.NOT_FOUND, error.message)
        raise AssertionError

    def ListDetectors(self, request: Any, context: grpc.ServicerContext) -> detection_pb2.ListDetectorsResponse:
        return detection_pb2.ListDetectorsResponse()

    def WatchFindings(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield detection_pb2.WatchFindingsResponse(resume_token="1")
        self.hold.wait(20)

    @staticmethod
    def _level(port: int) -> Any:
        return 3 if port == 4444 else 1

    def _verdicts(self, flows: flow_pb2.FlowBatch) -> verdict_pb2.VerdictBatch:
        levels = [self._level(port) for port in flows.dst_port] or [1] * len(flows.start_time_ns)
        return verdict_pb2.VerdictBatch(threat_level=levels, score=[level / 4 for level in levels])


class FakeScanner(scanner_pb2_grpc.ScannerServiceServicer):
    """Knows pkg:pypi/bad@1."""

    def MatchPackages(self, request: Any, context: grpc.ServicerContext) -> scanner_pb2.MatchPackagesResponse:
        response = scanner_pb2.MatchPackagesResponse(knowledge_version="v1")
        response.knowledge_time.FromJsonString("2026-08-16T00:00:00Z")
        for purl in request.purls:
            match = response.matches.add(
                purl=purl, coverage=2 if "npm" in purl else 1, coverage_detail="npm" if "npm" in purl else ""
            )
            if purl == "pkg:pypi/bad@1":
                match.vulnerabilities.add(id="PYSEC-1", severity=4, fixed_versions=["2"], reason="range", epss=0.5)
        return response


@pytest.fixture
def detection() -> FakeDetection:
    return FakeDetection()  # type: ignore[abstract]  # the rest answers UNIMPLEMENTED


@pytest.fixture
def address(detection: FakeDetection) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(8))
    detection_pb2_grpc.add_DetectionServiceServicer_to_server(detection, server)
    scanner_pb2_grpc.add_ScannerServiceServicer_to_server(FakeScanner(), server)  # type: ignore[abstract]  # likewise
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    detection.hold.set()
    server.stop(None)


def test_one_flow_in_one_verdict_out(address: str, detection: FakeDetection) -> None:
    settings = ConnectionSettings({"detection": address}, token="secret")
    with SecureNet(settings) as net:
        verdict = net.detection.analyze(Flow("10.0.0.5", "192.0.2.1", dst_port=4444, flow_id="C1"))

    assert (verdict.flow_id, verdict.threat_level) == ("C1", ThreatLevel.HIGH)
    assert detection.metadata["authorization"] == "Bearer secret"


def test_errors_are_those_that_the_service_meant(address: str) -> None:
    with DetectionClient(address) as client, pytest.raises(NotFoundError, match="findings/x") as caught:
        client.get_finding("x")

    assert caught.value.metadata == {"name": "findings/x"}


def test_lists_go_through_all_pages(address: str) -> None:
    with DetectionClient(address) as client:
        assert [finding.id for finding in client.list_findings()] == ["f0", "f1", "f2"]


def test_a_watch_that_is_left_is_cancelled(address: str, detection: FakeDetection) -> None:
    detection.hold.clear()
    with DetectionClient(address) as client:
        change = next(iter(client.watch_findings()))

    assert (change.finding, change.resume_token) == (None, "1")


def test_batches_come_back_cut_and_in_order(address: str) -> None:
    with DetectionClient(address) as client:
        answers = list(client.analyze_batches([batch(10_000), batch(3, 10_000)]))

    assert [len(part) for part, _ in answers] == [4096, 4096, 1808, 3]
    assert np.concatenate([part.start_time_ns for part, _ in answers]).tolist() == [n * 10**9 for n in range(10_003)]
    assert all(len(verdicts) == len(part) for part, verdicts in answers)


def test_no_more_is_read_than_may_be_in_flight(address: str, detection: FakeDetection) -> None:
    detection.hold.clear()
    read = []
    full = threading.Event()

    def source() -> Iterator[FlowBatch]:
        for number in range(100):
            read.append(number)
            if number == 3:
                full.set()
            yield batch(1, number)

    with DetectionClient(address) as client:
        answers = client.analyze_batches(source(), in_flight=3)
        taken = threading.Thread(target=lambda: next(answers))
        taken.start()
        assert full.wait(10)
        # Three are sent; the fourth was read and waits for an answer.
        assert read == [0, 1, 2, 3]
        detection.hold.set()
        taken.join(10)
        assert len(list(answers)) == 99


def test_a_source_that_fails_fails_the_stream(address: str) -> None:
    def source() -> Iterator[FlowBatch]:
        yield batch(1)
        raise UnreadableFileError("conn.log", "broken", 7)

    with DetectionClient(address) as client, pytest.raises(UnreadableFileError, match=r"conn\.log:7: broken"):
        list(client.analyze_batches(source()))


def test_answers_out_of_order_are_refused(address: str, detection: FakeDetection) -> None:
    detection.wrong_sequence = True
    with DetectionClient(address) as client, pytest.raises(DataLossError, match="expected 0"):
        list(client.analyze_batches([batch(1)]))


def test_leaving_a_stream_early_ends_it(address: str) -> None:
    with DetectionClient(address) as client:
        answers = client.analyze_batches(batch(1, number) for number in range(1000))
        next(answers)
        answers.close()  # type: ignore[attr-defined]  # a generator


def test_nobody_there_is_unavailable() -> None:
    with DetectionClient("127.0.0.1:1") as client, pytest.raises(UnavailableError):
        client.list_detectors()


async def test_the_asyncio_client_does_the_same(address: str, detection: FakeDetection) -> None:
    async def source() -> AsyncIterator[FlowBatch]:
        for number in range(20):
            yield batch(1, number)

    async with AsyncDetectionClient(address) as client:
        verdicts = await asyncio.gather(
            *(client.analyze(Flow("10.0.0.5", "192.0.2.1", dst_port=port, flow_id=str(port))) for port in (80, 4444))
        )
        assert [verdict.threat_level for verdict in verdicts] == [ThreatLevel.LOW, ThreatLevel.HIGH]
        assert len(await client.analyze_batch(batch(5))) == 5
        assert len([pair async for pair in client.analyze_batches(source(), in_flight=2)]) == 20
        assert [finding.id async for finding in client.list_findings()] == ["f0", "f1", "f2"]
        with pytest.raises(NotFoundError):
            await client.get_finding("x")


def write_conn_log(path: Path, ports: list[int], *, label: bool = True) -> Path:
    fields = ["ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "conn_state"]
    lines = ["#separator \\x09", "#path\tconn", "#fields\t" + "\t".join(fields + ["label"] * label)]
    for number, port in enumerate(ports):
        row = [f"{1_700_000_000 + number}.5", f"C{number}", "10.0.0.5", "40000", "192.0.2.1", str(port), "tcp", "SF"]
        lines.append("\t".join(row + ["Malicious" if port == 4444 else "Benign"] * label))
    path.write_text("\n".join(lines) + "\n")
    return path


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(make_application(), arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_analyze_writes_a_line_a_record(address: str, tmp_path: Path) -> None:
    log = write_conn_log(tmp_path / "conn.log", [80, 4444, 443])

    code, out, err = invoke("analyze", str(log), "--server", address, "-o", "jsonl", "--fail-on", "high")

    records = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [record["flow_id"] for record in records] == ["C0", "C1", "C2"]
    assert [record["threat_level"] for record in records] == ["low", "high", "low"]
    assert [record["label"] for record in records] == ["benign", "malicious", "benign"]
    assert set(records[0]) == {
        "flow_id", "start_time", "src_ip", "src_port", "dst_ip", "dst_port", "protocol", "threat_level", "score",
        "detectors", "label",
    }  # fmt: skip
    assert "3 flows: 2 low, 1 high" in err


def test_what_cannot_be_read_is_located_and_the_rest_goes_on(address: str, tmp_path: Path) -> None:
    good = write_conn_log(tmp_path / "conn.log", [80, 70000, 443])
    bad = tmp_path / "bad.log"
    bad.write_bytes(b"\0\1\2 nothing of the kind")

    code, out, err = invoke("analyze", str(bad), str(good), str(tmp_path / "missing"), "--server", address, "-o", "csv")

    assert code == 2
    assert len(out.splitlines()) == 3
    assert f"{good}:5: " in err
    assert f"{bad}: " in err
    assert "missing: no such file" in err
    assert "Traceback" not in err


def test_bad_records_alone_are_counted(address: str, tmp_path: Path) -> None:
    log = write_conn_log(tmp_path / "conn.log", [80, *[70000] * 30])

    code, out, err = invoke("analyze", str(log), "--server", address, "-o", "jsonl")
    strict, *_ = invoke("analyze", str(log), "--server", address, "-o", "jsonl", "--strict")

    assert code == 0
    assert len(out.splitlines()) == 1
    assert "further bad records" in err
    assert "30 records could not be read" in err
    assert strict == 2


def test_evaluate_prints_the_promised_figures(address: str, tmp_path: Path) -> None:
    log = write_conn_log(tmp_path / "conn.log", [80, 4444, 443, 4444])
    plot = tmp_path / "curves.png"

    code, out, err = invoke("evaluate", str(log), "--server", address, "-o", "json", "--plot", str(plot))

    result = json.loads(out)
    assert code == 0, err
    assert result["captures"][0]["name"] == "conn.log"
    for figures in (*result["captures"], result["pooled"]):
        assert (figures["flows"], figures["malicious"]) == (4, 2)
        assert (figures["mcc"], figures["f1"], figures["tpr"], figures["fpr"], figures["tpr_at_fpr_1pct"]) == (
            1,
            1,
            1,
            0,
            1,
        )
        assert figures["findings_high_per_host_day"] == 0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_evaluate_takes_no_capture_without_labels(address: str, tmp_path: Path) -> None:
    log = write_conn_log(tmp_path / "conn.log", [80], label=False)

    code, _, err = invoke("evaluate", str(log), "--server", address)

    assert code == 2
    assert "1 of 1 rows have no label" in err


def test_findings_are_listed(address: str) -> None:
    code, out, _ = invoke("findings", "list", "--server", address, "-o", "jsonl", "--limit", "2", "--fail-on", "high")

    assert code == 1
    assert [json.loads(line)["finding_id"] for line in out.splitlines()] == ["f0", "f1"]


def test_match_says_what_is_covered(address: str) -> None:
    code, out, err = invoke(
        "match",
        "pkg:pypi/bad@1",
        "pkg:npm/x@1",
        "pkg:pypi/good@1",
        "--server",
        address,
        "-o",
        "jsonl",
        "--fail-on",
        "high",
    )

    bad, npm, good = [json.loads(line) for line in out.splitlines()]
    assert code == 1, err
    assert bad["vulnerabilities"][0]["fixed_versions"] == ["2"]
    assert {"id", "aliases", "severity", "kev", "epss", "fixed_versions", "reason"} <= set(bad["vulnerabilities"][0])
    assert (npm["covered"], good["covered"]) == (False, True)
    assert good["knowledge_date"] == "2026-08-16"
    assert invoke("match", "pkg:pypi/good@1", "--server", address, "--fail-on", "low")[0] == 0


def test_match_takes_more_than_one_call_holds(address: str) -> None:
    result = CliRunner().invoke(
        make_application(), ("match", "-", "--server", address, "-o", "jsonl"),
        input="\n".join(f"pkg:pypi/p{number}@1" for number in range(1500)),
    )  # fmt: skip

    assert result.exit_code == 0
    assert [json.loads(line)["purl"] for line in result.stdout.splitlines()] == [
        f"pkg:pypi/p{n}@1" for n in range(1500)
    ]
