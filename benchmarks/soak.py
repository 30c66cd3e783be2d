"""What the engine's memory does over a very long run of flows from ever new sources.

    python benchmarks/soak.py [--flows 50000000] [--sources 5000000] [--batch 4096] [--output json]

Most flows are an office's: visits, lookups of ever new names, echoes, log-ins; one in five comes from a source that was
never seen before, as in a flood with spoofed addresses, until `--sources` have been; then they begin anew. State is
bounded by the settings, so memory must stand still once the tables have been touched: what is printed is memory at each
twentieth of the run, how far it moved from the second quarter to the end, and what every detector holds against its
bound. Flows are made beside the measurement. The exit code is 1 where a table passed its bound, or memory moved by more
than one percent.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from securenet_detection.detector_settings import DetectorSettings
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_flows.batch import CONN_STATES, Dictionary, FlowBatch

START_NS: Final = 1_767_225_600 * 10**9
FLOWS_A_SECOND: Final = 5_000
SPOOFED: Final = 0.2
#: Shares of an office's flows that are lookups and echoes, and names that are looked up in one batch.
LOOKUPS: Final = 0.1
ECHOES: Final = 0.02
NAMES: Final = 64
#: Memory may move so far, as a share, once the tables have been touched.
STEADY: Final = 0.01


def batches(flows: int, sources: int, size: int) -> Iterator[FlowBatch]:
    """Flows in order of time; no two have one identity."""
    rng = np.random.default_rng(1)
    made = spoofed = 0
    while made < flows:
        rows = min(size, flows - made)
        flood = rng.random(rows) < SPOOFED
        src, dst = np.zeros((rows, 16), np.uint8), np.zeros((rows, 16), np.uint8)
        src[:, 10:12] = dst[:, 10:12] = 255
        src[:, 12], src[:, 14], src[:, 15] = 10, rng.integers(0, 4, rows), rng.integers(1, 251, rows)
        dst[:, 12], dst[:, 13], dst[:, 14] = 93, rng.integers(0, 80, rows), rng.integers(0, 250, rows)
        number = (spoofed + np.arange(int(flood.sum()))) % sources
        spoofed += len(number)
        for column, shift in ((12, 24), (13, 16), (14, 8), (15, 0)):
            src[flood, column] = ((number + (100 << 24)) >> shift) & 255
        dst[flood, 12:] = (10, 9, 9, 9)
        kind = rng.random(rows)
        lookup, echo = ~flood & (kind < LOOKUPS), ~flood & (kind > 1 - ECHOES)
        state = np.where(flood | (rng.random(rows) < 0.03), CONN_STATES.index("S0"), CONN_STATES.index("SF"))
        sent = np.where(flood, 0, rng.lognormal(7, 1.5, rows)).astype(np.int64)
        yield FlowBatch(
            start_time_ns=START_NS + (made + np.arange(rows)) * (10**9 // FLOWS_A_SECOND),
            src_addr=src,
            dst_addr=dst,
            protocol=np.where(lookup, 17, np.where(echo, 1, 6)).astype(np.uint8),
            numeric={
                "duration_ns": np.where(flood, 0, rng.lognormal(19, 2, rows)).astype(np.int64),
                "src_port": np.where(echo, 8, rng.integers(1024, 65_535, rows)).astype(np.uint16),
                "dst_port": np.select(
                    (flood, lookup, echo), (80, 53, 0), rng.choice([443, 80, 993, 22, 445], rows)
                ).astype(np.uint16),
                "conn_state": state.astype(np.uint8),
                "orig_bytes": sent,
                "resp_bytes": sent * 4,
                "orig_pkts": sent // 500 + 1,
                "resp_pkts": sent // 300,
            },
            text={
                "flow_id": Dictionary(
                    np.arange(rows, dtype=np.int32), tuple(f"C{i:012x}" for i in range(made, made + rows))
                ),
                "dns_query": Dictionary(
                    np.where(lookup, rng.integers(0, NAMES, rows), -1).astype(np.int32),
                    tuple(f"h{made + i:x}.site{(made >> 12) * 7 + i % 8}.example.com" for i in range(NAMES)),
                ),
            },
        )
        made += rows


def resident() -> float:
    """Memory of this process, MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def line(name: str, value: float, unit: str, ratio_to: str, ratio: float) -> dict[str, Any]:
    """One figure."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return {
        "name": name, "value": round(value, 1), "unit": unit, "ratio_to": ratio_to, "ratio": round(ratio, 4),
        "machine": machine,
    }  # fmt: skip


def run(flows: int, sources: int, size: int) -> Iterator[dict[str, Any]]:
    """Every figure."""
    engine = Engine(DetectorSettings(), ModelSlot())
    engine.warm_up()
    start = resident()
    yield line("soak-memory-0", start, "MB", "start", 1.0)
    samples: list[tuple[int, float]] = []
    done, step, cpu = 0, max(flows // 20, size), 0.0
    for batch in batches(flows, sources, size):
        begun = time.process_time()
        engine.analyze(batch)
        cpu += time.process_time() - begun
        done += len(batch)
        if done // step > len(samples):
            samples.append((done, resident()))
            yield line(f"soak-memory-{done}", samples[-1][1], "MB", "start", samples[-1][1] / start)
    settled = [value for _, value in samples[len(samples) // 4 :]]
    middle, moved = (max(settled) + min(settled)) / 2, (max(settled) - min(settled)) / 2
    yield line("soak-memory-moved", moved, "± MB", "memory", moved / middle)
    yield line("soak-sources", min(sources, int(done * SPOOFED)), "spoofed sources", "flows", SPOOFED)
    yield line("soak-rate", done / cpu, "flows/s of CPU time", "start", 1.0)
    for status in engine.detectors():
        usage = status.usage
        if usage.capacity:
            unit = f"entries, {usage.evictions} evicted"
            yield line(
                f"soak-state-{status.definition.name}", usage.entries, unit, "bound", usage.entries / usage.capacity
            )


def main() -> int:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", type=int, default=50_000_000)
    parser.add_argument("--sources", type=int, default=5_000_000)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    failed = False
    for found in run(arguments.flows, arguments.sources, arguments.batch):
        failed |= found["ratio"] > (STEADY if found["name"] == "soak-memory-moved" else 1) and found["ratio_to"] in {
            "bound", "memory",
        }  # fmt: skip
        if arguments.output == "json":
            print(json.dumps(found), flush=True)
        else:
            print(
                f"{found['name']:32} {found['value']:>12,} {found['unit']:28} × {found['ratio']:.4f} of "
                f"{found['ratio_to']}",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
