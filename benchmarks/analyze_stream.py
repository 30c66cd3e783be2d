"""Rows a second of `AnalyzeStream` of the running service, against the bare model on the same rows.

    python benchmarks/analyze_stream.py [--data-dir DIR] [--rows 200000] [--batch 4096] [--rounds 3]
        [--processes 2] [--output json]

The service is one process with every detector, findings on SQLite and the champion of the registry under `--data-dir`
(without one there, one is trained first, by the default recipe on three simulated offices). This process sends it two
hours of another office, with attacks, as packed columns over loopback gRPC, eight messages ahead of the answers. Each
time the office comes again it is two hours later and its flows have other ids, so that no flow came before; the first
messages, which fill empty tables, are not counted. The bare model gets the features of the same rows, on one thread and
with nothing around it: once in ONNX Runtime, which its file is for, and once in the compiled scorer with which the
service takes the place of it. `cpu` is what the service's process used a row, which says more than the clock on a
machine with other work. The best round counts, since others share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any, Final

import grpc
from call_overhead import MODEL, SERVICE, Target, detection, line
from mlserver_comparison import office, train

from securenet_client import SecureNet
from securenet_client.detection.convert import batch_options, stream_request
from securenet_client.embedded import EmbeddedSuite
from securenet_detection.grpc_owners import owner
from securenet_detection.models.onnx_classifier import load_onnx
from securenet_detection.models.onnx_trees import read_trees
from securenet_detection.models.tree_scorer import faster
from securenet_flows.batch import Dictionary, FlowBatch
from securenet_flows.features import FEATURES, SourceContext, features

#: Messages that are on their way at once.
_AHEAD: Final = 8
#: Messages of a stream that are not counted.
_WARMING: Final = 8
#: By how much an office is moved each time it comes again.
_LAP_NS: Final = 7200 * 10**9
#: The bare model, and what scores it.
_ONNX, _COMPILED = "ONNX Runtime", "compiled scorer"
_STREAM: Final = f"/{SERVICE.full_name}/AnalyzeStream"


def batches(whole: FlowBatch, rows: int, size: int) -> list[FlowBatch]:
    """At least so many rows in full batches, each with dictionaries of its own, as sensors send them."""
    names, found = whole.text["flow_id"].decode(), []
    laps = -(-rows // (len(whole) // size * size))
    for lap in range(laps):
        for at, piece in enumerate(whole.split(size)):
            ids = Dictionary.encode(f"{lap}-{name}" for name in names[at * size : at * size + len(piece)])
            text = {name: Dictionary.encode(column.decode()) for name, column in piece.text.items()}
            moved = piece.start_time_ns + lap * _LAP_NS
            found.append(replace(piece, start_time_ns=moved, text={**text, "flow_id": ids}))
    return [piece for piece in found if len(piece) == size]


def bare(path: Path, pieces: Sequence[FlowBatch]) -> dict[str, tuple[float, float]]:
    """Rows a second and CPU seconds a row of the model alone, by what scores it."""
    onnx = load_onnx(path, input_name="features", output_name="score", columns=len(FEATURES))
    context = SourceContext()
    matrices = [features(piece, context) for piece in pieces]
    compiled = faster(onnx, read_trees(path.read_bytes(), len(FEATURES)), matrices[0])
    rows, found = sum(map(len, pieces)), {}
    for name, classifier in ((_ONNX, onnx), (_COMPILED, compiled)):
        classifier.scores(matrices[0])
        begun, used = time.perf_counter(), time.process_time()
        for matrix in matrices:
            classifier.scores(matrix)
        found[name] = (rows / (time.perf_counter() - begun), (time.process_time() - used) / rows)
    return found


async def streamed(target: Target, sent: Sequence[tuple[bytes, int]]) -> tuple[float, float]:
    """Rows a second and the service's CPU seconds a row of one stream, the first messages left out."""
    async with grpc.aio.insecure_channel(target.address) as channel:
        call: Any = channel.stream_stream(_STREAM)
        places = asyncio.Semaphore(_AHEAD)

        async def requests() -> AsyncIterator[bytes]:
            for body, _ in sent:
                await places.acquire()
                yield body

        rows, answers, begun, used = 0, 0, 0.0, 0.0
        async for _ in call(requests()):
            places.release()
            answers += 1
            if answers == _WARMING:
                begun, used = time.perf_counter(), target.cpu_seconds()
            elif answers > _WARMING:
                rows += sent[0][1]
        return rows / (time.perf_counter() - begun), (target.cpu_seconds() - used) / rows


async def abreast(target: Target, streams: Sequence[Sequence[tuple[bytes, int]]]) -> float:
    """CPU seconds a row of the busiest of the service's processes, over several streams at once."""
    begun = target.each_cpu_seconds()
    await asyncio.gather(*(streamed(target, sent) for sent in streams))
    used = [after - before for before, after in zip(begun, target.each_cpu_seconds(), strict=True)]
    return max(used) / sum(rows for sent in streams for _, rows in sent)


def requests_of(pieces: Sequence[FlowBatch], scope: str) -> list[tuple[bytes, int]]:
    """What a stream sends, and how many rows each message has."""
    options = batch_options(dry_run=False, detail_level=0, state_scope=scope)
    return [(stream_request(at, piece, options).SerializeToString(), len(piece)) for at, piece in enumerate(pieces)]


def several(
    arguments: argparse.Namespace, data_dir: Path, one: Target, pieces: Sequence[FlowBatch]
) -> Iterator[dict[str, Any]]:
    """Several processes against one, with as many states in each."""
    names: list[str] = []
    for process in range(arguments.processes):
        owned = (f"state-{n}" for n in count() if owner("default", f"state-{n}", arguments.processes) == process)
        names += islice(owned, 2)
    found = []
    with tempfile.TemporaryDirectory() as other:
        shutil.copytree(data_dir, other, dirs_exist_ok=True)
        with detection(Path(other), arguments.processes) as more:
            for _ in range(arguments.rounds):
                streams = [requests_of(pieces[:12], name) for name in names]
                found.append([asyncio.run(abreast(target, streams)) for target in (one, more)])
    alone, busiest = (statistics.median(figures) for figures in zip(*found, strict=True))
    name = f"analyze-stream-{arguments.processes}-processes-busiest"
    yield line(name, busiest * 1e6, "µs/row", "one process", busiest / alone)


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every figure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data_dir = arguments.data_dir or folder / "data"
        train(data_dir, folder)
        model = folder / "model.onnx"
        with EmbeddedSuite(["registry"], data_dir, model=MODEL) as suite, SecureNet(suite.connection()) as net:
            net.registry.download_model_version(MODEL, "champion", model, flavor="onnx")
        each = arguments.rows // arguments.batch + _WARMING
        pieces = batches(office(folder), each * arguments.rounds * arguments.batch, arguments.batch)
        alone, found = [], []
        with detection(data_dir) as target:
            for start in range(0, each * arguments.rounds, each):
                some = pieces[start : start + each]
                found.append(asyncio.run(streamed(target, requests_of(some, ""))))
                alone.append(bare(model, some))
            more = list(several(arguments, data_dir, target, pieces)) if arguments.processes > 1 else []
    rate, cpu = max(rate for rate, _ in found), min(cpu for _, cpu in found)
    for scorer, name in ((_ONNX, "onnx-runtime"), (_COMPILED, "compiled-scorer")):
        base, base_cpu = max(each[scorer][0] for each in alone), min(each[scorer][1] for each in alone)
        yield line(f"bare-model-{name}-rate", base, "rows/s", scorer, 1.0)
        yield line(f"bare-model-{name}-cpu", base_cpu * 1e6, "µs/row", scorer, 1.0)
        yield line("analyze-stream-rate", rate, "rows/s", scorer, rate / base)
        yield line("analyze-stream-cpu", cpu * 1e6, "µs/row", scorer, cpu / base_cpu)
    yield from more


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="of a registry with a champion; absent: a model is trained")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2, help="that many are compared with one; 1 leaves that out")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    for figures in measure(arguments):
        if arguments.output == "json":
            sys.stdout.write(json.dumps(figures) + "\n")
        else:
            sys.stdout.write(
                f"{figures['name']:34} {figures['value']:>10} {figures['unit']:8} × {figures['ratio']:.2f} of "
                f"{figures['ratio_to']}\n"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
