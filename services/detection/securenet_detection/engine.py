"""One columnar engine for every way of asking: unary, batch and stream give the same verdicts for the same flows.

Rows are taken in the order in which they come; a row's verdict depends on the rows before it and on nothing else, so a
batch may be cut anywhere. A dry run changes nothing: its rows are judged against what is known, and not against each
other.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from securenet_detection import fusion, verdicts
from securenet_detection.behaviours.interface import Definition, Observed, Usage
from securenet_detection.behaviours.names import NameReader
from securenet_detection.behaviours.observation import Observation
from securenet_detection.behaviours.publicsuffixlist_rules import public_suffixes
from securenet_detection.detector_settings import DetectorSettings
from securenet_detection.findings.sighting import Origin
from securenet_detection.intel.index import IntelIndex
from securenet_detection.intel.threat_intel import THREAT_INTEL, ThreatIntel
from securenet_detection.mixed_verdicts import MixedVerdicts, Verdicts
from securenet_detection.models import contributions, paths, tree_scorer
from securenet_detection.models.anomaly import ANOMALY, AnomalyDetector
from securenet_detection.models.contributions import Explanations
from securenet_detection.models.detector import MODEL
from securenet_detection.models.drift import DriftWatch
from securenet_detection.models.serving import ModelSlot, ServingModel
from securenet_detection.states import FlowState, FlowStates
from securenet_detection.threats import AnalyticType, Skipped, ThreatLevel
from securenet_detection.verdicts import BatchVerdicts, Speaker
from securenet_flows.batch import CONN_STATES, Dictionary, FlowBatch
from securenet_flows.features import FEATURES, features

Bool = NDArray[np.bool_]
Columns = list[tuple[Speaker, Observed]]

_NO_MODEL = Skipped(MODEL, "no model is served")
_NO_INTEL = Skipped(THREAT_INTEL, "no feed has been imported")
_NO_ANOMALY_MODEL = Skipped(ANOMALY, "no model is served")
_SHED = Skipped(MODEL, "shed under load")
_SHED_ANOMALY = Skipped(ANOMALY, "shed under load")

_NO_ROWS = np.zeros(0, np.int64)

#: How detectors reason that see what an entity does over time.
_BEHAVING = (AnalyticType.BEHAVIORAL, AnalyticType.STATISTICAL)


class IntelSource(Protocol):
    """Where the indicators of tenants stand."""

    def index(self, tenant: str) -> IntelIndex | None:
        """What the tenant's flows are compared with now; None where nothing was imported."""


@dataclass(frozen=True, slots=True)
class Scorers:
    """The model of attacks and the anomaly model for one batch, or why there is none."""

    model: ServingModel | Skipped
    anomaly: ServingModel | Skipped


@dataclass(frozen=True, slots=True)
class DetectorStatus:
    """A detector and the state that it holds over all tenants and scopes."""

    definition: Definition
    usage: Usage


class Engine:
    """Scores batches. For one thread: calls must not overlap.

    Args:
        settings: thresholds and bounds.
        models: where the serving model stands.
        intel: where indicators stand; without, flows are compared with none.
        drift: watches what is scored; one of its own if not given.
        anomalies: where the serving anomaly model stands; without, there is none.
    """

    def __init__(
        self,
        settings: DetectorSettings,
        models: ModelSlot,
        intel: IntelSource | None = None,
        drift: DriftWatch | None = None,
        anomalies: ModelSlot | None = None,
    ) -> None:
        self._settings = settings
        self._models = models
        self._anomalies = anomalies or ModelSlot()
        self._anomaly = AnomalyDetector(settings.anomaly)
        self._half_life_ns = settings.evidence_half_life_seconds * 1e9
        self._intel = intel
        seed = settings.state.hash_seed
        self._seed = secrets.randbits(62) if seed is None else seed
        self._names = NameReader(
            seed=self._seed,
            suffixes=public_suffixes,
            local=settings.names.local_domains,
            reputation=settings.names.reputation_domains,
        )
        self._blank = FlowState.smallest(settings)
        #: Whether traffic still looks like what the model was trained on.
        self.drift = drift or DriftWatch([feature.name for feature in FEATURES])
        #: What is remembered; a stream leases the named states that it uses.
        self.states = FlowStates(settings)

    def analyze(
        self,
        batch: FlowBatch,
        *,
        dry_run: bool = False,
        tenant: str = "default",
        scope: str = "",
        without_model: bool = False,
    ) -> Verdicts:
        """Verdicts of the rows of a batch, in order. Rows that came before change nothing, and are answered as then.

        Args:
            batch: at least no rows; at most what a message holds.
            dry_run: touch no state, make no finding.
            tenant: whose state is read and changed.
            scope: name of the state, where it is not the tenant's own.
            without_model: leave the models out, and say so.

        Raises:
            ResourceExhaustedError: the named state would be one too many.
        """
        states, origin = self.states, Origin(tenant, scope)
        scorer = Scorers(_SHED, _SHED_ANOMALY) if without_model else self._scorers()
        if dry_run:
            return self._score(origin, states.find(tenant, scope) or self._blank, batch, scorer, learn=False)
        state = states.take(tenant, scope)
        keys = state.repeats.keys(batch)
        parts = None if keys is None else state.repeats.sort(keys)
        if keys is None or parts is None:
            return self._remember(state, self._score(origin, state, batch, scorer, learn=True, keys=keys))
        fresh = self._score(origin, state, batch.take(parts.fresh), scorer, learn=True, keys=keys[parts.fresh])
        whole = Observation.of(batch, seed=self._seed, ordinal=0, learn=False)
        skipped, partly = _skipped(state, whole, scorer.anomaly)
        fresh = self._remember(state, fresh)
        return MixedVerdicts(batch, fresh, parts, state.repeats, skipped=skipped, partly=partly)

    def _scorers(self) -> Scorers:
        return Scorers(self._models.current or _NO_MODEL, self._anomalies.current or _NO_ANOMALY_MODEL)

    def _remember(self, state: FlowState, fresh: BatchVerdicts) -> BatchVerdicts:
        if fresh.keys is not None:
            state.repeats.keep(fresh.keys, fresh.threat_level, fresh.score, fresh.scorer, fresh.contributions())
        return fresh

    def _score(
        self,
        origin: Origin,
        state: FlowState,
        batch: FlowBatch,
        scorer: Scorers,
        *,
        learn: bool,
        keys: NDArray[np.int64] | None = None,
    ) -> BatchVerdicts:
        names = self._names.read(batch)
        seen = Observation.of(batch, seed=self._seed, ordinal=state.ordinal, learn=learn, names=names)
        columns: Columns = []
        # One set for the whole batch: another may take its place between batches.
        state.intel.consult(None if self._intel is None else self._intel.index(origin.tenant))
        for behaviour in state.behaviours:
            observed = behaviour.observe(seen)
            if observed is not None:
                columns.append((behaviour, observed.faded(self._half_life_ns)))
        return self._judge(origin, state, seen, columns, scorer, keys)

    def _judge(  # noqa: PLR0917 - one call, from above
        self,
        origin: Origin,
        state: FlowState,
        seen: Observation,
        columns: Columns,
        scorer: Scorers,
        keys: NDArray[np.int64] | None,
    ) -> BatchVerdicts:
        model = None if isinstance(scorer.model, Skipped) else scorer.model
        rows = len(seen)
        matrix = features(seen.batch, state.context, learn=seen.learn)
        names = [speaker.definition.name for speaker, _ in columns]
        pieces = [fusion.WEIGHTS[observed.level] * observed.confidence for _, observed in columns]
        tactics = _distinct_tactics(columns, rows)
        probabilities = model_pieces = np.zeros(rows)
        judged: Observed | None = None
        if model is not None and rows:
            probabilities = model.score(matrix)
            model_pieces = model.points.pieces(probabilities, own=seen.src_local)
            judged = state.model.judge(seen, probabilities, model_pieces, model.points.medium)
            if judged is not None:
                columns.append((state.model, judged))
        own = dict(zip((*names, MODEL), (*pieces, model_pieces), strict=True))
        odd = None if isinstance(scorer.anomaly, Skipped) or not rows else self._anomaly.judge(scorer.anomaly, matrix)
        if odd is not None:
            columns.append((odd, odd.observed))
            own[ANOMALY] = fusion.WEIGHTS[odd.observed.level] * odd.observed.confidence
            # Two models that look at the same features of a flow are one reason to suspect it.
            model_pieces = np.maximum(model_pieces, own[ANOMALY])
            probabilities = np.maximum(probabilities, own[ANOMALY])
        suspected = _NO_ROWS if judged is None else np.flatnonzero(judged.level)
        explanations = Explanations(None if model is None else model.explainer, matrix, suspected)
        risks = _fuse(pieces, model_pieces)
        levels = fusion.levels(risks, tactics, _indicator_beside_behaviour(columns, rows))
        skipped, partly = _skipped(state, seen, scorer.anomaly)
        if seen.learn:
            state.ordinal += rows
        if model is not None and seen.learn and rows and not origin.scope:
            self.drift.observe(model, matrix, levels)
        return BatchVerdicts(
            threat_level=levels,
            score=risks if model is None else _fuse(pieces, probabilities),
            risk=risks,
            model=None if model is None else model.reference,
            skipped=(*skipped, scorer.model) if isinstance(scorer.model, Skipped) else skipped,
            partly=partly,
            sightings=verdicts.sightings(origin, seen, columns, levels, risks, explanations) if seen.learn else (),
            origin=origin,
            seen=seen,
            evidence_columns=columns,
            explanations=explanations,
            pieces=own,
            keys=keys,
            repeats=state.repeats,
        )

    def warm_up(self) -> None:
        """Compiles every loop, or loads it from the disk cache. Takes seconds without one, so not on an event loop."""
        state = FlowState.smallest(self._settings)
        batch = _one_of_each()
        rows = len(batch)
        seen = Observation.of(batch, seed=self._seed, ordinal=1, learn=True, names=self._names.read(batch))
        columns: Columns = []
        state.intel.warm_up()
        for behaviour in state.behaviours:
            behaviour.observe(seen)
        state.model.judge(seen, np.ones(rows), np.ones(rows), 0.5)
        contributions.warm_up()
        paths.warm_up()
        tree_scorer.warm_up()
        self._judge(Origin(""), state, seen, columns, self._scorers(), None)
        keys = np.ones(rows, np.int64)
        state.repeats.keys(replace(batch, text={"flow_id": Dictionary.encode(["a"] * rows)}))
        state.repeats.sort(keys)
        state.repeats.keep(keys, np.ones(rows, np.uint8), np.zeros(rows), _NO_MODEL, {})

    async def sweep(self) -> None:
        """Lets go of named states that nobody uses any more, also while no flows come."""
        self.states.drop_idle()

    def detectors(self) -> tuple[DetectorStatus, ...]:
        """Every detector by name, with the state that it holds."""
        nothing = self._blank
        definitions = [*(behaviour.definition for behaviour in nothing.behaviours), nothing.model.definition]
        found = []
        for position, definition in enumerate(definitions):
            usage = Usage(0, 0, 0, 0)
            for state in self.states:
                usage += state.usages()[position]
            found.append(DetectorStatus(definition, usage))
        found.append(DetectorStatus(self._anomaly.definition, Usage(0, 0, 0, 0)))
        return tuple(sorted(found, key=lambda status: status.definition.name))


def _one_of_each() -> FlowBatch:
    """A flow that was answered and stayed, and one that failed: detectors are done at once with what does not occur."""
    zeros = np.zeros((2, 16), np.uint8)
    amount, port = np.array([10_000, 0], np.int64), np.full(2, 443, np.uint16)
    return FlowBatch(
        np.zeros(2, np.int64),
        zeros,
        zeros,
        np.full(2, 6, np.uint8),
        numeric={
            "conn_state": np.array([CONN_STATES.index("SF"), CONN_STATES.index("S0")], np.uint8),
            "duration_ns": amount * 1_000_000,
            "dst_port": port,
            **dict.fromkeys(("orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts"), amount),
        },
        text={
            "dns_query": Dictionary(np.zeros(2, np.int32), ("www.example.com",)),
            "service": Dictionary(np.zeros(2, np.int32), ("http",)),
        },
    )


def _fuse(pieces: Sequence[NDArray[np.float64]], model: NDArray[np.float64]) -> NDArray[np.float64]:
    """Risk of evidence and model together; only rows with evidence are worth the sorting."""
    if not pieces:
        return model
    rows = np.flatnonzero(reduce(np.bitwise_or, (piece > 0 for piece in pieces)))
    fused = model.copy()
    fused[rows] = fusion.risk(np.stack([piece[rows] for piece in (*pieces, model)], axis=1))
    return fused


def _indicator_beside_behaviour(columns: Columns, rows: int) -> NDArray[np.bool_]:
    """Rows that a feed speaks of gravely, and that belong to a behaviour as well."""
    if not columns or not any(isinstance(speaker, ThreatIntel) for speaker, _ in columns):
        return np.zeros(rows, np.bool_)
    listed, behaving = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
    for speaker, observed in columns:
        if isinstance(speaker, ThreatIntel):
            listed |= observed.level >= ThreatLevel.HIGH
        elif speaker.definition.analytic_type in _BEHAVING:
            behaving |= observed.level >= ThreatLevel.MEDIUM
    return listed & behaving


def _distinct_tactics(columns: Columns, rows: int) -> NDArray[np.int64]:
    """How many tactics the evidence of each row shows."""
    if not columns:
        return np.zeros(rows, np.int64)
    tactics: dict[str, NDArray[np.bool_]] = {}
    for speaker, observed in columns:
        for position, technique in enumerate(speaker.definition.techniques):
            shown = (observed.level > 0) & (observed.technique == position)
            known = tactics.get(technique.tactic)
            tactics[technique.tactic] = shown if known is None else known | shown
    return sum((shown.astype(np.int64) for shown in tactics.values()), np.zeros(rows, np.int64))


def _skipped(
    state: FlowState, seen: Observation, anomaly: ServingModel | Skipped
) -> tuple[tuple[Skipped, ...], Mapping[str, tuple[str, Bool]]]:
    """Detectors that judge no row of the batch, and those that lack a field in some."""
    everywhere, somewhere = state.absences.of(seen)
    if state.intel.index is None:
        everywhere = (*everywhere, _NO_INTEL)
    if isinstance(anomaly, Skipped):
        everywhere = (*everywhere, anomaly)
    return everywhere, somewhere
