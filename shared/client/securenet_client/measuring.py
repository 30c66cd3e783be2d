"""How fast a service answers from here: calls and rows a second, and what a call waits.

Requests are made before the clock starts. Nothing of a bare echo is measured but gRPC itself, so the ratio to it is
what the service costs.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
import numpy as np

from securenet.detection.v1 import detection_pb2
from securenet_client.analysis.rows import address_text
from securenet_client.connection import ConnectionSettings
from securenet_client.detection.convert import batch_options, pack_batch, pack_flow
from securenet_client.detection.records import Flow, ThreatLevel
from securenet_core.channels import call_metadata, open_aio_channel
from securenet_core.exceptions import UnavailableError
from securenet_core.status import from_rpc_error
from securenet_flows.batch import FlowBatch

ANALYZE: Final = "/securenet.detection.v1.DetectionService/Analyze"
STREAM: Final = "/securenet.detection.v1.DetectionService/AnalyzeStream"

#: Requests that are made beforehand; after the last the first comes again.
_MOST_REQUESTS: Final = 20_000
_MOST_MESSAGES: Final = 256
_COLUMNS: Final = ("src_port", "dst_port", "orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts")
_START_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Pace:
    """What was measured.

    Attributes:
        rate: calls, or rows, a second.
        p50_ms, p99_ms: of a call; of a message where many rows travel in one.
    """

    rate: float
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, waits: Sequence[float], seconds: float, *, rows: int = 1) -> Pace:
        """From seconds that each call took; `rows` of each."""
        if not waits:
            raise UnavailableError(f"no call was answered within {seconds:g} seconds")
        p50, p99 = np.percentile(np.asarray(waits), (50, 99)) * 1e3
        return cls(len(waits) * rows / seconds, float(p50), float(p99))


def requests(batches: Iterable[FlowBatch], *, dry_run: bool) -> list[bytes]:
    """Requests of `Analyze`, one a flow. They bear no id, so that none is taken for a repetition."""
    found: list[bytes] = []
    for batch in batches:
        columns = {name: batch.number(name).tolist() for name in _COLUMNS}
        times, protocols = batch.start_time_ns.tolist(), batch.protocol.tolist()
        for row in range(min(len(batch), _MOST_REQUESTS - len(found))):
            flow = Flow(
                address_text(batch.src_addr[row].tobytes()),
                address_text(batch.dst_addr[row].tobytes()),
                protocol=protocols[row],
                **{name: values[row] for name, values in columns.items()},
            )
            request = detection_pb2.AnalyzeRequest(flow=pack_flow(flow), dry_run=dry_run)
            request.flow.start_time.FromNanoseconds(times[row])
            found.append(request.SerializeToString())
    return found


def messages(batches: Iterable[FlowBatch], *, dry_run: bool) -> list[tuple[bytes, int]]:
    """Messages of `AnalyzeStream` without their numbers, each with its rows."""
    options = batch_options(dry_run=dry_run, detail_level=ThreatLevel.MEDIUM)
    found: list[tuple[bytes, int]] = []
    for batch in batches:
        request = detection_pb2.AnalyzeStreamRequest(batch=pack_batch(batch), options=options)
        found.append((request.SerializeToString(), len(batch)))
        if len(found) == _MOST_MESSAGES:
            break
    return found


async def calls(
    connection: ConnectionSettings, service: str, bodies: Sequence[bytes], *, in_flight: int, seconds: float
) -> Pace:
    """Calls of `Analyze`, so many at once, after a second of warming up.

    Raises:
        SecurenetError: a call failed.
    """
    described = connection.channel(service)
    async with open_aio_channel(described) as channel:
        call: Any = channel.unary_unary(ANALYZE)
        metadata = call_metadata(described)
        position, waits = 0, list[float]()
        begin = time.perf_counter() + 1.0
        end = begin + seconds

        async def caller() -> None:
            nonlocal position
            while (before := time.perf_counter()) < end:
                body = bodies[position]
                position = (position + 1) % len(bodies)
                await call(body, timeout=connection.timeout, metadata=metadata)
                if begin <= (after := time.perf_counter()) < end:
                    waits.append(after - before)

        await _together(caller() for _ in range(in_flight))
    return Pace.of(waits, seconds)


async def streamed(
    connection: ConnectionSettings, sent: Sequence[tuple[bytes, int]], *, in_flight: int, seconds: float
) -> Pace:
    """Rows of one `AnalyzeStream`, so many messages at once, after a second of warming up.

    Raises:
        SecurenetError: the stream failed.
    """
    described = connection.channel("detection")
    async with open_aio_channel(described) as channel:
        call: Any = channel.stream_stream(STREAM)
        places, since, waits, rows = asyncio.Semaphore(in_flight), list[float](), list[float](), 0
        begin = time.perf_counter() + 1.0
        end = begin + seconds

        async def numbered() -> AsyncIterator[bytes]:
            sequence = 0
            while time.perf_counter() < end:
                await places.acquire()
                since.append(time.perf_counter())
                sequence += 1
                # A message is the sum of its fields, so the number goes behind the rest.
                number = detection_pb2.AnalyzeStreamRequest(sequence=sequence).SerializeToString()
                yield sent[(sequence - 1) % len(sent)][0] + number

        async def receiver() -> None:
            nonlocal rows
            answered = 0
            async for _ in call(numbered(), metadata=call_metadata(described)):
                after = time.perf_counter()
                places.release()
                if begin <= after < end:
                    waits.append(after - since[answered])
                    rows += sent[answered % len(sent)][1]
                answered += 1

        await _together([receiver()])
    pace = Pace.of(waits, seconds)
    return Pace(rows / seconds, pace.p50_ms, pace.p99_ms)


async def _together(work: Iterable[Any]) -> None:
    try:
        await asyncio.gather(*work)
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


@contextmanager
def echo() -> Iterator[ConnectionSettings]:
    """A bare grpc.aio server in a process of its own that answers every `Analyze` with the same verdict."""
    command = [sys.executable, "-m", "securenet_client.echo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:  # noqa: S603 - this program's own module
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            if not port:
                raise UnavailableError("the echo to compare with did not start")
            yield ConnectionSettings({"detection": f"127.0.0.1:{port}"}, timeout=_START_SECONDS)
        finally:
            process.kill()
