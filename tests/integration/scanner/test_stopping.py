"""SIGTERM while scans run: nothing is cut or lost, and the next process goes on where they were."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from service_process import ServiceProcess, launch, running

from securenet.scanner.v1 import scan_pb2, scanner_pb2, scanner_pb2_grpc
from securenet_core.channels import ChannelSettings, open_channel

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def complaints(service: ServiceProcess) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if str(line.get("level", "")).lower() in {"error", "critical"}]


def slow_scan(number: int) -> scanner_pb2.StartScanRequest:
    """Takes minutes, at 500 connections a second."""
    spec = scan_pb2.ScanSpec(
        targets=[f"127.0.{number}.0/30"], ports="1-20000", max_rate=500, probe_timeout=Duration(seconds=1),
        skip_banners=True,
    )  # fmt: skip
    return scanner_pb2.StartScanRequest(spec=spec, request_id=f"scan-{number}")


def test_a_stop_while_scanning_is_clean_and_the_scans_go_on(tmp_path: Path) -> None:
    service = launch("scanner", tmp_path, grace="20")
    with open_channel(ChannelSettings(service.address)) as channel:
        stub = scanner_pb2_grpc.ScannerServiceStub(channel)
        # Two run at once; the third waits.
        names = [stub.StartScan(slow_scan(number)).scan.name for number in (1, 2, 3)]
        watches = [stub.WatchScan(scanner_pb2.WatchScanRequest(name=name)) for name in names]
        for watch in watches[:2]:
            for event in watch:
                if event.progress.probes_done > 100:
                    break
        assert service.stop(timeout=25) == 0
        for watch in watches:
            with pytest.raises(grpc.RpcError) as ended:
                list(watch)
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert complaints(service) == []
    assert "Traceback" not in service.log.read_text()
    with sqlite3.connect(service.data_dir / "scanner.sqlite") as connection:
        kept = dict(connection.execute("SELECT 'scans/' || id, checkpoint FROM scan").fetchall())
        states = dict(connection.execute("SELECT 'scans/' || id, state FROM scan").fetchall())
    connection.close()
    assert [states[name] for name in names] == ["running", "running", "pending"]
    assert min(kept[name] for name in names[:2]) > 0
    with (
        running("scanner", tmp_path, grace="20") as again,
        open_channel(ChannelSettings(again.address)) as channel,
    ):
        stub = scanner_pb2_grpc.ScannerServiceStub(channel)
        for name in names:
            scan = stub.GetScan(scanner_pb2.GetScanRequest(name=name)).scan
            assert scan.state in {scan_pb2.SCAN_STATE_PENDING, scan_pb2.SCAN_STATE_RUNNING}
            assert scan.progress.probes_done >= kept[name]
            ended_scan = stub.CancelScan(scanner_pb2.CancelScanRequest(name=name)).scan
            assert ended_scan.state == scan_pb2.SCAN_STATE_CANCELLED
        assert again.stop() == 0
    assert complaints(again) == []
