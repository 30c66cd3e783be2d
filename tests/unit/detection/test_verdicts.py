"""What verdicts report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from securenet.detection.v1 import verdict_pb2
from securenet_detection.grpc_flows import Columns
from securenet_detection.grpc_verdicts import VerdictPacker, evidence
from securenet_detection.models.calibration import Calibration, OperatingPoints
from securenet_detection.models.contributions import Explainer
from securenet_detection.models.interface import ModelReference
from securenet_detection.models.serving import ServingModel
from securenet_detection.models.trees import TreeEnsemble
from securenet_flows.features import FEATURES, Column

pytestmark = pytest.mark.unit


def scans(count: int) -> list[dict[str, Any]]:
    """A sweep over hosts, a sweep over the ports of one, and guesses at a service by the clock, by a source each."""
    return [
        flow
        for i in range(count)
        for flow in (
            {"src": "10.0.0.5", "dst": f"93.184.0.{i + 1}", "dst_port": 23, "state": "S0", "at": i},
            {"src": "10.0.0.6", "dst": "93.184.1.1", "dst_port": i + 1, "state": "REJ", "at": i},
            {"src": "10.0.0.7", "dst": "93.184.1.2", "dst_port": 22, "at": i, "orig_bytes": 900, "resp_bytes": 900,
             "service": "ssh", "ssh_auth_success": 0, "ssh_auth_attempts": 6},
        )
    ]  # fmt: skip


def test_no_finding_counts_more_than_the_flows_of_its_source(engine: Any, batch: Any) -> None:
    reports = [report for _, report in engine.analyze(batch(scans(120))).sightings]
    assert {report.evidence.detector for report in reports} == {
        "horizontal-scan", "vertical-scan", "sequential-scan", "brute-force", "beacon",
    }  # fmt: skip
    for report in reports:
        assert 1 <= report.count <= 120, report.evidence.detector


def test_a_scan_counts_no_less_than_it_measured(engine: Any, batch: Any) -> None:
    reports = [report for _, report in engine.analyze(batch(scans(120))).sightings]
    for report in reports:
        if report.evidence.detector in ("horizontal-scan", "vertical-scan"):
            assert report.count >= report.evidence.measured


def test_evidence_names_what_it_measured(engine: Any, batch: Any) -> None:
    reports = [report for _, report in engine.analyze(batch(scans(120))).sightings]
    assert {report.evidence.detector: report.evidence.measure for report in reports} == {
        "horizontal-scan": "destinations",
        "vertical-scan": "ports",
        "sequential-scan": "likelihood_ratio",
        "brute-force": "attempts",
        "beacon": "score",
    }


class Probability:
    """A classifier that says the same of every flow."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def scores(self, features: Any) -> Any:
        return np.full(len(features), self.probability)


def serve(models: Any, probability: float, explainer: Explainer | None = None) -> None:
    identity = Calibration(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    reference = ModelReference("models/m/versions/1", "champion", "")
    points = OperatingPoints(0.5, None)
    models.swap(ServingModel(reference, Probability(probability), identity, points, "", 1, 0, 0.0, explainer))


def test_rows_below_medium_name_what_contributed(engine: Any, models: Any, batch: Any) -> None:
    serve(models, 0.2)
    verdicts = engine.analyze(batch([{"src": "10.0.0.1", "dst": "10.0.0.2", "dst_port": 80}]))
    assert verdicts.threat_level.tolist() == [1]
    assert {name: rows.tolist() for name, rows in verdicts.contributions().items()} == {"model": [True]}


def test_a_model_that_sees_nothing_contributes_nothing(engine: Any, models: Any, batch: Any) -> None:
    serve(models, 0.001)
    verdicts = engine.analyze(batch(scans(1)))
    assert verdicts.contributions() == {}


def test_contributions_agree_with_evidence(engine: Any, batch: Any) -> None:
    verdicts = engine.analyze(batch(scans(120)))
    contributions = verdicts.contributions()
    for row in range(len(verdicts)):
        named = {name for name, rows in contributions.items() if rows[row]}
        assert named == {piece.detector for piece in verdicts.evidence(row)}


def test_evidence_of_the_model_says_what_moved_the_score(engine: Any, models: Any, batch: Any) -> None:
    columns = len(FEATURES)
    stump = TreeEnsemble(
        roots=np.zeros(1, np.int64), feature=np.full(3, Column.ORIG_BYTES_LOG), threshold=np.ones(3, np.float32),
        left=np.array([1, -1, -1]), right=np.array([2, -1, -1]), missing_left=np.ones(3, np.bool_),
        value=np.array([0.0, -1.0, 2.0]), cover=np.array([4.0, 3.0, 1.0]), base=0.0, columns=columns,
    )  # fmt: skip
    names = [feature.name for feature in FEATURES]
    serve(models, 0.9, Explainer(stump, names, np.zeros(columns)))
    flows = [{"src": "10.0.0.1", "dst": "10.0.0.2", "dst_port": 80, "orig_bytes": 9, "resp_bytes": 0, "at": i}
             for i in range(4)]  # fmt: skip
    verdicts = engine.analyze(batch(flows))
    (told,) = next(piece for piece in verdicts.evidence(3) if piece.detector == "model").contributions
    assert (told.feature, told.baseline, told.contribution) == ("orig_bytes_log", 0.0, 2.25)
    assert told.value == pytest.approx(np.log(10), abs=1e-3)
    (report,) = [report for _, report in verdicts.sightings if report.evidence.detector == "model"]
    assert report.evidence.contributions == (told,)
    message = evidence(report.evidence)
    assert [c.feature for c in message.contributions] == ["orig_bytes_log"]


def test_bits_of_a_batch_are_the_contributions_of_its_pieces(engine: Any, models: Any, batch: Any) -> None:
    serve(models, 0.2)
    flows = batch(scans(60))
    message = verdict_pb2.VerdictBatch()
    packer = VerdictPacker(message, Columns(flows, len(flows) + 1, np.arange(1, len(flows) + 1), []), 0)
    expected: list[set[str]] = [set()]
    for start in range(0, len(flows), 50):
        verdicts = engine.analyze(flows.take(slice(start, start + 50)))
        packer.add(start, verdicts)
        found = verdicts.contributions()
        expected += [{name for name, rows in found.items() if rows[row]} for row in range(len(verdicts))]
    packer.finish()
    named = [
        {name for bit, name in enumerate(message.detectors) if number >> bit & 1} for number in message.contributed
    ]
    assert named == expected
    assert {"model"} in named
    assert any("horizontal-scan" in names for names in named)
