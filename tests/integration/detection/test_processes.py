"""Two processes on one port: both answer, one that dies comes back, both drain."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from service_process import launch, running

from securenet.detection.v1 import detection_pb2 as pb
from securenet.detection.v1 import detection_pb2_grpc, intel_pb2

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

DEADLINE = 120.0


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@contextmanager
def stub(address: str) -> Iterator[Any]:
    """Over a connection of its own."""
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield detection_pb2_grpc.DetectionServiceStub(channel)


def listeners(address: str) -> int:
    """How many sockets listen on the port."""
    port = f"{int(address.rpartition(':')[2]):04X}"
    found = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            found += fields[1].endswith(f":{port}") and fields[3] == "0A"
    return found


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_one_that_dies_is_started_again_and_calls_go_on(tmp_path: Path, record: Any) -> None:
    with running("detection", tmp_path, processes="2", log_level="info") as service:
        both = children(service.process.pid)
        assert len(both) == 2
        sockets = listeners(service.address)
        assert sockets >= 2
        for i in range(12):
            with stub(service.address) as detection:
                assert detection.Analyze(pb.AnalyzeRequest(flow=record(i)), timeout=30).verdict.flow_id == f"C{i}"
        deadline = time.monotonic() + DEADLINE
        with stub(service.address) as detection:
            header = intel_pb2.ImportIndicatorsRequest(header=intel_pb2.ImportIndicatorsHeader(feed="blocks"))
            chunk = intel_pb2.ImportIndicatorsRequest(chunk=b"203.0.113.0/24\n")
            detection.ImportIndicators(iter((header, chunk)), timeout=60)
        seen = 0
        while seen < 12:  # new connections in a row that all know of the feed, so both processes do
            assert time.monotonic() < deadline
            with stub(service.address) as detection:
                feeds = detection.ListIndicatorFeeds(intel_pb2.ListIndicatorFeedsRequest(), timeout=30).feeds
            seen = seen + 1 if feeds else 0
        os.kill(min(both), signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE
        while min(both) in children(service.process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        while len(children(service.process.pid) - both) < 1 or listeners(service.address) < sockets:
            assert time.monotonic() < deadline, service.log.read_text()[-3000:]
            with stub(service.address) as detection:
                # What is left of the two takes every new connection.
                detection.Analyze(pb.AnalyzeRequest(flow=record(0)), timeout=30)
            time.sleep(0.1)
        running_now = children(service.process.pid)
        assert len(running_now) == 2
        assert service.stop() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in running_now)


def test_a_source_on_many_connections_is_counted_in_one_place(tmp_path: Path, record: Any, columns: Any) -> None:
    def sweep(address: str) -> list[Any]:
        """A connection for each flow: by turns alone, in a batch and in a stream, and the first ones once more."""
        told = []
        for i in (*range(36), *range(6)):
            with stub(address) as detection:
                if i % 3 == 0:
                    verdict = detection.Analyze(pb.AnalyzeRequest(flow=record(i)), timeout=30).verdict
                    told.append((verdict.threat_level, round(verdict.score, 5)))
                    continue
                if i % 3 == 1:
                    verdicts = detection.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(i, 1)), timeout=30).verdicts
                else:
                    requests = iter((pb.AnalyzeStreamRequest(sequence=i, batch=columns(i, 1)),))
                    (response,) = detection.AnalyzeStream(requests, timeout=30)
                    verdicts = response.verdicts
                told.append((verdicts.threat_level[0], round(verdicts.score[0], 5)))
        with stub(address) as detection:
            findings = detection.ListFindings(pb.ListFindingsRequest(), timeout=30).findings
        return [*told, *((one.entity, one.summary, one.count) for one in findings)]

    with running("detection", tmp_path / "one") as service:
        alone = sweep(service.address)
    with running("detection", tmp_path / "two", processes="2") as service:
        assert sweep(service.address) == alone
        assert service.stop() == 0
    assert {one[0] for one in alone[42:]} == {"10.0.0.5"}, alone[42:]


def test_wrong_settings_end_all_of_them(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AssertionError, match=r"exit code 2"):
            launch("detection", tmp_path, processes="2", port=str(taken.getsockname()[1]))
