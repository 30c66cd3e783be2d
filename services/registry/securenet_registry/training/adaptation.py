"""Sets the operating point of a model that is there already by a site's own flows, of which nobody knows the labels.

The trees, the calibration and what the model may say HIGH about stay as they are: what changes is the score from which
it says MEDIUM. It becomes the lowest at which one flow in a thousand of the site's ordinary traffic is alarmed.

What is ordinary is not known, since up to a twentieth of the flows may be an attack. An attack is the work of few
sources, while what a model takes wrongly for one is done by many. So at each score the alarms of the sources that
stand out are left out, as long as these together are at most a twentieth of the flows;
trimming the greatest part of a sample is the oldest robust estimate (J. W. Tukey, D. H. McLaughlin, "Less vulnerable
confidence and significance procedures for location based on a single sample", Sankhyā 25 (1963)), here by source.

Of an anomaly model the trees stay as well; what is learned is how rare each of its scores is among the site's ordinary
flows, with the same sources left out at each score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from securenet_registry.training.calibration import POINTS, Calibration, tail_table
from securenet_registry.training.dataset import TrainingDataError
from securenet_registry.training.evaluation import ALARM

Float64 = NDArray[np.float64]

#: Share of the site's ordinary flows that may be alarmed.
ALARMED: Final = 0.001

#: Share of the site's flows that may be an attack.
CONTAMINATION: Final = 0.05

#: A source stands out that is alarmed for this share of its flows, or for more of them than chance would do to a
#: typical one. Without an attack hardly anybody does, and the point is nearly that of the flows as they came.
STANDS_OUT: Final = 0.1

#: Flows below which one in a thousand says nothing.
FEWEST_FLOWS: Final = 2_000

#: The highest operating point; above it there must be room for HIGH.
HIGHEST: Final = 0.989

#: Part of the attacks found at the point before that must still be found at the new one.
_KEPT: Final = 0.5

#: Scores that are tried: at most twice as many.
_CANDIDATES: Final = 256


@dataclass(frozen=True, slots=True)
class SitePoint:
    """An operating point for a site.

    Attributes:
        before, after: scores.
        alarmed_before, alarmed_after: shares of all the site's flows at or above them, whatever they are.
        held: a higher point would have been needed, and would have silenced most of what the model finds.
    """

    before: float
    after: float
    alarmed_before: float
    alarmed_after: float
    held: bool


def site_point(score: Float64, source: NDArray[np.int64], table: Sequence[Mapping[str, float]]) -> SitePoint:
    """The operating point for a site.

    Args:
        score: calibrated scores (n,) of its flows.
        source: int64 (n,), who began each flow.
        table: the model's thresholds, see :func:`~securenet_registry.training.evaluation.threshold_table`.

    Raises:
        TrainingDataError: too few flows.
    """
    _check_enough(score)
    before = next((float(row["score"]) for row in table if row.get("operating_point")), ALARM)
    highest = _highest(table, before)
    _, number = np.unique(source, return_inverse=True)
    flows = np.bincount(number)
    # Below the half a flow is more likely benign than not; nothing is alarmed there unless the training said so.
    lowest = min(before, ALARM)
    doubtful = score >= lowest
    tail, number = score[doubtful], number[doubtful]
    tried = np.union1d(np.linspace(lowest, highest, _CANDIDATES), tail[tail <= highest][:: _step(tail)])
    after = next((t for t in tried.tolist() if _ordinary(tail, number, flows, t) <= ALARMED), None)
    held = after is None
    chosen = highest if after is None else after
    return SitePoint(before, chosen, float(np.mean(score >= before)), float(np.mean(score >= chosen)), held)


@dataclass(frozen=True, slots=True, eq=False)
class SiteTail:
    """How rare the scores of an anomaly model are at a site.

    Attributes:
        calibration: in place of the model's own.
        before, after: raw scores that one ordinary flow in a thousand reaches, by the model's own table and by this.
        alarmed_before, alarmed_after: shares of all the site's flows at or above them, whatever they are.
    """

    calibration: Calibration
    before: float
    after: float
    alarmed_before: float
    alarmed_after: float


def site_tail(raw: Float64, source: NDArray[np.int64], known: Calibration) -> SiteTail:
    """How rare the scores of an anomaly model are among the ordinary flows of a site.

    Args:
        raw: raw scores (n,) of its flows, 0–1.
        source: int64 (n,), who began each flow.
        known: the model's own table.

    Raises:
        TrainingDataError: too few flows.
    """
    _check_enough(raw)
    _, number = np.unique(source, return_inverse=True)
    flows = np.bincount(number)
    rising = np.sort(raw)
    # As close together towards the top as a table of ordinary flows alone would have them, and within what may be an
    # attack as well: below it the ordinary flows' own top may lie.
    tails = np.logspace(0, -np.log10(len(raw) + 1), POINTS)
    tried = np.unique(rising[np.minimum(((1 - tails) * len(raw)).astype(np.int64), len(raw) - 1)])
    top = tried[tried >= np.quantile(raw, 1 - 2 * CONTAMINATION)]
    tried = np.union1d(tried, np.linspace(top[0], top[-1], POINTS))
    shares = np.array([_ordinary(raw, number, flows, point) for point in tried.tolist()])
    shares = np.maximum(np.minimum.accumulate(shares), 1 / (len(raw) + 1))
    calibration = tail_table(tried, shares)
    before, after = _reached(known), _reached(calibration)
    return SiteTail(calibration, before, after, float(np.mean(raw >= before)), float(np.mean(raw >= after)))


def _reached(table: Calibration) -> float:
    """The lowest raw score that at most one ordinary flow in a thousand reaches; 1 where none is so rare."""
    rare = np.flatnonzero(table.y >= 1 - ALARMED)
    if not len(rare):
        return 1.0
    first = int(rare[0])
    if not first:
        return float(table.x[0])
    return float(np.interp(1 - ALARMED, table.y[first - 1 : first + 1], table.x[first - 1 : first + 1]))


def _check_enough(score: Float64) -> None:
    if len(score) < FEWEST_FLOWS:
        raise TrainingDataError(f"{len(score):,} flows; expected at least {FEWEST_FLOWS:,} to learn what is ordinary")


def _step(tail: Float64) -> int:
    return max(1, len(tail) // _CANDIDATES)


def _ordinary(score: Float64, number: NDArray[np.int64], flows: NDArray[np.int64], point: float) -> float:
    """Share of flows that are alarmed once the alarms of the sources that stand out are left out."""
    alarmed = np.bincount(number[score >= point], minlength=len(flows))
    share = alarmed / flows
    by_share = np.argsort(share, kind="stable")
    typical = share[by_share[np.searchsorted(np.cumsum(flows[by_share]), flows.sum() / 2)]]
    expected = flows * max(typical, ALARMED)
    standing = (alarmed > 0) & (
        (share >= max(STANDS_OUT, 2 * typical)) | (alarmed > 3 + expected + 4 * np.sqrt(expected))
    )
    order = by_share[::-1][standing[by_share[::-1]]]
    left_out = np.cumsum(alarmed[order])
    left_out = left_out[left_out <= CONTAMINATION * flows.sum()].max(initial=0)
    return float((alarmed.sum() - left_out) / (flows.sum() - left_out))


def _highest(table: Sequence[Mapping[str, float]], before: float) -> float:
    """The highest score at which the model still finds enough of what it found on held-out captures."""
    if not table:
        return HIGHEST
    scores, found = _columns(table, "score"), _columns(table, "tpr")
    enough = _KEPT * float(np.interp(before, scores, found))
    kept = scores[(found >= enough) & (scores <= HIGHEST)]
    return min(HIGHEST, max(before, ALARM, float(kept.max(initial=0.0))))


def moved(table: Sequence[Mapping[str, float]], point: float) -> list[dict[str, float]]:
    """The table of thresholds with its operating point at another score; a row that is not there is interpolated."""
    rows = [{name: value for name, value in row.items() if name != "operating_point"} for row in table]
    if all(row["score"] != point for row in rows):
        scores = _columns(rows, "score") if rows else np.zeros(1)
        new = {
            name: float(np.interp(point, scores, _columns(rows, name))) if rows else 0.0
            for name in ("precision", "tpr", "fpr", "alarms")
        }
        rows.append({"score": point, **new})
    rows.sort(key=lambda row: row["score"])
    return [{**row, "operating_point": 1.0} if row["score"] == point else row for row in rows]


def _columns(table: Sequence[Mapping[str, Any]], name: str) -> Float64:
    return np.array([float(row.get(name, 0.0)) for row in table])
