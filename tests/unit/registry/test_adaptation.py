"""Fitting the operating point to a site: what an attack among its flows changes, and what it does not."""

from __future__ import annotations

import numpy as np
import pytest

from securenet_detection.models.calibration import OperatingPoints
from securenet_registry.training.adaptation import ALARMED, CONTAMINATION, HIGHEST, moved, site_point, site_tail
from securenet_registry.training.calibration import Calibration, fit_tail
from securenet_registry.training.dataset import TrainingDataError

pytestmark = pytest.mark.unit

TABLE = [
    {"score": 0.2, "precision": 0.5, "tpr": 1.0, "fpr": 0.2, "alarms": 400.0},
    {"score": 0.6, "precision": 0.8, "tpr": 0.9, "fpr": 0.01, "alarms": 300.0, "operating_point": 1.0},
    {"score": 0.9, "precision": 0.9, "tpr": 0.8, "fpr": 0.001, "alarms": 200.0},
    {"score": 1.0, "precision": 1.0, "tpr": 0.1, "fpr": 0.0, "alarms": 10.0},
]


def site(rows: int = 40_000, sources: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ordinary flows: most score low, some of everybody's higher, up to 0.9 for one in some thousands."""
    rng = np.random.default_rng(seed)
    return rng.beta(0.6, 8.0, rows), rng.integers(0, sources, rows)


def attacked(score: np.ndarray, source: np.ndarray, share: float, attackers: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    rows = int(len(score) * share / (1 - share))
    return (
        np.concatenate([score, rng.uniform(0.9, 1.0, rows)]),
        np.concatenate([source, 10_000 + rng.integers(0, attackers, rows)]),
    )


@pytest.mark.parametrize("attackers", [1, 7, 3_000], ids=["one", "a few", "spoofed"])
def test_an_attack_among_the_flows_changes_little(attackers: int) -> None:
    score, source = site()
    clean = site_point(score, source, TABLE)
    dirty = site_point(*attacked(score, source, 0.049, attackers), TABLE)
    assert 0.5 < clean.after < 0.9
    assert dirty.after == pytest.approx(clean.after, abs=0.05)
    ordinary = float(np.mean(score >= dirty.after))
    assert ALARMED / 4 < ordinary < ALARMED * 2
    # Taken as it came, the attack would have made everything ordinary.
    naive = np.quantile(attacked(score, source, 0.049, attackers)[0], 1 - ALARMED)
    assert naive > 0.95
    assert dirty.alarmed_before > CONTAMINATION * 0.9


def test_what_many_sources_do_is_ordinary_and_is_not_alarmed_any_more() -> None:
    score, source = site()
    rng = np.random.default_rng(2)
    polls = rng.random(len(score)) < 0.03
    score[polls] = rng.uniform(0.6, 0.8, int(polls.sum()))
    point = site_point(score, source, TABLE)
    assert point.before == 0.6
    assert 0.75 < point.after < 0.9
    assert point.alarmed_before > 0.02
    assert point.alarmed_after < 2 * ALARMED
    assert not point.held


def test_a_quiet_site_lowers_the_point_to_a_half_and_no_further() -> None:
    score, source = site()
    assert site_point(score * 0.4, source, TABLE).after == 0.5


def test_the_point_is_held_where_most_attacks_would_go_unseen() -> None:
    score, source = site()
    score[::10] = 0.999
    point = site_point(score, source, TABLE)
    assert (point.held, point.after) == (True, 0.9)
    assert site_point(score, source, []).after == HIGHEST


def test_few_flows_teach_nothing() -> None:
    score, source = site(rows=1_999)
    with pytest.raises(TrainingDataError, match="1,999 flows"):
        site_point(score, source, TABLE)


def test_detection_reads_the_moved_point() -> None:
    table = moved(TABLE, 0.75)
    assert [row["score"] for row in table] == [0.2, 0.6, 0.75, 0.9, 1.0]
    assert [row["score"] for row in table if row.get("operating_point")] == [0.75]
    assert table[2]["tpr"] == pytest.approx(0.85)
    assert OperatingPoints.read(table, captures_held_out=True).medium == 0.75
    assert [row["score"] for row in moved(TABLE, 0.9) if row.get("operating_point")] == [0.9]
    assert [row["score"] for row in moved([], 0.7)] == [0.7]


def forest_scores(rows: int = 40_000, sources: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.beta(8.0, 12.0, rows), rng.integers(0, sources, rows)


def tail_of(raw: np.ndarray) -> Calibration:
    return fit_tail(raw, np.ones(len(raw)))


@pytest.mark.parametrize("attackers", [1, 7, 3_000], ids=["one", "a few", "spoofed"])
def test_an_attack_among_the_flows_changes_little_of_what_is_rare(attackers: int) -> None:
    raw, source = forest_scores()
    elsewhere = tail_of(forest_scores(seed=5)[0] * 0.8)
    clean = site_tail(raw, source, elsewhere)
    assert clean.before < clean.after
    assert clean.alarmed_after == pytest.approx(ALARMED, rel=0.5)
    rng = np.random.default_rng(1)
    rows = int(len(raw) * 0.049 / 0.951)
    dirty = site_tail(
        np.concatenate([raw, rng.uniform(0.85, 0.95, rows)]),
        np.concatenate([source, 10_000 + rng.integers(0, attackers, rows)]),
        elsewhere,
    )
    assert dirty.after == pytest.approx(clean.after, abs=0.03)
    ordinary = float(np.mean(dirty.calibration.apply(raw) >= 1 - ALARMED))
    assert ALARMED / 4 < ordinary < ALARMED * 2
    # The attack itself stays rarer than what is told.
    assert (dirty.calibration.apply(np.linspace(0.85, 0.95, 10)) >= 1 - ALARMED).all()


def test_a_table_of_a_site_is_monotone_and_never_certain() -> None:
    raw, source = forest_scores(rows=5_000)
    table = site_tail(raw, source, tail_of(raw)).calibration
    assert (np.diff(table.y) >= 0).all()
    assert table.y[-1] < 1


def test_too_few_flows_say_nothing_of_what_is_rare() -> None:
    raw, source = forest_scores(rows=100)
    with pytest.raises(TrainingDataError, match="100 flows"):
        site_tail(raw, source, tail_of(raw))
