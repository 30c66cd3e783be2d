"""Detection beside MLServer: the same model, the same flows, one process each, the same client.

    python benchmarks/mlserver_comparison.py [--environment DIR] [--seconds 5] [--rounds 3] [--output json]

A model is trained through the registry on three simulated offices. Detection serves what was promoted, with every
detector, findings and an identity for each call; MLServer serves the joblib form of the same version and is given the
features ready-made, which detection computes itself. MLServer runs in the ways that its documentation names: in one
process with and without adaptive batching, and its tensors packed as raw bytes and as numbers. The best of them counts.

- calls: one flow a call, `Analyze` against `ModelInfer`, many in flight.
- rows: 4,096 flows a message, `AnalyzeStream` against `ModelInfer`, four in flight.

MLServer needs packages that SecureNet does not have, so it gets an environment of its own in DIR (by default
`.mlserver` beside this repository's `.venv`), which is made when it is not there and takes a minute. Rounds alternate
between the servers; the median counts.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np

from securenet.detection.v1 import detection_pb2
from securenet_client import EmbeddedSuite, SecureNet
from securenet_client.detection.convert import pack_batch
from securenet_flows import read_flows
from securenet_flows.batch import FlowBatch
from securenet_flows.features import SourceContext, features
from securenet_flows.simulation import ScheduledScenario, SimulationSettings, write_zeek_logs

REQUIREMENTS: Final = ("mlserver==1.7.1", "mlserver-sklearn==1.7.1")
ROWS: Final = 4096
MODEL: Final = "flow-threat"
INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
ANALYZE: Final = "/securenet.detection.v1.DetectionService/Analyze"
STREAM: Final = "/securenet.detection.v1.DetectionService/AnalyzeStream"
#: Nanoseconds by which the capture is moved each time it is sent again.
_LAP: Final = 7200 * 10**9
_OPTIONS: Final = [("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20)]

#: Runs in MLServer's environment, which has its messages: from rows of features to requests.
_ENCODE: Final = """
import sys, numpy as np
from mlserver.grpc import dataplane_pb2 as pb
rows, folder = np.load(sys.argv[1]), sys.argv[2]
for form in ("raw", "numbers"):
    for name, part in (("one", rows[:1]), ("many", rows)):
        tensor = pb.ModelInferRequest.InferInputTensor(name="input", datatype="FP32", shape=part.shape)
        tensor.parameters["content_type"].string_param = "np"
        request = pb.ModelInferRequest(model_name="flows", inputs=[tensor])
        request.outputs.add(name="predict_proba")
        if form == "raw":
            request.raw_input_contents.append(part.tobytes())
        else:
            request.inputs[0].contents.fp32_contents.extend(part.ravel().tolist())
        open(f"{folder}/{name}.{form}", "wb").write(request.SerializeToString())
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one server did: the best configuration, and calls or rows a second of each round."""

    configuration: str
    rates: list[float]

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.rates)


def main() -> int:
    arguments = _arguments()
    python = _environment(arguments.environment)
    with tempfile.TemporaryDirectory(prefix="securenet-mlserver-") as name, ExitStack() as stack:
        folder = Path(name)
        suite = _trained(folder)
        stack.enter_context(suite)
        suite.wait_for_model()
        address = suite.addresses["detection"]
        capture = _flows(folder)
        np.save(folder / "rows.npy", features(_first(capture, ROWS), SourceContext()))
        subprocess.run([python, "-c", _ENCODE, str(folder / "rows.npy"), str(folder)], check=True)
        calls, rows = _compare(arguments, python, folder, address, capture)
    _print("mlserver-calls", "calls/s", calls, arguments.output)
    _print("mlserver-rows", "rows/s", rows, arguments.output)
    return 0


def _compare(
    arguments: argparse.Namespace, python: Path, folder: Path, address: str, capture: Sequence[FlowBatch]
) -> tuple[tuple[Figure, Figure], tuple[Figure, Figure]]:
    """(ours, MLServer's best) in calls and in rows."""
    laps = itertools.count()
    ours_calls: list[float] = []
    ours_rows: list[float] = []
    theirs_calls: dict[str, list[float]] = {}
    theirs_rows: dict[str, list[float]] = {}
    seconds, in_flight = arguments.seconds, arguments.in_flight
    for batching in (False, True):
        with _mlserver(python, folder, batching=batching) as other:
            for _ in range(arguments.rounds):
                ours_calls.append(asyncio.run(_unary(address, ANALYZE, _requests(capture, laps), in_flight, seconds)))
                ours_rows.append(ROWS * asyncio.run(_stream(address, _messages(capture, laps), seconds)))
                for form in ("raw", "numbers"):
                    way = f"{form}, {'adaptive batching' if batching else 'no batching'}"
                    one, many = ((folder / f"{size}.{form}").read_bytes() for size in ("one", "many"))
                    rate = asyncio.run(_unary(other, INFER, lambda one=one: one, in_flight, seconds))  # type: ignore[misc]  # bound now
                    theirs_calls.setdefault(way, []).append(rate)
                    if not batching:
                        rate = asyncio.run(_unary(other, INFER, lambda many=many: many, 4, seconds))  # type: ignore[misc]  # bound now
                        theirs_rows.setdefault(way, []).append(ROWS * rate)
    return (Figure("every detector", ours_calls), _best(theirs_calls)), (
        Figure("every detector", ours_rows),
        _best(theirs_rows),
    )


def _best(found: dict[str, list[float]]) -> Figure:
    figures = [Figure(way, rates) for way, rates in found.items()]
    for figure in figures:
        sys.stderr.write(f"mlserver, {figure.configuration}: {figure.median:,.0f}\n")
    return max(figures, key=lambda figure: figure.median)


async def _unary(address: str, path: str, body: Callable[[], bytes], in_flight: int, seconds: float) -> float:
    """Calls a second, a second of warming up left out; fails where a call does."""
    async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
        call: Any = channel.unary_unary(path)
        done = 0

        async def worker() -> None:
            nonlocal done
            while time.perf_counter() < end:
                await call(body(), timeout=60)
                done += time.perf_counter() >= begin

        begin = time.perf_counter() + 1
        end = begin + seconds
        await asyncio.gather(*(worker() for _ in range(in_flight)))
        return done / seconds


async def _stream(address: str, messages: Iterator[bytes], seconds: float) -> float:
    """Messages a second of one stream with four in flight."""
    async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
        places = asyncio.Semaphore(4)
        begin = time.perf_counter() + 1
        end = begin + seconds

        async def sent() -> AsyncIterator[bytes]:
            while time.perf_counter() < end:
                await places.acquire()
                yield next(messages)

        done = 0
        call: Any = channel.stream_stream(STREAM)
        async for _ in call(sent()):
            places.release()
            done += begin <= time.perf_counter() < end
        return done / seconds


def _requests(capture: Sequence[FlowBatch], laps: Iterator[int]) -> Callable[[], bytes]:
    """Gives another flow at each call, as bytes of its request."""

    def bodies() -> Iterator[bytes]:
        for lap in laps:
            for batch in capture:
                whole = pack_batch(_moved(batch, lap))
                for row in range(len(batch)):
                    yield _one(whole, batch, row)

    return bodies().__next__


def _one(whole: Any, batch: FlowBatch, row: int) -> bytes:
    """A request with the fields of a row that every flow log has."""
    request = detection_pb2.AnalyzeRequest()
    flow = request.flow
    time_ns = int(whole.start_time_ns[row])
    flow.start_time.seconds, flow.start_time.nanos = divmod(time_ns, 10**9)
    flow.src_ip, flow.dst_ip = (_address(column[row]) for column in (batch.src_addr, batch.dst_addr))
    flow.protocol = int(batch.protocol[row])  # type: ignore[assignment]  # an open enum
    for name in ("src_port", "dst_port", "orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts"):
        setattr(flow, name, int(getattr(whole, name)[row]))
    flow.conn_state = whole.conn_state[row]
    flow.duration.FromNanoseconds(int(whole.duration_ns[row]))
    return request.SerializeToString()


def _address(value: np.ndarray[Any, Any]) -> str:
    packed = value.tobytes()
    return socket.inet_ntop(socket.AF_INET6, packed).removeprefix("::ffff:")


def _messages(capture: Sequence[FlowBatch], laps: Iterator[int]) -> Iterator[bytes]:
    """Batches of 4,096 flows as messages of a stream."""
    sequence = itertools.count(1)
    for lap in laps:
        for batch in capture:
            request = detection_pb2.AnalyzeStreamRequest(sequence=next(sequence), batch=pack_batch(_moved(batch, lap)))
            yield request.SerializeToString()


def _moved(batch: FlowBatch, lap: int) -> FlowBatch:
    return replace(batch, start_time_ns=batch.start_time_ns + lap * _LAP)


def _first(capture: Sequence[FlowBatch], rows: int) -> FlowBatch:
    return capture[0].take(np.arange(rows))


def office(folder: Path) -> FlowBatch:
    """Two hours of an office with attacks that no model saw."""
    scenarios = ("ssh-brute-force@20m", "horizontal-scan@50m")
    settings = SimulationSettings(
        seed=3, duration_s=7200, hosts=60, scenarios=tuple(map(ScheduledScenario.parse, scenarios))
    )
    write_zeek_logs(settings, folder / "office-3")
    return FlowBatch.concatenate(list(read_flows(folder / "office-3")))


def _flows(folder: Path) -> list[FlowBatch]:
    """An office in batches of 4,096 rows; without ids, so that none is a repetition."""
    whole = office(folder)
    plain = replace(whole, text={name: text for name, text in whole.text.items() if name != "flow_id"})
    return [piece for piece in plain.split(ROWS) if len(piece) == ROWS]


def train(data_dir: Path, folder: Path) -> None:
    """Trains a champion by the default recipe on three offices of an hour, where the registry has none."""
    captures = [folder / f"office-{seed}" for seed in (1, 2, 4)]
    with EmbeddedSuite(["registry"], data_dir, model=MODEL) as suite, SecureNet(suite.connection()) as net:
        if any(model.id == MODEL and model.alias() for model in net.registry.list_models()):
            return
        for capture in captures:
            scenarios = tuple(map(ScheduledScenario.parse, ("horizontal-scan@5m", "ssh-brute-force@20m")))
            settings = SimulationSettings(seed=int(capture.name[-1]), duration_s=3600, scenarios=scenarios)
            write_zeek_logs(settings, capture)
        *_, last = net.registry.train_model(MODEL, captures, seed=1)
        training = last.training
        if training is None or training.model_version is None:
            raise SystemExit(f"training failed: {training.error if training else 'it did not end'}")
        net.registry.promote_model_version(MODEL, training.model_version.version)


def _trained(folder: Path) -> EmbeddedSuite:
    """Services with a champion; its joblib form lies in the folder for MLServer."""
    train(folder / "data", folder)
    with EmbeddedSuite(["registry"], folder / "data") as suite, SecureNet(suite.connection()) as net:
        (folder / "mlserver").mkdir()
        net.registry.download_model_version(MODEL, 1, folder / "mlserver" / "model.joblib", flavor="joblib")
    return EmbeddedSuite(["registry", "detection"], folder / "data")


@contextmanager
def _mlserver(python: Path, folder: Path, *, batching: bool) -> Iterator[str]:
    """MLServer in one process; its gRPC address."""
    ports = [_free_port() for _ in range(3)]
    model: dict[str, Any] = {
        "name": "flows",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib"},
    }
    if batching:
        model |= {"max_batch_size": 256, "max_batch_time": 0.002}
    settings = {
        "debug": False, "parallel_workers": 0, "host": "127.0.0.1", "http_port": ports[0], "grpc_port": ports[1],
        "metrics_port": ports[2], "grpc_max_message_length": 64 << 20,
    }  # fmt: skip
    (folder / "mlserver" / "model-settings.json").write_text(json.dumps(model))
    (folder / "mlserver" / "settings.json").write_text(json.dumps(settings))
    # One thread, as detection has: with more, the trees of one row are not worth the wake-ups.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "mlserver.log").open("wb") as log:
        process = subprocess.Popen(
            [python.parent / "mlserver", "start", folder / "mlserver"], stdout=log, stderr=log, env=environment
        )
    try:
        body = (folder / "one.raw").read_bytes()
        address = f"127.0.0.1:{ports[1]}"
        with grpc.insecure_channel(address) as channel:
            call: Any = channel.unary_unary(INFER)
            for _ in range(600):
                try:
                    call(body, timeout=5)
                    break
                except grpc.RpcError as error:
                    if process.poll() is not None:
                        raise SystemExit((folder / "mlserver.log").read_text()) from error
                    time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _environment(folder: Path) -> Path:
    """The Python of MLServer's environment, which is made if it is not there."""
    python = folder / "bin" / "python"
    if not (folder / "bin" / "mlserver").exists():
        sys.stderr.write(f"making {folder} with {', '.join(REQUIREMENTS)}\n")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    return python


def _print(name: str, unit: str, pair: tuple[Figure, Figure], form: str) -> None:
    ours, theirs = pair
    ratio = ours.median / theirs.median
    if form == "json":
        figures = {
            "name": name,
            "value": round(ours.median),
            "unit": unit,
            "ratio_to": f"MLServer {REQUIREMENTS[0].rpartition('=')[2]} ({theirs.configuration}): {theirs.median:.0f}",
            "ratio": round(ratio, 2),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        }
        print(json.dumps(figures))
    else:
        print(
            f"{name}: {ours.median:,.0f} {unit}, {ratio:.1f} × MLServer's {theirs.median:,.0f} ({theirs.configuration})"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, default=Path(__file__).resolve().parents[1] / ".mlserver")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
