"""What was acknowledged survives the end of the process, whichever end it is."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from service_process import launch, running

from securenet.detection.v1 import detection_pb2 as pb
from securenet.detection.v1 import detection_pb2_grpc
from securenet_core.channels import ChannelSettings, open_channel

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SMALL = {"detectors__state__entities": "1024", "detectors__state__members": "4096", "access_log": "false"}


def listed(address: str) -> set[str]:
    with open_channel(ChannelSettings(address)) as channel:
        stub = detection_pb2_grpc.DetectionServiceStub(channel)
        found: set[str] = set()
        request = pb.ListFindingsRequest(page_size=1000)
        while True:
            response = stub.ListFindings(request, timeout=30)
            found |= {f"{finding.entity} {finding.detectors[0]}" for finding in response.findings}
            request.page_token = response.next_page_token
            if not request.page_token:
                return found


def complaints(log: Path) -> list[Any]:
    """What a service logged as a warning or worse."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert lines
    return [line for line in lines if line.get("level") not in ("debug", "info")]


def watch(address: str) -> None:
    with grpc.insecure_channel(address, [("grpc.enable_retries", 0)]) as channel:
        stub = detection_pb2_grpc.DetectionServiceStub(channel)
        for _ in stub.WatchFindings(pb.WatchFindingsRequest(include_existing=True), timeout=60):
            pass


def until_it_ends(work: Any, part: Any) -> None:
    try:
        work(part)
    except grpc.RpcError:
        return


def test_sigkill_loses_no_finding_that_was_acknowledged(tmp_path: Any, columns: Any) -> None:
    service = launch("detection", tmp_path, **SMALL)
    acknowledged: set[str] = set()
    enough = threading.Event()

    def work(part: int) -> None:
        with open_channel(ChannelSettings(service.address)) as channel:
            stub = detection_pb2_grpc.DetectionServiceStub(channel)
            for i in range(250):
                src = f"10.{part}.0.{i}"
                try:
                    stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(0, 25, src=src)), timeout=30)
                except grpc.RpcError:
                    return
                acknowledged.add(src)
                if len(acknowledged) >= 60:
                    enough.set()

    workers = [threading.Thread(target=work, args=(part,)) for part in range(2)]
    for worker in workers:
        worker.start()
    assert enough.wait(60)
    service.kill()
    for worker in workers:
        worker.join(60)
    with running("detection", tmp_path, **SMALL) as again:
        kept = listed(again.address)
    assert {f"{src} horizontal-scan" for src in acknowledged} <= kept
    assert {f"{src} sequential-scan" for src in acknowledged} <= kept


def test_sigterm_amid_batches_streams_and_watchers_keeps_every_finding_and_logs_no_error(
    tmp_path: Any, columns: Any
) -> None:
    """Everything that uses the database has ended, and what waited is written, before the database closes."""
    service = launch("detection", tmp_path, grace="1", **SMALL)
    acknowledged: set[str] = set()
    enough = threading.Event()

    def source(part: int, n: int) -> str:
        return f"10.{part}.{n // 250}.{n % 250}"

    def note(src: str) -> None:
        acknowledged.add(src)
        if len(acknowledged) >= 60:
            enough.set()

    def send_batches(part: int) -> None:
        with grpc.insecure_channel(service.address, [("grpc.enable_retries", 0)]) as channel:
            stub = detection_pb2_grpc.DetectionServiceStub(channel)
            for n in itertools.count():
                stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(0, 25, src=source(part, n))), timeout=30)
                note(source(part, n))

    def send_stream(part: int) -> None:
        def requests() -> Iterator[pb.AnalyzeStreamRequest]:
            for n in range(2000):
                yield pb.AnalyzeStreamRequest(sequence=n, batch=columns(0, 25, src=source(part, n)))

        with grpc.insecure_channel(service.address, [("grpc.enable_retries", 0)]) as channel:
            stub = detection_pb2_grpc.DetectionServiceStub(channel)
            for response in stub.AnalyzeStream(requests(), timeout=60):
                note(source(part, response.sequence))

    jobs = [*enumerate((send_batches, send_batches, send_stream, send_stream)), (service.address, watch)]
    workers = [threading.Thread(target=until_it_ends, args=(work, part)) for part, work in jobs]
    for worker in workers:
        worker.start()
    assert enough.wait(60)
    # 0 where all calls ended in time, 4 where the grace cut a stream; anything else is a failure.
    assert service.stop() in (0, 4)
    for worker in workers:
        worker.join(60)
    assert complaints(service.log) == []
    with running("detection", tmp_path, **SMALL) as again:
        kept = listed(again.address)
    assert {f"{src} horizontal-scan" for src in acknowledged} <= kept
    assert {f"{src} sequential-scan" for src in acknowledged} <= kept


def test_sigterm_under_load_answers_what_it_took_and_exits_cleanly(tmp_path: Any, record: Any) -> None:
    service = launch("detection", tmp_path, **SMALL)
    acknowledged: set[str] = set()
    failures: set[grpc.StatusCode] = set()
    enough = threading.Event()

    def work(part: int) -> None:
        # Without retries every answer is seen as it came.
        with grpc.insecure_channel(service.address, [("grpc.enable_retries", 0)]) as channel:
            stub = detection_pb2_grpc.DetectionServiceStub(channel)
            for n in range(100_000):
                src = f"10.{part}.{n // 25 // 250}.{n // 25 % 250}"
                try:
                    stub.Analyze(pb.AnalyzeRequest(flow=record(n % 25, src=src)), timeout=30)
                except grpc.RpcError as error:
                    failures.add(error.code())
                    return
                if n % 25 == 24:
                    acknowledged.add(src)
                    if len(acknowledged) >= 40:
                        enough.set()

    workers = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for worker in workers:
        worker.start()
    assert enough.wait(60)
    assert service.stop() == 0
    for worker in workers:
        worker.join(60)
    assert failures <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    with running("detection", tmp_path, **SMALL) as again:
        kept = listed(again.address)
    assert {f"{src} horizontal-scan" for src in acknowledged} <= kept
