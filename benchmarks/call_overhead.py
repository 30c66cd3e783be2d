"""What a call costs: `Analyze` of the running service, and of the core's steps alone, against a bare grpc.aio echo.

    python benchmarks/call_overhead.py [--in-flight 1 64 256] [--processes 2] [--seconds 4] [--rounds 3] [--output json]

Every server is a process of its own (`--pin`: on a core of its own), driven by h2load, because a Python client is
slower than either: on Debian and Ubuntu `apt-get install nghttp2-client`.
The echo answers the verdict that the service gives to the same flow, and does nothing else; `core` is that echo
behind identity, policy, validation, metrics, access log and error handling; `analyze` is the detection service with
all of that, every detector and a model, which the registry under `--data-dir` serves (without one there, a small one
is trained first). The flow bears no id, so it is scored each time. Rounds alternate between the servers; the median
of ratios counts. `cpu` is what the server's process used, which says more than the wall clock on a machine with other
work.
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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import uvloop
from dependency_injector import providers
from google.protobuf import timestamp_pb2

from securenet.detection.v1 import detection_pb2, detection_pb2_grpc, flow_pb2
from securenet_client import SecureNet
from securenet_client.embedded import EmbeddedSuite
from securenet_core import Policy, Role, Server, ServerSettings, ServiceContainer, ServiceDefinition
from securenet_flows.simulation import ScheduledScenario, SimulationSettings, write_zeek_logs

SERVICE: Final = detection_pb2.DESCRIPTOR.services_by_name["DetectionService"]
PATH: Final = f"/{SERVICE.full_name}/Analyze"
MODEL: Final = "flow-threat"
ECHO: Final = "bare grpc.aio echo"


def request() -> detection_pb2.AnalyzeRequest:
    """A flow with the fields that a sensor usually fills."""
    return detection_pb2.AnalyzeRequest(
        flow=flow_pb2.FlowRecord(
            start_time=timestamp_pb2.Timestamp(seconds=1_700_000_000),
            src_ip="10.1.2.3", dst_ip="198.51.100.7", src_port=50123, dst_port=443,
            protocol=flow_pb2.TRANSPORT_PROTOCOL_TCP, service="ssl", orig_bytes=1200, resp_bytes=34000,
            orig_ip_bytes=1700, resp_ip_bytes=35200, orig_pkts=12, resp_pkts=30, conn_state=flow_pb2.CONN_STATE_SF,
            history="ShADadFf", local_orig=True, local_resp=False, sensor_id="s1",
        )
    )  # fmt: skip


class EchoServicer(detection_pb2_grpc.DetectionServiceServicer):
    """Answers the same verdict, and does nothing else."""

    answer = detection_pb2.AnalyzeResponse()

    async def Analyze(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - an RPC
        return self.answer


class EchoContainer(ServiceContainer):
    """Nothing but the echo."""

    servicer = providers.Singleton(EchoServicer)
    probes = providers.List()


async def serve(kind: str, address_file: Path, answer: Path) -> None:
    """Runs one of the two echoes until it is killed."""
    EchoServicer.answer = detection_pb2.AnalyzeResponse.FromString(await asyncio.to_thread(answer.read_bytes))
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


@dataclass(frozen=True)
class Target:
    """A server that is measured."""

    kind: str
    address: str
    pids: tuple[int, ...]

    def each_cpu_seconds(self) -> list[float]:
        """What each of its processes has used."""
        found = []
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found.append((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
        return found

    def cpu_seconds(self) -> float:
        """What its processes have used."""
        return sum(self.each_cpu_seconds())


@dataclass(frozen=True)
class Figures:
    """What one load found: calls a second, seconds at two quantiles, CPU seconds a call, of all and of the busiest."""

    rate: float
    p50: float
    p99: float
    cpu: float
    busiest: float


@contextmanager
def echo(kind: str, folder: Path) -> Iterator[Target]:
    """One of the two echoes in a process of its own."""
    address_file = folder / kind
    with (folder / f"{kind}.log").open("wb") as log:
        command = [sys.executable, __file__, "--serve", kind, str(address_file), str(folder / "answer")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while not address_file.exists() or not address_file.read_text():
            if process.poll() is not None:
                raise SystemExit((folder / f"{kind}.log").read_text())
            time.sleep(0.05)
        yield Target(kind, address_file.read_text(), (process.pid,))
    finally:
        process.kill()


def train(data_dir: Path, folder: Path) -> None:
    """A small model, where the registry has none."""
    with EmbeddedSuite(["registry"], data_dir, model=MODEL) as suite, SecureNet(suite.connection()) as net:
        if any(model.id == MODEL and model.alias() for model in net.registry.list_models()):
            return
        captures = []
        for seed in (1, 2):
            captures.append(folder / f"capture-{seed}")
            scenario = ScheduledScenario.parse("horizontal-scan@5m")
            write_zeek_logs(
                SimulationSettings(seed=seed, duration_s=900.0, hosts=20, scenarios=(scenario,)), captures[-1]
            )
        *_, last = net.registry.train_model(MODEL, captures, seed=1, description="benchmark")
        trained = last.training.model_version if last.training else None
        assert trained is not None
        net.registry.promote_model_version(MODEL, trained.version, reason="benchmark")


@contextmanager
def detection(data_dir: Path, processes: int = 1) -> Iterator[Target]:
    """The detection service, serving the registry's champion."""
    settings = {
        "SECURENET_DETECTION_PROCESSES": str(processes),
        "SECURENET_DETECTION_OTLP_ENDPOINT": "http://127.0.0.1:9",
    }
    with EmbeddedSuite(["registry", "detection"], data_dir, model=MODEL, environment=settings) as suite:
        suite.wait_for_model()
        parent = suite.processes["detection"].pid
        assert parent is not None
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        pids = tuple(map(int, children)) if processes > 1 else (parent,)
        yield Target("analyze", suite.addresses["detection"], pids)


def load(target: Target, folder: Path, in_flight: int, seconds: int) -> Figures:
    """Drives a server with so many calls at once over at most eight connections."""
    clients, log = min(8, in_flight), folder / "h2load"
    log.unlink(missing_ok=True)
    begun = target.each_cpu_seconds()
    result = subprocess.run(
        ["h2load", "-c", str(clients), "-m", str(in_flight // clients), "-D", str(seconds), "--warm-up-time", "1",
         "-t", "1", "-d", str(folder / "body"), "-H", "content-type: application/grpc", "-H", "te: trailers",
         f"--log-file={log}", f"http://{target.address}{PATH}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    used = [after - before for before, after in zip(begun, target.each_cpu_seconds(), strict=True)]
    failed = re.search(r"requests: .*?, (\d+) done, .*, (\d+) failed, (\d+) errored", result.stdout)
    data = re.search(r"traffic: .*\((\d+)\) data", result.stdout)
    # An error of gRPC is a success of HTTP, without data.
    expected = (folder / "answer").stat().st_size * 0.95
    if (
        failed is None
        or data is None
        or failed[2] != "0"
        or failed[3] != "0"
        or int(data[1]) < int(failed[1]) * expected
    ):
        raise SystemExit(f"calls failed:\n{result.stdout}")
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", result.stdout)
    assert rate is not None
    took = sorted(int(line.rpartition("\t")[2]) for line in log.read_text().splitlines())
    # The processes also worked in the second of warm-up, at the same rate.
    calls = float(rate[1]) * (seconds + 1)
    return Figures(
        float(rate[1]),
        took[len(took) // 2] / 1e6,
        took[len(took) * 99 // 100] / 1e6,
        sum(used) / calls,
        max(used) / calls,
    )


def pin(target: Target, cores: set[int]) -> None:
    """Keeps a server's threads on these cores."""
    for pid in target.pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)


def line(name: str, value: float, unit: str, ratio_to: str, ratio: float) -> dict[str, Any]:
    """One figure."""
    return {
        "name": name,
        "value": round(value, 3 if value < 100 else 0),
        "unit": unit,
        "ratio_to": ratio_to,
        "ratio": round(ratio, 3),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }


def compared(kind: str, in_flight: int, found: Sequence[Figures], echoes: Sequence[Figures]) -> list[dict[str, Any]]:
    """The figures of one server at one load, beside those of the echo."""

    def both(of: str) -> tuple[float, float]:
        values, theirs = ([getattr(one, of) for one in side] for side in (found, echoes))
        return statistics.median(values), statistics.median(a / b for a, b in zip(values, theirs, strict=True))

    name = f"{kind}-{in_flight}-in-flight"
    (rate, rates), (p50, p50s), (p99, p99s), (cpu, cpus) = both("rate"), both("p50"), both("p99"), both("cpu")
    return [
        line(f"{name}-rate", rate, "calls/s", ECHO, rates),
        line(f"{name}-p50", p50 * 1e3, "ms", ECHO, p50s),
        line(f"{name}-p99", p99 * 1e3, "ms", ECHO, p99s),
        line(f"{name}-cpu", cpu * 1e6, "µs/call", ECHO, cpus),
    ]


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every figure."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        data_dir = arguments.data_dir or folder / "data"
        train(data_dir, folder)
        service = stack.enter_context(detection(data_dir))
        payload = request().SerializeToString()
        (folder / "body").write_bytes(b"\0" + len(payload).to_bytes(4, "big") + payload)
        with grpc.insecure_channel(service.address) as channel:
            answer = detection_pb2_grpc.DetectionServiceStub(channel).Analyze(request())
        (folder / "answer").write_bytes(answer.SerializeToString())
        targets = [stack.enter_context(echo(kind, folder)) for kind in ("bare", "core")]
        targets.append(service)
        if arguments.pin and len(cores) > 1:
            os.sched_setaffinity(0, cores[1:])
            for target in targets:
                pin(target, {cores[0]})
        for in_flight in arguments.in_flight:
            found: dict[str, list[Figures]] = {target.kind: [] for target in targets}
            for _ in range(arguments.rounds):
                for target in targets:
                    found[target.kind].append(load(target, folder, in_flight, arguments.seconds))
            for kind in ("core", "analyze"):
                yield from compared(kind, in_flight, found[kind], found["bare"])

        if arguments.processes > 1:
            yield from several(arguments, folder, data_dir, cores, service)


def several(
    arguments: argparse.Namespace, folder: Path, data_dir: Path, cores: list[int], one: Target
) -> Iterator[dict[str, Any]]:
    """Several processes on one port against one; both without a core of their own, as the callers need some too."""
    os.sched_setaffinity(0, cores)
    pin(one, set(cores))
    with tempfile.TemporaryDirectory() as other:
        shutil.copytree(data_dir, other, dirs_exist_ok=True)
        with detection(Path(other), arguments.processes) as more:
            for in_flight in (max(arguments.in_flight),):
                found = [
                    [load(target, folder, in_flight, arguments.seconds) for target in (one, more)]
                    for _ in range(arguments.rounds)
                ]
                ratio = statistics.median(both.rate / alone.rate for alone, both in found)
                rate = statistics.median(both.rate for _, both in found)
                name = f"analyze-{arguments.processes}-processes-{in_flight}-in-flight"
                yield line(f"{name}-rate", rate, "calls/s", "one process", ratio)
                # What a core for each would make of it, however busy this machine is: the busiest sets the pace.
                alone = statistics.median(one.busiest for one, _ in found)
                for kind, cpu in (("cpu", "cpu"), ("busiest-cpu", "busiest")):
                    used = statistics.median(getattr(both, cpu) for _, both in found)
                    yield line(f"{name}-{kind}", used * 1e6, "µs/call", "one process", used / alone)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="of a registry with a champion; absent: a small model is trained")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 64, 256])
    parser.add_argument("--processes", type=int, default=2, help="that many are compared with one; 1 leaves that out")
    parser.add_argument("--pin", action="store_true", help="a core for the server, the others for the callers")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    parser.add_argument("--serve", nargs=3, metavar=("KIND", "FILE", "ANSWER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        kind, address_file, answer = arguments.serve
        uvloop.run(serve(kind, Path(address_file), Path(answer)))
    if shutil.which("h2load") is None:
        print("h2load is missing; on Debian and Ubuntu: apt-get install nghttp2-client", file=sys.stderr)
        return 2
    for figures in measure(arguments):
        if arguments.output == "json":
            print(json.dumps(figures), flush=True)
        else:
            print(
                f"{figures['name']:34} {figures['value']:>10} {figures['unit']:8} × {figures['ratio']:.2f} of "
                f"{figures['ratio_to']}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
