"""The engine: state, dry runs, tenants, the model's say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.engine import Engine
from securenet_detection.models.calibration import Calibration, OperatingPoints
from securenet_detection.models.interface import ModelReference
from securenet_detection.models.serving import ModelSlot, ServingModel
from securenet_detection.threats import ThreatLevel

pytestmark = pytest.mark.unit


class ConstantClassifier:
    def __init__(self, probability: float) -> None:
        self.probability = probability

    def scores(self, features: Any) -> Any:
        return np.full(len(features), self.probability)


def serving(probability: float, *, high: float | None = None, name: str = "models/m/versions/1") -> ServingModel:
    return ServingModel(
        reference=ModelReference(name, "champion", "0" * 64),
        classifier=ConstantClassifier(probability),
        calibration=Calibration(np.array([0.0, 1.0]), np.array([0.0, 1.0])),
        points=OperatingPoints(0.5, high),
        schema_hash="",
        generation=1,
        since_ns=0,
        load_seconds=0.0,
    )


def sweep(count: Any, start: Any = 0, src: Any = "10.0.0.5") -> Any:
    return [
        {"src": src, "dst": f"93.184.{i // 250}.{i % 250 + 1}", "dst_port": 23, "state": "S0", "at": i}
        for i in range(start, start + count)
    ]


def test_without_a_model_the_verdict_says_so(engine: Any, batch: Any) -> None:
    verdicts = engine.analyze(batch(sweep(1)))
    assert verdicts.model is None
    assert "model" in {skipped.detector for skipped in verdicts.skipped}
    assert verdicts.threat_level.tolist() == [ThreatLevel.LOW]


def test_a_dry_run_changes_nothing(engine: Any, batch: Any) -> None:
    engine.analyze(batch(sweep(20)))
    before = engine.detectors()
    for _ in range(3):
        verdicts = engine.analyze(batch(sweep(30, start=20)), dry_run=True)
        assert not verdicts.sightings
    assert engine.detectors() == before
    assert engine.analyze(batch(sweep(5, start=20))).sightings


def test_a_dry_run_sees_what_stands(engine: Any, batch: Any) -> None:
    engine.analyze(batch(sweep(30)))
    assert engine.analyze(batch(sweep(1, start=40)), dry_run=True).evidence(0)


def test_tenants_do_not_see_each_other(engine: Any, batch: Any) -> None:
    engine.analyze(batch(sweep(24)), tenant="a")
    assert not engine.analyze(batch(sweep(1, start=24)), tenant="b").evidence(0)
    assert engine.analyze(batch(sweep(1, start=24)), tenant="a").evidence(0)


def test_the_tenant_idle_longest_gives_way(models: Any, batch: Any) -> None:
    state = StateSettings(entities=64, members=64, contexts=64, tenants=2, hash_seed=1)
    engine = Engine(DetectorSettings(state=state), models)
    for tenant in ("a", "b", "a", "c"):
        engine.analyze(batch(sweep(1)), tenant=tenant)
    assert engine.states.tenant_evictions == 1
    engine.analyze(batch(sweep(1)), tenant="a")
    assert engine.states.tenant_evictions == 1


def test_state_never_passes_its_bound_and_evictions_are_counted(models: Any, batch: Any) -> None:
    state = StateSettings(entities=64, members=64, contexts=64, hash_seed=1)
    engine = Engine(DetectorSettings(state=state), models)
    flood = [
        {"src": f"198.{i // 65536}.{i // 256 % 256}.{i % 256}", "dst": "10.0.0.1", "dst_port": 80, "state": "S0"}
        for i in range(3000)
    ]
    engine.analyze(batch(flood))
    for status in engine.detectors():
        assert status.usage.entries <= status.usage.capacity
    scans = {status.definition.name: status.usage for status in engine.detectors()}
    assert scans["vertical-scan"].evictions > 2000
    assert scans["vertical-scan"].entries == 128


def test_a_model_alone_says_at_most_medium(engine: Any, models: Any, batch: Any) -> None:
    models.swap(serving(0.999))
    verdicts = engine.analyze(batch([{"src": "10.0.0.1", "dst": "10.0.0.2", "dst_port": 80}]))
    assert verdicts.threat_level.tolist() == [ThreatLevel.MEDIUM]
    assert verdicts.score[0] == pytest.approx(0.999)
    assert verdicts.evidence(0)[0].detector == "model"


def test_a_score_just_above_the_point_is_medium_whatever_the_table_says(engine: Any, models: Any, batch: Any) -> None:
    table = [{"score": score / 50, "precision": 1.0, "tpr": 1.0, "alarms": 5000} for score in range(51)]
    model = serving(0.54)
    models.swap(replace(model, points=OperatingPoints.read(table, captures_held_out=True)))
    verdicts = engine.analyze(batch([{"src": "10.0.0.1", "dst": "10.0.0.2", "dst_port": 80}]))
    assert verdicts.threat_level.tolist() == [ThreatLevel.MEDIUM]


def test_a_model_that_was_precise_on_held_out_captures_may_say_high(engine: Any, models: Any, batch: Any) -> None:
    models.swap(serving(0.99, high=0.98))
    verdicts = engine.analyze(batch([{"src": "10.0.0.1", "dst": "10.0.0.2", "dst_port": 80}]))
    assert verdicts.threat_level.tolist() == [ThreatLevel.HIGH]


def test_a_model_below_its_point_says_low_and_gives_its_probability(engine: Any, models: Any, batch: Any) -> None:
    models.swap(serving(0.2))
    verdicts = engine.analyze(batch([{"src": "10.0.0.1", "dst": "10.0.0.2", "dst_port": 80}]))
    assert verdicts.threat_level.tolist() == [ThreatLevel.LOW]
    assert verdicts.score[0] == pytest.approx(0.2)
    assert not verdicts.evidence(0)


def test_each_batch_names_the_model_that_scored_it(engine: Any, models: Any, batch: Any) -> None:
    one = batch([{"src": "10.0.0.1", "dst": "10.0.0.2", "dst_port": 80}])
    models.swap(serving(0.1, name="models/m/versions/1"))
    first = engine.analyze(one)
    models.swap(serving(0.1, name="models/m/versions/2"))
    second = engine.analyze(one)
    assert (first.model.name, second.model.name) == ("models/m/versions/1", "models/m/versions/2")
    assert models.previous.reference.name == "models/m/versions/1"


def test_a_suspicion_of_the_model_becomes_one_finding_for_many_flows(engine: Any, models: Any, batch: Any) -> None:
    models.swap(serving(0.9))
    flows = [{"src": "10.0.0.1", "dst": "10.0.0.2", "dst_port": 80, "at": i} for i in range(20)]
    reports = [s for _, s in engine.analyze(batch(flows)).sightings if s.evidence.detector == "model"]
    assert len({report.evidence.id for report in reports}) == 1
    assert [report.count for report in reports] == [3, 6, 12]


def test_two_behaviours_weigh_more_than_one(engine: Any, batch: Any) -> None:
    guesses = [
        {"src": "10.0.0.5", "dst": "93.184.0.1", "dst_port": 23, "state": "SF", "orig_bytes": 90, "resp_bytes": 90,
         "at": i, "http_status_code": 401}
        for i in range(200)
    ]  # fmt: skip
    scan = [{**flow, "orig_bytes": 0, "resp_bytes": 0} for flow in sweep(200)]
    verdicts = engine.analyze(batch(sorted([*scan, *guesses], key=lambda flow: flow["at"])))
    row = int(verdicts.risk.argmax())
    pieces = verdicts.evidence(row)
    assert {"horizontal-scan", "brute-force"} <= {piece.detector for piece in pieces}
    assert verdicts.risk[row] > 0.75
    assert len({technique.tactic for piece in pieces for technique in piece.techniques}) >= 2


def test_an_empty_batch_has_no_verdicts(engine: Any, batch: Any) -> None:
    some = batch(sweep(3))
    assert len(engine.analyze(some.take(slice(0, 0)))) == 0


def test_the_same_seed_gives_the_same_verdicts(settings: Any, batch: Any) -> None:
    flows = batch(sweep(60))
    first, second = (Engine(settings, ModelSlot()).analyze(flows) for _ in range(2))
    assert first.sightings == second.sightings
