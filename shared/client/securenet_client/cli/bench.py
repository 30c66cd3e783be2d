"""`securenet bench`: how fast it is on this machine."""

from __future__ import annotations

import asyncio
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from securenet_client.cli.invocation import CommandError, Invocation, add_command

if TYPE_CHECKING:
    from securenet_client.connection import ConnectionSettings
    from securenet_flows import FlowBatch

#: Rows of a message of a stream.
_ROWS: Final = 4096
_COLUMNS: Final = ("name", "value", "unit", "ratio_to", "ratio", "machine")


class Bench(StrEnum):
    """What is measured."""

    ANALYZE = "analyze"
    STREAM = "stream"
    READ = "read"


def register(application: typer.Typer) -> None:
    """Adds the command."""
    add_command(
        application,
        bench,
        "bench",
        examples=(
            "securenet bench analyze --embedded --in-flight 256",
            "securenet bench stream --embedded --data /var/log/zeek/2025-03-03 --output json",
            "securenet bench read --data conn.log.gz",
        ),
    )


def bench(
    run: Invocation,
    *,
    name: Annotated[Bench, typer.Argument(help="analyze: calls; stream: rows; read: a log's rows.", metavar="NAME")],
    data: Annotated[
        list[str] | None, typer.Option(help="Flow logs to measure with; a simulated office if not given.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long to measure.", min=1, max=600)] = 5.0,
    in_flight: Annotated[
        int | None, typer.Option(help="At once: calls, 64 if not given; or messages, 4.", min=1, max=1024)
    ] = None,
) -> None:
    """Measure calls, streams and reading on this machine, a figure a line.

    With --embedded detection is started for it, and does all that it does in service. A service that runs elsewhere is
    asked for dry runs, which change nothing that it knows.
    """
    with ExitStack() as stack:
        paths = data or [str(_office(run, stack))]
        if name is Bench.READ:
            figures = [_read(paths, seconds)]
        else:
            batches = list(_batches(paths))
            if not batches:
                raise CommandError("there are no flows to measure with")
            connection = _connection(run, stack)
            measure = _analyze if name is Bench.ANALYZE else _stream
            with run.out.status(f"measuring {name.value}"):
                figures = measure(connection, batches, seconds, in_flight, dry_run=not run.embedded)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    records: list[dict[str, Any]] = [{**figure.record(), "machine": machine} for figure in figures]
    if run.out.form == "json":
        for record in records:
            run.out.line(record)
    else:
        run.out.records(records, _COLUMNS)


@dataclass(frozen=True, slots=True)
class _Figure:
    """One line of the result; `ratio` to `ratio_to` where there is something to compare with."""

    name: str
    value: float
    unit: str
    ratio_to: str | None = None
    ratio: float | None = None

    def record(self) -> dict[str, Any]:
        """As the command prints it."""
        return {
            "name": self.name, "value": round(self.value, 3), "unit": self.unit, "ratio_to": self.ratio_to,
            "ratio": None if self.ratio is None else round(self.ratio, 3),
        }  # fmt: skip


def _analyze(
    connection: ConnectionSettings, batches: list[FlowBatch], seconds: float, in_flight: int | None, *, dry_run: bool
) -> list[_Figure]:
    from securenet_client import measuring  # noqa: PLC0415 - start-up must be quick

    bodies = measuring.requests(batches, dry_run=dry_run)
    many = in_flight or 64
    with measuring.echo() as bare:
        floor, found = (
            asyncio.run(measuring.calls(to, "detection", bodies, in_flight=many, seconds=seconds))
            for to in (bare, connection)
        )
    to = "a bare grpc.aio echo of the same requests"
    return [
        _Figure(f"analyze.{many}-in-flight.rate", found.rate, "calls/s", to, found.rate / floor.rate),
        _Figure(f"analyze.{many}-in-flight.p50", found.p50_ms, "ms", to, found.p50_ms / floor.p50_ms),
        _Figure(f"analyze.{many}-in-flight.p99", found.p99_ms, "ms", to, found.p99_ms / floor.p99_ms),
    ]


def _stream(
    connection: ConnectionSettings, batches: list[FlowBatch], seconds: float, in_flight: int | None, *, dry_run: bool
) -> list[_Figure]:
    from securenet_client import measuring  # noqa: PLC0415 - start-up must be quick

    sent = measuring.messages(batches, dry_run=dry_run)
    found = asyncio.run(measuring.streamed(connection, sent, in_flight=in_flight or 4, seconds=seconds))
    return [
        _Figure("stream.rate", found.rate, "rows/s"),
        _Figure("stream.p50", found.p50_ms, f"ms a message of {_ROWS} rows"),
        _Figure("stream.p99", found.p99_ms, f"ms a message of {_ROWS} rows"),
    ]


def _read(paths: list[str], seconds: float) -> _Figure:
    from securenet_flows import read_flows  # noqa: PLC0415 - start-up must be quick

    begin, rows = time.perf_counter(), 0
    while (passed := time.perf_counter() - begin) < seconds:
        found = sum(len(batch) for batch in read_flows(paths))
        if not found:
            raise CommandError("there are no flows to measure with")
        rows += found
    return _Figure("read.rate", rows / passed, "rows/s")


def _batches(paths: list[str]) -> Iterator[FlowBatch]:
    """Whole messages without the flows' ids, so that none is taken for a repetition."""
    from dataclasses import replace  # noqa: PLC0415 - start-up must be quick

    from securenet_flows import read_flows  # noqa: PLC0415 - likewise

    for batch in read_flows(paths):
        text = {name: column for name, column in batch.text.items() if name != "flow_id"}
        yield from replace(batch, text=text).split(_ROWS)


def _office(run: Invocation, stack: ExitStack) -> Path:
    from securenet_flows.simulation import (  # noqa: PLC0415 - start-up must be quick
        ScheduledScenario,
        SimulationSettings,
        write_zeek_logs,
    )

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="securenet-bench-")))
    scenarios = tuple(map(ScheduledScenario.parse, ("horizontal-scan@10m", "ssh-brute-force@30m")))
    with run.out.status("simulating an office"):
        write_zeek_logs(SimulationSettings(seed=1, duration_s=3600.0, hosts=80, scenarios=scenarios), folder)
    return folder


def _connection(run: Invocation, stack: ExitStack) -> ConnectionSettings:
    if not run.embedded:
        return run.connection("detection")
    from securenet_client.cli.captures import has_models  # noqa: PLC0415 - start-up must be quick

    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="securenet-bench-")))
    services = ("registry", "detection") if has_models(run.data_dir) else ("detection",)
    return stack.enter_context(run.suite(*services, detection_data_dir=scratch)).connection()
