"""Detection's own numbers, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from securenet_detection.analysis import Analysis
from securenet_detection.engine import Engine
from securenet_detection.findings.ledger import Ledger
from securenet_detection.intel.library import IntelLibrary
from securenet_detection.models.serving import ModelSlot


class EngineCollector(Collector):
    """Reads counters when it is scraped; the hot path only adds to plain numbers."""

    def __init__(  # noqa: PLR0917 - what is measured
        self,
        analysis: Analysis,
        engine: Engine,
        models: ModelSlot,
        anomalies: ModelSlot,
        ledger: Ledger,
        intel: IntelLibrary,
    ) -> None:
        self._intel = intel
        self._analysis = analysis
        self._ledger = ledger
        self._engine = engine
        self._models = models
        self._anomalies = anomalies

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        counters = self._analysis.counters
        yield CounterMetricFamily("securenet_detection_flows", "Flows scored.", value=counters.flows)
        yield CounterMetricFamily(
            "securenet_detection_repeats", "Flows that came again and changed nothing.", value=counters.repeats
        )
        yield CounterMetricFamily(
            "securenet_detection_repeat_evictions",
            "Flows forgotten before their time; they would count anew.",
            value=sum(state.repeats.usage().evictions for state in self._engine.states),
        )
        yield from self._loads()
        yield CounterMetricFamily("securenet_detection_sightings", "Reports of detectors.", value=counters.sightings)
        yield CounterMetricFamily(
            "securenet_detection_tenant_evictions",
            "Tenants whose state gave way to another's.",
            value=self._engine.states.tenant_evictions,
        )
        entries = GaugeMetricFamily("securenet_detection_entries", "Entries held.", labels=["detector"])
        evictions = CounterMetricFamily(
            "securenet_detection_evictions", "Live entries that gave way.", labels=["detector"]
        )
        for status in self._engine.detectors():
            entries.add_metric([status.definition.name], status.usage.entries)
            evictions.add_metric([status.definition.name], status.usage.evictions)
        yield entries
        yield evictions
        yield GaugeMetricFamily("securenet_detection_indicators", "Indicators held.", value=self._intel.indicators)
        yield GaugeMetricFamily("securenet_detection_intel_bytes", "Memory of indicators.", value=self._intel.nbytes)
        model = GaugeMetricFamily("securenet_detection_model", "1 for each model that scores.", labels=["name"])
        for slot in (self._models, self._anomalies):
            if slot.current is not None:
                model.add_metric([slot.current.reference.name], 1)
        yield model
        yield from self._drift()
        deleted = CounterMetricFamily(
            "securenet_detection_retention_deleted", "Findings and labels that retention deleted.", labels=["reason"]
        )
        pruned = self._ledger.counters
        for reason, count in (("age", pruned.expired), ("number", pruned.surplus), ("labels", pruned.labels)):
            deleted.add_metric([reason], count)
        yield deleted

    def _drift(self) -> Iterator[Metric]:
        report = self._engine.drift.report(self._models.current)
        if report is None:
            return
        indices = GaugeMetricFamily(
            "securenet_detection_feature_psi",
            "Population stability index of today's flows against the training; above 0.25 is a shift.",
            labels=["feature"],
        )
        for name, index in report.indices:
            indices.add_metric([name], index)
        yield indices
        yield GaugeMetricFamily(
            "securenet_detection_alert_rate", "Share of flows at MEDIUM or above, by ADWIN.", value=report.alert_rate
        )
        yield CounterMetricFamily(
            "securenet_detection_drift_signals", "Drift that was seen.", value=self._engine.drift.seen
        )

    def _loads(self) -> Iterator[Metric]:
        load = self._analysis.load
        yield GaugeMetricFamily("securenet_detection_waiting_flows", "Flows that wait to be scored.", value=load.rows)
        yield GaugeMetricFamily(
            "securenet_detection_waiting_seconds", "How long the work that waits will last.", value=load.seconds
        )
        shed = CounterMetricFamily(
            "securenet_detection_shed_flows", "Flows of which something was left out under load.", labels=["what"]
        )
        shed.add_metric(["model"], load.counters.rows_without_model)
        shed.add_metric(["details"], load.counters.rows_without_details)
        yield shed
        yield CounterMetricFamily(
            "securenet_detection_refused_calls", "Calls refused under load.", value=load.counters.refused_calls
        )
