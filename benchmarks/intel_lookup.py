"""Threat intelligence: reading, loading and looking up a million indicators.

    python benchmarks/intel_lookup.py [--indicators 1000000] [--flows 400000] [--rounds 3] [--output json]

Indicators are drawn at random: seven in ten addresses, one in ten networks, two in ten domains. Flows go from an office
to random addresses and ask for random names, a tenth of which are listed. `import` is what reading a list of as many
lines takes, `load` what a service pays at its start to have the set from its file, digest verified. Lookups go by the
batch, as the engine does them. All of it is one thread's work, so what is given is its time on a core, of the best
round: that is what the clock says on a machine that nobody else uses.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from securenet_detection.behaviours.observation import Observation
from securenet_detection.intel.feeds import Feed, FeedHeader, Limits, read_feed
from securenet_detection.intel.index import IntelIndex
from securenet_detection.intel.indicator_set import IndicatorSet, read_set, write_set
from securenet_detection.intel.matching import match
from securenet_flows.batch import Dictionary, FlowBatch


def content(count: int, rng: np.random.Generator) -> tuple[bytes, bytes]:
    """A list of addresses alone, and a mixed one of as many lines."""
    octets = rng.integers(1, 224, (count, 4), dtype=np.uint8)
    octets[:, 0] = np.where(np.isin(octets[:, 0], (10, 127, 169, 172, 192)), 45, octets[:, 0])
    addresses = [f"{a}.{b}.{c}.{d}" for a, b, c, d in octets.tolist()]
    kinds = rng.random(count)
    mixed = [
        address if kind < 0.7 else f"{address}/{24 + number % 5}" if kind < 0.8 else name(number)
        for number, (address, kind) in enumerate(zip(addresses, kinds.tolist(), strict=True))
    ]
    return "\n".join(addresses).encode(), "\n".join(mixed).encode()


def name(number: int) -> str:
    """A domain of eighteen characters or so."""
    return f"host{number * 2_654_435_761 % 4_294_967_296:08x}.example{number % 97}.net"


def flows(rows: int, size: int, listed: int, rng: np.random.Generator) -> Iterator[FlowBatch]:
    """Batches in which every row has a name of its own, the worst that a dictionary can be."""
    for start in range(0, rows, size):
        count = min(size, rows - start)
        src = np.zeros((count, 16), np.uint8)
        src[:, 10:12] = 255
        dst = src.copy()
        src[:, 12] = 10
        src[:, 13:] = rng.integers(1, 250, (count, 3))
        dst[:, 12:] = rng.integers(1, 224, (count, 4))
        numbers = np.where(
            rng.random(count) < 0.1, rng.integers(0, listed, count), rng.integers(1 << 24, 1 << 30, count)
        )
        names = tuple(f"www.{name(number)}" for number in numbers.tolist())
        yield FlowBatch(
            np.full(count, 1_767_225_600 * 10**9, np.int64), src, dst, np.full(count, 6, np.uint8),
            {"dst_port": np.full(count, 443, np.uint16)},
            {"dns_query": Dictionary(np.arange(count, dtype=np.int32), names)},
        )  # fmt: skip


def seconds(rounds: int, work: Callable[[], object]) -> float:
    """The best round's time on a core."""
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return best


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--indicators", type=int, default=1_000_000)
    parser.add_argument("--flows", type=int, default=400_000)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    count, rng = arguments.indicators, np.random.default_rng(1)
    limits = Limits(max_bytes=1 << 30, max_json_bytes=1 << 26, max_indicators=2 * count)
    addresses, mixed = content(count, rng)
    IntelIndex.sample()
    figures: list[tuple[str, float, str]] = []

    def figure(what: str, value: float, unit: str) -> None:
        figures.append((what, value, unit))

    figure("import-addresses", seconds(1, lambda: read_feed(addresses, FeedHeader("a"), limits)), "s")
    document = read_feed(mixed, FeedHeader("mixed"), limits)
    figure("import-mixed", seconds(1, lambda: read_feed(mixed, FeedHeader("mixed"), limits)), "s")
    feed = Feed("mixed", "list", "", False, 80, "", "", 0, 0, len(document.columns), 0, 0, {}, {})
    stored = IndicatorSet.empty("t").with_feed(feed, document.columns)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set"
        write_set(stored, path)
        figure("file-bytes", path.stat().st_size / len(stored.columns), "bytes/indicator")

        def load() -> IntelIndex:
            found = read_set(path, max_indicators=2 * count)
            return IntelIndex(found.columns, found.feeds, version=1, seed=7)

        figure("load", seconds(arguments.rounds, load), "s")
        index = load()
    figure("memory", index.nbytes / len(index), "bytes/indicator")
    seen = [
        Observation.of(batch, seed=1, ordinal=1, learn=True)
        for batch in flows(arguments.flows, arguments.batch, count, rng)
    ]

    def run(batches: list[Observation]) -> int:
        return sum(
            len(found.rows) for batch in batches if (found := match(index, batch, least=1, lookback=0)) is not None
        )

    def without_names(batch: FlowBatch) -> FlowBatch:
        return FlowBatch(batch.start_time_ns, batch.src_addr, batch.dst_addr, batch.protocol, batch.numeric)

    bare = [Observation.of(without_names(one.batch), seed=1, ordinal=1, learn=True) for one in seen]
    run(seen[:1])
    figure("matched", run(seen) / arguments.flows * 100, "% of flows")
    figure("lookup-addresses", seconds(arguments.rounds, lambda: run(bare)) / arguments.flows * 1e9, "ns/flow")
    figure("lookup-addresses-names", seconds(arguments.rounds, lambda: run(seen)) / arguments.flows * 1e9, "ns/flow")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    for what, value, unit in figures:
        record = {
            "name": f"intel-{what}",
            "value": round(value, 2),
            "unit": unit,
            "indicators": count,
            "machine": machine,
        }
        if arguments.output == "json":
            print(json.dumps(record))
        else:
            print(f"{record['name']:32} {record['value']:>12,} {unit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
