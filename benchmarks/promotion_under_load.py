"""What a promotion does to the calls that are in flight: none may fail, and none may wait for it.

    python benchmarks/promotion_under_load.py [--seconds 20] [--promotions 8] [--callers 8] [--output json]

A registry and a detection service are started, two versions trained on simulated offices. Callers, each of which waits
for an answer before it asks again, call Analyze at a steady pace for as long without promotions as with them. A call is
delayed that took more than twice the 99th percentile of the calls without promotions; since a machine that others use
delays calls by itself, the same share is told of the calls without promotions. The clients are a process of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from securenet_client import AsyncSecureNet, Flow, SecureNet
from securenet_client.embedded import EmbeddedSuite
from securenet_core.exceptions import SecurenetError
from securenet_flows.simulation import ScheduledScenario, SimulationSettings, write_zeek_logs

MODEL: Final = "flow-threat"

#: Calls a second of each caller: as many as leave the machine some rest.
PACE: Final = 40.0

#: Seconds of calls before anything is measured.
SETTLE: Final = 3.0


class Load:
    """Callers that never stop; how long each call took, in seconds, and which failed."""

    def __init__(self, net: AsyncSecureNet, callers: int) -> None:
        self.took: list[float] = []
        self.failed: list[str] = []
        self.models: set[str] = set()
        self._net = net
        self._stopping = False
        self._tasks = [asyncio.ensure_future(self._call(number)) for number in range(callers)]

    async def _call(self, number: int) -> None:
        count = 0
        while not self._stopping:
            flow = Flow(
                f"10.1.0.{number}", f"93.184.216.{count % 200 + 1}", dst_port=443, flow_id=f"P{number}-{count}",
                orig_bytes=500 + count % 900, resp_bytes=4_000,
            )  # fmt: skip
            count += 1
            begun = time.perf_counter()
            try:
                verdict = await self._net.detection.analyze(flow)
            except SecurenetError as error:
                self.failed.append(error.message)
            else:
                self.took.append(time.perf_counter() - begun)
                if verdict.model is not None:
                    self.models.add(verdict.model.name)
            await asyncio.sleep(max(0.0, 1 / PACE - (time.perf_counter() - begun)))

    def start_over(self) -> None:
        """Forgets what was measured."""
        self.took, self.failed, self.models = [], [], set()

    async def stop(self) -> None:
        """Ends the callers."""
        self._stopping = True
        await asyncio.gather(*self._tasks)


async def measure(suite: EmbeddedSuite, versions: Sequence[int], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Every figure."""
    async with AsyncSecureNet(suite.connection()) as net:
        load = Load(net, arguments.callers)
        await asyncio.sleep(SETTLE)
        load.start_over()
        await asyncio.sleep(arguments.seconds)
        calm = np.array(load.took)
        failed_before = len(load.failed)
        load.start_over()
        for number in range(arguments.promotions):
            await net.registry.promote_model_version(MODEL, versions[(number + 1) % len(versions)], reason="benchmark")
            await asyncio.sleep(arguments.seconds / arguments.promotions)
        busy = np.array(load.took)
        failed, models = len(load.failed), len(load.models)
        await load.stop()
    p99 = float(np.quantile(calm, 0.99))
    limit = 2 * p99
    return [
        line("promotion-calls", len(busy), f"calls, {models} versions answered", "without promotions",
             len(busy) / len(calm)),
        line("promotion-failed", failed, "calls", "without promotions", float(failed_before)),
        line("promotion-p50", float(np.median(busy)) * 1e3, "ms", "without promotions",
             float(np.median(busy) / np.median(calm))),
        line("promotion-p99", float(np.quantile(busy, 0.99)) * 1e3, "ms", "without promotions",
             float(np.quantile(busy, 0.99)) / p99),
        line("promotion-slowest", float(busy.max()) * 1e3, "ms", "without promotions", float(busy.max() / calm.max())),
        line("promotion-delayed", float(np.mean(busy > limit)), "of calls over 2 × p99", "without promotions",
             float(np.mean(busy > limit)) / max(float(np.mean(calm > limit)), 1 / len(calm))),
        line("promotion-delayed-without", float(np.mean(calm > limit)), "of calls over 2 × p99", "itself", 1.0),
    ]  # fmt: skip


def line(name: str, value: float, unit: str, ratio_to: str, ratio: float) -> dict[str, Any]:
    """One figure."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return {
        "name": name, "value": round(value, 5), "unit": unit, "ratio_to": ratio_to, "ratio": round(ratio, 3),
        "machine": machine,
    }  # fmt: skip


def train(suite: EmbeddedSuite, folder: Path) -> list[int]:
    """Numbers of two versions, of which the first serves."""
    scenarios = tuple(map(ScheduledScenario.parse, ("horizontal-scan@5m", "ssh-brute-force@12m")))
    captures = []
    for seed in (1, 2):
        captures.append(str(folder / f"office-{seed}"))
        write_zeek_logs(SimulationSettings(seed=seed, duration_s=1_200.0, scenarios=scenarios), Path(captures[-1]))
    versions = []
    with SecureNet(suite.connection()) as net:
        for iterations in ("100", "90"):
            *_, last = net.registry.train_model(MODEL, captures, params={"max_iter": iterations})
            if last.training is None or last.training.model_version is None:
                raise SystemExit(f"the training made no version: {last.message}")
            versions.append(last.training.model_version.version)
        net.registry.promote_model_version(MODEL, versions[0], reason="benchmark")
    suite.wait_for_model()
    return versions


def main() -> int:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--promotions", type=int, default=8)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="securenet-promotion-") as scratch:
        folder = Path(scratch)
        with EmbeddedSuite(["registry", "detection"], folder / "data", model=MODEL) as suite:
            versions = train(suite, folder)
            found = asyncio.run(measure(suite, versions, arguments))
    for one in found:
        if arguments.output == "json":
            print(json.dumps(one), flush=True)
        else:
            print(f"{one['name']:28} {one['value']:>12,} {one['unit']:32} × {one['ratio']:.3f} of {one['ratio_to']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
