"""A detection server of its own for each test, and flows for it."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from securenet.detection.v1 import detection_pb2_grpc, flow_pb2
from securenet_core import Server
from securenet_core.channels import ChannelSettings, open_aio_channel
from securenet_detection.container import DEFINITION
from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.settings import DetectionSettings

#: 2026-01-01T00:00:00Z, in seconds.
START = 1_767_225_600

STATE = StateSettings(entities=1024, members=4096, contexts=1024, hash_seed=5)


def scan_record(i: int, *, src: str = "10.0.0.5") -> flow_pb2.FlowRecord:
    """The i-th flow of a sweep over TCP port 23 of remote hosts, one a second."""
    record = flow_pb2.FlowRecord(
        flow_id=f"C{i}", src_ip=src, dst_ip=f"93.184.{i // 250}.{i % 250 + 1}", src_port=40000, dst_port=23,
        protocol=flow_pb2.TRANSPORT_PROTOCOL_TCP,
        conn_state=flow_pb2.CONN_STATE_S0, orig_bytes=0, resp_bytes=0, orig_pkts=1, resp_pkts=0,
    )  # fmt: skip
    record.start_time.seconds = START + i
    record.duration.nanos = 0
    return record


def scan_columns(first: int, count: int, *, src: str = "10.0.0.5", **changes: Any) -> flow_pb2.FlowBatch:
    """Rows first … first + count − 1 of the same sweep as columns."""
    mapped = b"\0" * 10 + b"\xff\xff"
    rows = range(first, first + count)
    fields: dict[str, Any] = {
        "start_time_ns": [(START + i) * 10**9 for i in rows],
        "duration_ns": [0] * count,
        "src_addr": (mapped + ipaddress.ip_address(src).packed) * count,
        "dst_addr": b"".join(mapped + bytes((93, 184, i // 250, i % 250 + 1)) for i in rows),
        "src_port": [40000] * count,
        "dst_port": [23] * count,
        "protocol": [6] * count,
        "conn_state": [1] * count,
        "orig_bytes": [0] * count,
        "resp_bytes": [0] * count,
        "orig_pkts": [1] * count,
        "resp_pkts": [0] * count,
        "flow_id": [f"C{i}" for i in rows],
        **changes,
    }
    return flow_pb2.FlowBatch(**fields)


@pytest.fixture
def record() -> Callable[..., flow_pb2.FlowRecord]:
    return scan_record


@pytest.fixture
def columns() -> Callable[..., flow_pb2.FlowBatch]:
    return scan_columns


@pytest.fixture
def start_server(tmp_path: Path) -> Callable[..., Any]:
    """Starts a server over a data folder of its own."""

    async def start(name: str = "data", **settings: Any) -> Server:
        defaults: dict[str, Any] = {
            "port": 0, "data_dir": tmp_path / name, "access_log": False, "grace": 5, "chunk_rows": 64,
            "detectors": DetectorSettings(state=STATE),
        }  # fmt: skip
        server = Server(DetectionSettings(**{**defaults, **settings}), DEFINITION)
        await server.start()
        return server

    return start


@pytest.fixture
async def server(start_server: Callable[..., Any]) -> AsyncIterator[Server]:
    server = await start_server()
    yield server
    await server.stop()


@pytest.fixture
async def channel(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return detection_pb2_grpc.DetectionServiceStub(channel)
