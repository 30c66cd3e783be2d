"""The scanner as a process: what callers see, and what survives a kill."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from service_process import ServiceProcess, launch, running

from securenet.scanner.v1 import scan_pb2, scanner_pb2, scanner_pb2_grpc, vulnerability_pb2
from securenet_core.channels import ChannelSettings, open_channel

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@contextmanager
def client(service: ServiceProcess) -> Iterator[scanner_pb2_grpc.ScannerServiceStub]:
    with open_channel(ChannelSettings(service.address)) as channel:
        yield scanner_pb2_grpc.ScannerServiceStub(channel)


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        yield int(listener.getsockname()[1])


def start(stub: scanner_pb2_grpc.ScannerServiceStub, **spec: object) -> scan_pb2.Scan:
    wanted = scan_pb2.ScanSpec(targets=["127.0.0.1"], **spec)  # type: ignore[arg-type]  # as the test wants it
    return stub.StartScan(scanner_pb2.StartScanRequest(spec=wanted)).scan


def test_knowledge_matches_scans_and_scopes(tmp_path: Path, listening: int) -> None:
    feeds = tmp_path / "feeds"
    feeds.mkdir()
    events = [{"introduced": "0"}, {"fixed": "2.0"}]
    affected = [{"package": {"ecosystem": "PyPI", "name": "x"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]
    advisory = {"id": "PYSEC-1", "aliases": ["CVE-1"], "modified": "2024-01-01T00:00:00Z", "affected": affected}
    (feeds / "a.jsonl").write_text(json.dumps(advisory) + "\n{}\n")
    with running("scanner", tmp_path) as service, client(service) as stub:
        with pytest.raises(grpc.RpcError) as caught:
            stub.MatchPackages(scanner_pb2.MatchPackagesRequest(purls=["pkg:pypi/x@1"]))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION

        steps = list(stub.UpdateKnowledge(scanner_pb2.UpdateKnowledgeRequest(directory=str(feeds))))
        assert steps[-1].records_rejected == 1
        assert steps[-1].rejections[0].startswith("a.jsonl:2: id")
        assert list(steps[-1].knowledge.covered_ecosystems) == ["PyPI"]
        answer = stub.MatchPackages(scanner_pb2.MatchPackagesRequest(purls=["pkg:pypi/X@1", "pkg:deb/debian/x@1"]))
        (found,) = answer.matches[0].vulnerabilities
        assert (found.id, list(found.aliases), list(found.fixed_versions)) == ("PYSEC-1", ["CVE-1"], ["2.0"])
        assert answer.matches[1].coverage == vulnerability_pb2.COVERAGE_ECOSYSTEM_NOT_COVERED
        assert answer.knowledge_version == stub.GetKnowledge(scanner_pb2.GetKnowledgeRequest()).knowledge.version

        scan = start(stub, ports=str(listening))
        states = [
            event.state_change.state
            for event in stub.WatchScan(scanner_pb2.WatchScanRequest(name=scan.name))
            if event.HasField("state_change")
        ]
        assert states == [scan_pb2.SCAN_STATE_PENDING, scan_pb2.SCAN_STATE_RUNNING, scan_pb2.SCAN_STATE_SUCCEEDED]
        (host,) = stub.GetScan(scanner_pb2.GetScanRequest(name=scan.name)).scan.hosts
        assert [(port.port, port.state) for port in host.ports] == [(listening, scan_pb2.PORT_STATE_OPEN)]
        exposure = stub.GetExposure(scanner_pb2.GetExposureRequest(address="127.0.0.1")).exposure
        assert [port.port for port in exposure.ports] == [listening]

        start(stub, ports=str(listening))
        first = stub.ListScans(scanner_pb2.ListScansRequest(page_size=1))
        second = stub.ListScans(scanner_pb2.ListScansRequest(page_size=1, page_token=first.next_page_token))
        assert second.scans[0].name == scan.name
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListScans(scanner_pb2.ListScansRequest(page_token="bm9uc2Vuc2U"))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        scopes = stub.ListScopes(scanner_pb2.ListScopesRequest()).scopes
        assert [scope.name for scope in scopes] == ["scopes/loopback"]
        outside = scan_pb2.ScanSpec(targets=["192.0.2.1"], ports="80")
        with pytest.raises(grpc.RpcError) as caught:
            stub.StartScan(scanner_pb2.StartScanRequest(spec=outside))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert service.stop() == 0


def test_a_killed_scanner_loses_no_scan_and_no_finding(tmp_path: Path, listening: int) -> None:
    service = launch("scanner", tmp_path)
    ports = f"{listening},1-400"
    with client(service) as stub:
        done = start(stub, ports=str(listening))
        for _ in stub.WatchScan(scanner_pb2.WatchScanRequest(name=done.name)):
            pass
        slow = start(stub, ports=ports, max_rate=100)
        waiting = [start(stub, ports=str(listening)) for _ in range(4)]
        seen = 0
        for event in stub.WatchScan(scanner_pb2.WatchScanRequest(name=slow.name)):
            seen = max(seen, event.sequence)
            if event.HasField("port") or event.progress.ports_open:
                break
    service.kill()
    with running("scanner", tmp_path) as again, client(again) as stub:
        names = {scan.name for scan in stub.ListScans(scanner_pb2.ListScansRequest()).scans}
        assert names == {done.name, slow.name, *(scan.name for scan in waiting)}
        assert stub.GetScan(scanner_pb2.GetScanRequest(name=done.name)).scan.state == scan_pb2.SCAN_STATE_SUCCEEDED
        events = list(stub.WatchScan(scanner_pb2.WatchScanRequest(name=slow.name, from_sequence=seen), timeout=120))
        assert events[0].sequence >= seen
        assert events[-1].state_change.state == scan_pb2.SCAN_STATE_SUCCEEDED
        scan = stub.GetScan(scanner_pb2.GetScanRequest(name=slow.name)).scan
        assert scan.progress.probes_done == scan.progress.probes_total == 401
        assert listening in [port.port for port in scan.hosts[0].ports if port.state == scan_pb2.PORT_STATE_OPEN]
        for other in waiting:
            for _ in stub.WatchScan(scanner_pb2.WatchScanRequest(name=other.name), timeout=120):
                pass
            found = stub.GetScan(scanner_pb2.GetScanRequest(name=other.name)).scan
            assert found.state == scan_pb2.SCAN_STATE_SUCCEEDED


def test_cancelling_takes_less_than_a_second_and_draining_keeps_the_rest(tmp_path: Path, listening: int) -> None:
    service = launch("scanner", tmp_path)
    with client(service) as stub:
        scan = start(stub, profile=scan_pb2.PORT_PROFILE_ALL, max_rate=50)
        for event in stub.WatchScan(scanner_pb2.WatchScanRequest(name=scan.name)):
            if event.progress.probes_done:
                break
        begun = time.monotonic()
        cancelled = stub.CancelScan(scanner_pb2.CancelScanRequest(name=scan.name)).scan
        took = time.monotonic() - begun
        assert cancelled.state == scan_pb2.SCAN_STATE_CANCELLED
        assert took < 10  # generous: what is promised is a second on a machine that does nothing else
        other = start(stub, ports=f"{listening},1-100", max_rate=20)
    assert service.stop() == 0
    with running("scanner", tmp_path) as again, client(again) as stub:
        for _ in stub.WatchScan(scanner_pb2.WatchScanRequest(name=other.name), timeout=120):
            pass
        assert stub.GetScan(scanner_pb2.GetScanRequest(name=other.name)).scan.state == scan_pb2.SCAN_STATE_SUCCEEDED
