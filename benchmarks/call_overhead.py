"""What the core's call steps cost: `Analyze` through them, against a bare grpc.aio echo of the same messages.

    python benchmarks/call_overhead.py [--in-flight 64] [--seconds 5] [--rounds 3] [--output json]

Both servers run in processes of their own and answer the same fixed verdict, so that the difference is identity,
policy, validation, metrics, access log and error handling. h2load drives them, because a Python client is slower than
either: on Debian and Ubuntu `apt-get install nghttp2-client`. Rounds alternate between the servers; the median counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc
import uvloop
from dependency_injector import providers
from google.protobuf import timestamp_pb2

from securenet.detection.v1 import detection_pb2, detection_pb2_grpc, flow_pb2, verdict_pb2
from securenet_core import Policy, Role, Server, ServerSettings, ServiceContainer, ServiceDefinition

SERVICE = detection_pb2.DESCRIPTOR.services_by_name["DetectionService"]
PATH = f"/{SERVICE.full_name}/Analyze"


def request() -> detection_pb2.AnalyzeRequest:
    """A flow with the fields that a sensor usually fills."""
    return detection_pb2.AnalyzeRequest(
        flow=flow_pb2.FlowRecord(
            flow_id="CHhAvVGS1DHFjwGM9", start_time=timestamp_pb2.Timestamp(seconds=1_700_000_000),
            src_ip="10.1.2.3", dst_ip="198.51.100.7", src_port=50123, dst_port=443,
            protocol=flow_pb2.TRANSPORT_PROTOCOL_TCP, service="ssl", orig_bytes=1200, resp_bytes=34000,
            orig_ip_bytes=1700, resp_ip_bytes=35200, orig_pkts=12, resp_pkts=30, conn_state=flow_pb2.CONN_STATE_SF,
            history="ShADadFf", local_orig=True, local_resp=False, sensor_id="s1",
        )
    )  # fmt: skip


ANSWER = detection_pb2.AnalyzeResponse(
    verdict=verdict_pb2.Verdict(flow_id="CHhAvVGS1DHFjwGM9", threat_level=verdict_pb2.THREAT_LEVEL_LOW, score=0.01)
)


class EchoServicer(detection_pb2_grpc.DetectionServiceServicer):
    """Answers the same verdict, and does nothing else."""

    async def Analyze(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - an RPC
        return ANSWER


class EchoContainer(ServiceContainer):
    """Nothing but the echo."""

    servicer = providers.Singleton(EchoServicer)
    probes = providers.List()


async def serve(kind: str, address_file: Path) -> None:
    """Runs one of the two servers until it is killed."""
    if kind == "bare":
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        detection_pb2_grpc.add_DetectionServiceServicer_to_server(EchoServicer(), server)  # type: ignore[abstract] # one method is asked
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        await asyncio.to_thread(address_file.write_text, f"127.0.0.1:{port}")
    else:
        methods = {f"{SERVICE.full_name}/{method.name}": frozenset(Role) for method in SERVICE.methods}
        definition = ServiceDefinition("echo", SERVICE, Policy(methods), EchoContainer)
        core = Server(ServerSettings(address_file=address_file, http_port=0), definition)
        await core.start()
    await asyncio.Event().wait()


def launch(kind: str, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Starts a server; its process and address."""
    address_file = folder / kind
    with (folder / f"{kind}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, "--serve", kind, str(address_file)], stdout=log, stderr=log
        )
    while not address_file.exists() or not address_file.read_text():
        if process.poll() is not None:
            raise SystemExit((folder / f"{kind}.log").read_text())
        time.sleep(0.05)
    return process, address_file.read_text()


def load(address: str, body: Path, in_flight: int, seconds: int) -> float:
    """Calls a second at `in_flight` calls at once over four connections."""
    clients = min(4, in_flight)
    result = subprocess.run(
        ["h2load", "-c", str(clients), "-m", str(in_flight // clients), "-D", str(seconds), "--warm-up-time", "1",
         "-t", "1", "-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers", f"http://{address}{PATH}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    failed = re.search(r"(\d+) failed, (\d+) errored", result.stdout)
    if failed is None or failed.groups() != ("0", "0"):
        raise SystemExit(f"calls failed:\n{result.stdout}")
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", result.stdout)
    assert rate is not None
    return float(rate[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    parser.add_argument("--serve", nargs=2, metavar=("KIND", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(serve(arguments.serve[0], Path(arguments.serve[1])))
    if shutil.which("h2load") is None:
        print("h2load is missing; on Debian and Ubuntu: apt-get install nghttp2-client", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        payload = request().SerializeToString()
        body = folder / "body"
        body.write_bytes(b"\0" + len(payload).to_bytes(4, "big") + payload)
        servers = {kind: launch(kind, folder) for kind in ("bare", "core")}
        try:
            rates: dict[str, list[float]] = {"bare": [], "core": []}
            for _ in range(arguments.rounds):
                for kind, (_, address) in servers.items():
                    rates[kind].append(load(address, body, arguments.in_flight, arguments.seconds))
        finally:
            for process, _ in servers.values():
                process.kill()
    ratio = statistics.median(core / bare for core, bare in zip(rates["core"], rates["bare"], strict=True))
    figures = {
        "name": f"call-overhead-{arguments.in_flight}-in-flight",
        "value": round(statistics.median(rates["core"])),
        "unit": "calls/s",
        "ratio_to": "bare grpc.aio echo",
        "ratio": round(ratio, 3),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    if arguments.output == "json":
        print(json.dumps(figures))
    else:
        print(f"{figures['value']} calls/s with every step, {ratio:.2f} of a bare echo ({figures['machine']})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
