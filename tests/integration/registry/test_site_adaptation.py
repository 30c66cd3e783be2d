"""The operating point for a simulated office, with an attack among its flows and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from securenet_flows.simulation import ScheduledScenario, SimulationSettings, write_zeek_logs
from securenet_registry.training.adaptation import ALARMED, SitePoint, site_point
from securenet_registry.training.captures import read_capture
from securenet_registry.training.dataset import Dataset, Limits, load
from securenet_registry.training.fitting import Trained, fit, raw_score
from securenet_registry.training.recipe import DEFAULTS, Estimator, TrainingSpec

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def office(folder: Path, seed: int, *scenarios: str, minutes: int = 20, hosts: int = 40) -> Path:
    attacks = tuple(ScheduledScenario.parse(text) for text in scenarios)
    settings = SimulationSettings(duration_s=60.0 * minutes, hosts=hosts, seed=seed, scenarios=attacks)
    write_zeek_logs(settings, folder)
    return folder


def read(*folders: Path, labels: bool) -> Dataset:
    uris = [str(folder) for folder in folders]
    return load(uris, read_capture, Limits(any_folder=True), labels=labels, progress=lambda *_: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model of four small offices under attack."""
    folder = tmp_path_factory.mktemp("offices")
    attacks = ("ssh-brute-force@3m", "horizontal-scan@6m")
    offices = [office(folder / str(seed), seed, *attacks, minutes=12, hosts=15) for seed in range(1, 5)]
    estimator = Estimator.HIST_GRADIENT_BOOSTING
    spec = TrainingSpec("flows", (), estimator, {**DEFAULTS[estimator], "max_iter": 30})
    return fit(read(*offices, labels=True), spec, lambda *_: None)


def learn(trained: Trained, folder: Path) -> tuple[SitePoint, Dataset]:
    site = read(folder, labels=False)
    assert trained.calibration is not None
    score = trained.calibration.apply(raw_score(trained.estimator, site.x))
    return site_point(score, site.source, trained.thresholds), site


@pytest.mark.parametrize("attack", ["ssh-brute-force@5m:attempts=150", "vertical-scan@5m:ports=200"])
def test_an_attack_in_an_office_changes_its_point_little(trained: Trained, tmp_path: Path, attack: str) -> None:
    clean, quiet = learn(trained, office(tmp_path / "clean", 9))
    dirty, loud = learn(trained, office(tmp_path / "dirty", 9, attack))
    attacked = 1 - len(quiet.x) / len(loud.x)
    assert 0.02 < attacked <= 0.05
    assert dirty.after == pytest.approx(clean.after, abs=0.1)
    # By either point as good as nobody's ordinary flows are alarmed, and what the model saw of the attack still is.
    for point in (clean, dirty):
        assert trained.calibration is not None
        ordinary = trained.calibration.apply(raw_score(trained.estimator, quiet.x))
        assert np.mean(ordinary >= point.after) <= 4 * ALARMED or point.held
    assert dirty.alarmed_after > 2 * ALARMED
