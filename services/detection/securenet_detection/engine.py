"""One columnar engine for every way of asking: unary, batch and stream give the same verdicts for the same flows.

Rows are taken in the order in which they come; a row's verdict depends on the rows before it and on nothing else, so a
batch may be cut anywhere. A dry run changes nothing: its rows are judged against what is known, and not against each
other.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securenet_detection import fusion, verdicts
from securenet_detection.behaviours.catalogue import behaviours
from securenet_detection.behaviours.interface import Definition, Observed, Usage
from securenet_detection.behaviours.observation import Observation
from securenet_detection.models.detector import ModelDetector
from securenet_detection.models.serving import ModelSlot
from securenet_detection.settings import DetectorSettings, StateSettings
from securenet_detection.threats import Skipped
from securenet_detection.verdicts import BatchVerdicts, Speaker
from securenet_flows.batch import FlowBatch
from securenet_flows.features import SourceContext, features

Columns = list[tuple[Speaker, Observed]]

#: Smallest tables, for compiling the loops and for tenants that only ever ask for dry runs.
_SMALLEST = StateSettings(entities=64, members=64, contexts=64)

_NO_MODEL = Skipped("model", "no model is served")


class TenantState:
    """What is remembered of one tenant's flows."""

    def __init__(self, settings: DetectorSettings) -> None:
        self.behaviours = behaviours(settings)
        self.model = ModelDetector(settings.model, settings.state)
        self.context = SourceContext(settings.state.contexts)
        #: Ordinal of the next row; 0 stands for "never" in the tables.
        self.ordinal = 1

    def usages(self) -> tuple[Usage, ...]:
        """State held by each behaviour and, last, by the model's detector."""
        return (*(behaviour.usage() for behaviour in self.behaviours), self.model.usage())


@dataclass(frozen=True, slots=True)
class DetectorStatus:
    """A detector and the state that it holds over all tenants."""

    definition: Definition
    usage: Usage


class Engine:
    """Scores batches. For one thread: calls must not overlap.

    Args:
        settings: thresholds and bounds.
        models: where the serving model stands.
    """

    def __init__(self, settings: DetectorSettings, models: ModelSlot) -> None:
        self._settings = settings
        self._models = models
        seed = settings.state.hash_seed
        self._seed = secrets.randbits(62) if seed is None else seed
        self._blank = TenantState(settings.model_copy(update={"state": _SMALLEST}))
        self._tenants: OrderedDict[str, TenantState] = OrderedDict()
        #: Tenants whose state had to give way since the start.
        self.tenant_evictions = 0

    def analyze(self, batch: FlowBatch, *, dry_run: bool = False, tenant: str = "default") -> BatchVerdicts:
        """Verdicts of the rows of a batch, in order.

        Args:
            batch: at least no rows; at most what a message holds.
            dry_run: touch no state, make no finding.
            tenant: whose state is read and changed.
        """
        state = self._state(tenant, dry_run=dry_run)
        seen = Observation.of(batch, seed=self._seed, ordinal=state.ordinal, learn=not dry_run)
        columns: Columns = []
        for behaviour in state.behaviours:
            observed = behaviour.observe(seen)
            if observed is not None:
                columns.append((behaviour, observed))
        return self._judge(tenant, state, seen, columns)

    def _judge(self, tenant: str, state: TenantState, seen: Observation, columns: Columns) -> BatchVerdicts:
        rows = len(seen)
        matrix = features(seen.batch, state.context, learn=seen.learn)
        pieces = [fusion.WEIGHTS[observed.level] * observed.confidence for _, observed in columns]
        tactics = _distinct_tactics(columns, rows)
        model = self._models.current
        probabilities = model_pieces = np.zeros(rows)
        if model is not None:
            probabilities = model.score(matrix)
            model_pieces = model.points.pieces(probabilities)
            judged = state.model.judge(seen, probabilities, model_pieces, model.points.medium)
            if judged is not None:
                columns.append((state.model, judged))
        risks = _fuse(pieces, model_pieces)
        levels = fusion.levels(risks, tactics, np.zeros(rows, np.bool_))
        skipped, partly = _skipped(state, seen)
        if seen.learn:
            state.ordinal += rows
        return BatchVerdicts(
            threat_level=levels,
            score=risks if model is None else _fuse(pieces, probabilities),
            risk=risks,
            model=None if model is None else model.reference,
            skipped=skipped if model is not None else (*skipped, _NO_MODEL),
            partly=partly,
            sightings=verdicts.sightings(tenant, seen, columns, levels, risks) if seen.learn else (),
            tenant=tenant,
            seen=seen,
            evidence_columns=columns,
        )

    def _state(self, tenant: str, *, dry_run: bool) -> TenantState:
        state = self._tenants.get(tenant)
        if state is None:
            if dry_run:
                return self._blank
            if len(self._tenants) >= self._settings.state.tenants:
                self._tenants.popitem(last=False)
                self.tenant_evictions += 1
            state = self._tenants[tenant] = TenantState(self._settings)
        if not dry_run:
            self._tenants.move_to_end(tenant)
        return state

    def warm_up(self) -> None:
        """Compiles every loop, or loads it from the disk cache. Takes seconds without one, so not on an event loop."""
        state = TenantState(self._settings.model_copy(update={"state": _SMALLEST}))
        zeros = np.zeros((1, 16), np.uint8)
        batch = FlowBatch(np.zeros(1, np.int64), zeros, zeros, np.full(1, 6, np.uint8))
        seen = Observation.of(batch, seed=self._seed, ordinal=1, learn=True)
        columns: Columns = []
        for behaviour in state.behaviours:
            behaviour.observe(seen)
        state.model.judge(seen, np.ones(1), np.ones(1), 0.5)
        self._judge("", state, seen, columns)

    def detectors(self) -> tuple[DetectorStatus, ...]:
        """Every detector by name, with the state that it holds."""
        nothing = self._blank
        definitions = [*(behaviour.definition for behaviour in nothing.behaviours), nothing.model.definition]
        found = []
        for position, definition in enumerate(definitions):
            usage = Usage(0, 0, 0, 0)
            for state in self._tenants.values():
                usage += state.usages()[position]
            found.append(DetectorStatus(definition, usage))
        return tuple(sorted(found, key=lambda status: status.definition.name))


def _fuse(pieces: Sequence[NDArray[np.float64]], model: NDArray[np.float64]) -> NDArray[np.float64]:
    """Risk of evidence and model together; only rows with evidence are worth the sorting."""
    if not pieces:
        return model
    fused = model.copy()
    matrix = np.stack([*pieces, model], axis=1)
    rows = np.flatnonzero(matrix[:, :-1].any(axis=1))
    fused[rows] = fusion.risk(matrix[rows])
    return fused


def _distinct_tactics(columns: Columns, rows: int) -> NDArray[np.int64]:
    """How many tactics the evidence of each row shows."""
    tactics: dict[str, NDArray[np.bool_]] = {}
    for speaker, observed in columns:
        for position, technique in enumerate(speaker.definition.techniques):
            shown = (observed.level > 0) & (observed.technique == position)
            known = tactics.get(technique.tactic)
            tactics[technique.tactic] = shown if known is None else known | shown
    return sum((shown.astype(np.int64) for shown in tactics.values()), np.zeros(rows, np.int64))


def _skipped(
    state: TenantState, seen: Observation
) -> tuple[tuple[Skipped, ...], dict[str, tuple[str, NDArray[np.bool_]]]]:
    """Detectors that lack a field in every row, and in some."""
    everywhere: list[Skipped] = []
    somewhere: dict[str, tuple[str, NDArray[np.bool_]]] = {}
    for behaviour in state.behaviours:
        name = behaviour.definition.name
        for field in behaviour.definition.required_fields:
            if field not in seen.batch.numeric:
                everywhere.append(Skipped(name, f"{field} is absent"))
                somewhere.pop(name, None)
                break
            if field in seen.batch.present and name not in somewhere:
                absent = ~seen.batch.present[field]
                if absent.all():
                    everywhere.append(Skipped(name, f"{field} is absent"))
                    break
                if absent.any():
                    somewhere[name] = (f"{field} is absent", absent)
    return tuple(everywhere), somewhere
