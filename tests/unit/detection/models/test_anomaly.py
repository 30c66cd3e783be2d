"""The anomaly model beside the model of attacks: what it says, what it adds, and what it must not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.engine import Engine
from securenet_detection.models.anomaly import ANOMALY
from securenet_detection.models.calibration import Calibration, OperatingPoints
from securenet_detection.models.interface import ModelReference
from securenet_detection.models.onnx_trees import read_trees
from securenet_detection.models.paths import PathExplainer
from securenet_detection.models.serving import ModelSlot, ServingModel
from securenet_detection.threats import ThreatLevel
from securenet_flows.features import FEATURES
from securenet_registry.training.onnx_trees import to_onnx

pytestmark = pytest.mark.unit

SMALL = DetectorSettings(state=StateSettings(entities=1024, members=1024, rings=64, sources=64, contexts=64))
NAMES = [feature.name for feature in FEATURES]


@dataclass
class Constant:
    """Scores every flow alike."""

    score: float

    def scores(self, features: Any) -> Any:
        return np.full(len(features), self.score)


def model(score: float, explainer: Any = None) -> ServingModel:
    return ServingModel(
        reference=ModelReference("models/odd/versions/1", "champion", "0" * 64),
        classifier=Constant(score),
        calibration=Calibration(np.array([0.0, 1.0]), np.array([0.0, 1.0])),
        points=OperatingPoints(0.5, None),
        schema_hash="",
        generation=1,
        since_ns=0,
        load_seconds=0.0,
        explainer=explainer,
    )


def engine(attack: float | None, odd: float | None) -> Engine:
    models, anomalies = ModelSlot(), ModelSlot()
    if attack is not None:
        models.swap(model(attack))
    if odd is not None:
        anomalies.swap(model(odd))
    return Engine(SMALL, models, anomalies=anomalies)


ONE = [{"src": "10.0.0.1", "dst": "10.0.0.2", "dst_port": 80}]
SWEEP = [{"src": "10.0.0.5", "dst": f"93.184.0.{i + 1}", "dst_port": 23, "state": "S0", "at": i} for i in range(60)]


def test_without_one_the_verdict_says_so(batch: Any) -> None:
    verdicts = engine(0.2, None).analyze(batch(ONE))
    assert {one.detector: one.reason for one in verdicts.skipped}[ANOMALY] == "no model is served"


def test_under_load_it_is_left_out_as_well(batch: Any) -> None:
    verdicts = engine(0.2, 0.9999).analyze(batch(ONE), without_model=True)
    assert {one.detector: one.reason for one in verdicts.skipped}[ANOMALY] == "shed under load"
    assert not verdicts.evidence(0)


def test_an_odd_flow_is_low_with_its_tail_probability_and_makes_no_finding(batch: Any) -> None:
    verdicts = engine(None, 0.9998).analyze(batch(ONE * 20))
    assert verdicts.threat_level.tolist() == [ThreatLevel.LOW] * 20
    (evidence,) = verdicts.evidence(0)
    assert (evidence.detector, evidence.level) == (ANOMALY, ThreatLevel.LOW)
    assert evidence.measured == pytest.approx(0.0002)
    assert evidence.threshold == 0.001
    assert "one flow in 5,000 is as odd" in evidence.summary
    assert not verdicts.sightings
    assert verdicts.model is None
    assert ANOMALY in verdicts.contributions()


def test_an_ordinary_flow_has_no_such_evidence(batch: Any) -> None:
    verdicts = engine(0.2, 0.998).analyze(batch(ONE))
    assert not verdicts.evidence(0)
    assert ANOMALY not in {one.detector for one in verdicts.skipped}


@pytest.mark.parametrize("attack", [0.3, 0.6, 0.9, 0.999999])
def test_two_models_are_one_reason(batch: Any, attack: float) -> None:
    alone, together = engine(attack, None).analyze(batch(ONE)), engine(attack, 0.9999).analyze(batch(ONE))
    assert together.threat_level.tolist() == alone.threat_level.tolist()
    assert together.score[0] == max(alone.score[0], 0.15 * together.evidence(0)[-1].confidence)


def test_beside_behaviours_it_adds_little_and_never_takes_away(batch: Any) -> None:
    alone, together = engine(None, None).analyze(batch(SWEEP)), engine(None, 0.99999).analyze(batch(SWEEP))
    assert (together.score >= alone.score).all()
    assert (together.score - alone.score <= 0.15).all()
    assert [s.threat_level for _, s in together.sightings] == [s.threat_level for _, s in alone.sightings]


def test_cut_anywhere_the_verdicts_are_the_same(batch: Any) -> None:
    whole, pieces = engine(0.2, 0.9995), engine(0.2, 0.9995)
    at_once = whole.analyze(batch(SWEEP))
    bit_by_bit = [pieces.analyze(batch([flow])) for flow in SWEEP]
    assert np.concatenate([one.score for one in bit_by_bit]) == pytest.approx(at_once.score, abs=1e-12)


@pytest.fixture(scope="module")
def forest() -> tuple[Any, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3000, len(NAMES))).astype(np.float32)
    x[rng.random(x.shape) < 0.05] = np.nan
    return IsolationForest(n_estimators=50, max_samples=32, random_state=0).fit(x), x


def test_increments_and_the_mean_add_up_to_the_path_length(forest: tuple[Any, np.ndarray]) -> None:
    estimator, x = forest
    trees = read_trees(to_onnx(estimator, len(NAMES), {}), len(NAMES))
    explainer = PathExplainer(trees, NAMES, np.zeros(len(NAMES)))
    scores = -estimator.score_samples(x[:50])
    shorter = explainer.values(x[:50]).sum(axis=1)
    # 2^(−length / c): the logarithm falls by 1 / c with each split.
    slope, offset = np.polyfit(shorter, np.log2(scores), 1)
    assert np.log2(scores) == pytest.approx(slope * shorter + offset, abs=1e-5)
    assert slope > 0


def test_the_feature_that_stands_out_is_named(forest: tuple[Any, np.ndarray], batch: Any) -> None:
    estimator, _ = forest
    trees = read_trees(to_onnx(estimator, len(NAMES), {}), len(NAMES))
    explainer = PathExplainer(trees, NAMES, np.full(len(NAMES), np.nan))
    row = np.zeros(len(NAMES), np.float32)
    row[4] = 50.0
    (first, *_) = explainer.contributions(row, explainer.values(row[None])[0])
    assert (first.feature, first.value, first.baseline) == (NAMES[4], 50.0, None)
    assert first.contribution > 0
    anomalies = ModelSlot()
    anomalies.swap(model(0.9999, explainer))
    verdicts = Engine(SMALL, ModelSlot(), anomalies=anomalies).analyze(batch(ONE))
    (evidence,) = verdicts.evidence(0)
    assert "what stands out is " in evidence.summary
    assert len(evidence.contributions) > 0


def test_without_covers_nothing_is_explained(forest: tuple[Any, np.ndarray]) -> None:
    trees = read_trees(to_onnx(forest[0], len(NAMES), {}), len(NAMES))
    with pytest.raises(ValueError, match="covers"):
        PathExplainer(replace(trees, cover=None), NAMES, np.zeros(len(NAMES)))
