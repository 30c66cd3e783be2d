"""Call metrics, cheap enough for every call: plain counters here, read by Prometheus when it scrapes.

Names and attributes follow gRPC's OpenTelemetry metrics (gRFC A66): ``grpc.server.call.started``,
``grpc.server.call.duration`` with ``grpc.method`` and ``grpc.status``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from securenet_core.exceptions import Code

#: Upper bounds of the latency histogram in seconds, from gRFC A66, thinned.
LATENCY_BOUNDS: Final[tuple[float, ...]] = (
    0.0001, 0.0003, 0.0006, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.065, 0.13, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0,
)  # fmt: skip


class MethodMetrics:
    """Counters of one method, touched only from the event loop's thread."""

    __slots__ = ("active", "buckets", "method", "seconds", "started")

    def __init__(self, method: str) -> None:
        self.method = method
        self.started = 0
        self.active = 0
        self.buckets: dict[Code, list[int]] = {}
        self.seconds: dict[Code, float] = {}

    def start(self) -> None:
        """Counts a call that begins."""
        self.started += 1
        self.active += 1

    def finish(self, code: Code, seconds: float) -> None:
        """Counts a call that ended with `code` after `seconds`."""
        self.active -= 1
        buckets = self.buckets.get(code)
        if buckets is None:
            buckets = self.buckets[code] = [0] * (len(LATENCY_BOUNDS) + 1)
            self.seconds[code] = 0.0
        buckets[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self.seconds[code] += seconds


class CallMetrics(Collector):
    """The call metrics of a server, as a Prometheus collector."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry(auto_describe=False)
        self.access_log_dropped = 0
        self._methods: dict[str, MethodMetrics] = {}
        self.registry.register(self)

    def method(self, name: str) -> MethodMetrics:
        """The counters of ``package.Service/Method``."""
        return self._methods.setdefault(name, MethodMetrics(name))

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        started = CounterMetricFamily("grpc_server_call_started", "Calls begun.", labels=["grpc_method"])
        active = GaugeMetricFamily("grpc_server_call_active", "Calls in flight.", labels=["grpc_method"])
        duration = HistogramMetricFamily(
            "grpc_server_call_duration_seconds", "Time a call took.", labels=["grpc_method", "grpc_status"]
        )
        for metrics in list(self._methods.values()):  # scraped from a thread of its own
            started.add_metric([metrics.method], metrics.started)
            active.add_metric([metrics.method], metrics.active)
            for code, buckets in list(metrics.buckets.items()):
                total = 0
                cumulative: list[tuple[str, float]] = []
                for bound, count in zip((*map(str, LATENCY_BOUNDS), "+Inf"), buckets, strict=True):
                    total += count
                    cumulative.append((bound, float(total)))
                duration.add_metric([metrics.method, code.name], cumulative, metrics.seconds[code])
        yield started
        yield active
        yield duration
        yield CounterMetricFamily(
            "securenet_access_log_dropped", "Access log lines dropped under load.", value=self.access_log_dropped
        )
