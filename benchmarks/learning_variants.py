"""Whether what the literature offers beside plain boosting does better on captures that were held out.

    python benchmarks/learning_variants.py [--data DIR] [--output table|json]

The captures, the hold-out of whole networks and the default recipe are those of `leave_one_capture_out.py`; the model
is judged alone. Beside it as it is (`plain`):

`stacked`
    the evidence of every detector is a further feature of each flow (D. H. Wolpert, "Stacked generalization", Neural
    Networks 5 (1992)), in place of fusing model and detectors by rule.
`conformal`
    a flow is alarmed where at most 1 % of the benign flows of networks that the model did not see score higher
    (inductive conformal p-values: H. Papadopoulos et al., ECML 2002), every network counting the same.
`conformal, each network`
    the same, held to each of those networks and not to their mean (Mondrian: V. Vovk et al., "Algorithmic Learning in
    a Random World", 2005, 4.5).
`site point`
    the operating point that `securenet baseline learn` sets by the earlier half of the network's own flows, without
    their labels; judged, as `plain, later half` beside it, by the later half.

A model trained without two networks scores both, so what a threshold is learnt from was never trained on, and nothing
of the network that is judged goes into it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from leave_one_capture_out import LIMITS, NETWORKS, RECIPES, batches, only, simulated
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.engine import Engine
from securenet_detection.models.serving import ModelSlot
from securenet_detection.verdicts import BatchVerdicts
from securenet_flows.evaluation import LabelledCapture, evaluate
from securenet_flows.simulation.training_offices import training_offices
from securenet_registry.training.adaptation import FEWEST_FLOWS, site_point
from securenet_registry.training.captures import read_capture
from securenet_registry.training.dataset import Dataset, load
from securenet_registry.training.fitting import Trained, fit, raw_score
from securenet_registry.training.recipe import DEFAULTS, Estimator

_SPEC: Final = RECIPES["default"].spec()
#: Share of benign flows that may score higher.
_SIGNIFICANCE: Final = 0.01
#: Benign flows from which a hundredth of them means something.
_FEWEST_BENIGN: Final = 1_000

Scores = NDArray[np.float64]
Rows = NDArray[np.int64]


class Variants:
    """All captures with the features of each flow and the detectors' evidence, and what came of each variant.

    Args:
        paths: captures by network.
        scratch: folder for simulated offices.
    """

    def __init__(self, paths: dict[str, list[Path]], scratch: Path) -> None:
        offices = [simulated(settings, scratch / f"office-{settings.seed}") for settings in training_offices()]
        named = [(network, path) for network, group in paths.items() for path in group]
        everything = [*(path for _, path in named), *offices]
        self._data = load(list(map(str, everything)), read_capture, LIMITS, labels=True, progress=lambda *_: None)
        self._evidence = np.concatenate([_evidence(path) for path in everything])
        self._network = [network for network, _ in named] + ["office"] * len(offices)
        self.judged: dict[str, list[LabelledCapture]] = defaultdict(list)

    def run(self) -> None:
        """Judges every network by models that never saw it."""
        networks = list(dict.fromkeys(name for name in self._network if name != "office"))
        thresholds = self._conformal(networks)
        stacked = replace(self._data, x=np.hstack([self._data.x, self._evidence]))
        for network in networks:
            plain = fit(self._without(self._data, network), _SPEC, lambda *_: None)
            combined = fit(self._without(stacked, network), _SPEC, lambda *_: None)
            for index in (i for i, name in enumerate(self._network) if name == network):
                rows = np.flatnonzero(self._data.capture == index)
                raw = raw_score(plain.estimator, self._data.x[rows])
                score, point = _calibrated(plain, raw), _point(plain)
                self._judge("plain", rows, score, point)
                self._judge(
                    "stacked",
                    rows,
                    _calibrated(combined, raw_score(combined.estimator, stacked.x[rows])),
                    _point(combined),
                )
                for name, threshold in thresholds[network].items():
                    self._judge(name, rows, raw, threshold)
                half = len(rows) // 2
                adapted = point
                if half >= FEWEST_FLOWS:
                    own = site_point(score[:half], self._data.source[rows[:half]], plain.thresholds)
                    adapted = own.after
                self._judge("plain, later half", rows[half:], score[half:], point)
                self._judge("site point", rows[half:], score[half:], adapted)

    def _judge(self, variant: str, rows: Rows, score: Scores, threshold: float) -> None:
        name = self._data.captures[int(self._data.capture[rows[0]])].name
        malicious = self._data.malicious[rows]
        self.judged[variant].append(LabelledCapture(name, malicious, np.clip(score, 0.0, 1.0), score >= threshold))

    def _without(self, data: Dataset, *networks: str) -> Dataset:
        return only(data, [i for i, name in enumerate(self._network) if name not in networks])

    def _conformal(self, networks: Sequence[str]) -> dict[str, dict[str, float]]:
        """Thresholds of raw scores for each network, from the benign flows of the others."""
        quantiles: dict[str, list[tuple[Scores, float]]] = defaultdict(list)
        for pair in itertools.combinations(networks, 2):
            part = self._without(self._data, *pair)
            params: dict[str, Any] = dict(DEFAULTS[Estimator.HIST_GRADIENT_BOOSTING])
            model = HistGradientBoostingClassifier(random_state=1, early_stopping=False, **params)
            model.fit(part.x, part.malicious, sample_weight=part.weight())
            for judged, other in (pair, pair[::-1]):
                here = np.isin(self._data.capture, [i for i, name in enumerate(self._network) if name == other])
                benign = self._data.x[here & ~self._data.malicious]
                if len(benign) >= _FEWEST_BENIGN:
                    raw = raw_score(model, benign)
                    quantiles[judged].append((raw, float(np.quantile(raw, 1 - _SIGNIFICANCE))))
        found = {}
        for network, of_others in quantiles.items():
            raw = np.concatenate([raw for raw, _ in of_others])
            weight = np.concatenate([np.full(len(raw), 1 / len(raw)) for raw, _ in of_others])
            order = np.argsort(-raw, kind="stable")
            within = np.cumsum(weight[order]) <= _SIGNIFICANCE * weight.sum()
            pooled = float(raw[order][within][-1]) if within.any() else 1.0
            found[network] = {"conformal": pooled, "conformal, each network": max(limit for _, limit in of_others)}
        return found


def _calibrated(trained: Trained, raw: Scores) -> Scores:
    if trained.calibration is None:
        raise SystemExit("the training gave no calibration")
    return np.asarray(trained.calibration.apply(raw), np.float64)


def _point(trained: Trained) -> float:
    return next(row["score"] for row in trained.thresholds if row.get("operating_point"))


def _evidence(path: Path) -> NDArray[np.float32]:
    """What each detector makes of each labelled flow, as a risk: float32 (n, detectors)."""
    engine = Engine(DetectorSettings(state=StateSettings(hash_seed=1)), ModelSlot())
    names = [status.definition.name for status in engine.detectors()]
    parts = []
    for batch in batches(path):
        # Without identities no flow is one that came before.
        verdicts = engine.analyze(replace(batch, text={k: v for k, v in batch.text.items() if k != "flow_id"}))
        if not isinstance(verdicts, BatchVerdicts):
            raise TypeError(f"{path}: flows came again without an identity")
        zeros = np.zeros(len(batch))
        text = batch.texts("label")
        labelled = text.matches(["malicious"]) | text.matches(["benign"])
        columns = np.stack([verdicts.pieces.get(name, zeros) for name in names], axis=1)
        parts.append(columns[labelled].astype(np.float32))
    return np.concatenate(parts)


def main() -> int:
    arguments = _arguments()
    flows = arguments.data / "flows"
    paths = {network: [flows / name for name in names] for network, names in NETWORKS.items()}
    missing = [str(path) for group in paths.values() for path in group if not path.exists()]
    if missing:
        sys.stderr.write(f"not there: {', '.join(missing)}\nset SECURENET_DATA_DIR or --data to the captures' folder\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="securenet-variants-") as scratch:
        variants = Variants(paths, Path(scratch))
        variants.run()
    for name, captures in variants.judged.items():
        _report(name, captures, arguments.output)
    return 0


def _report(variant: str, captures: Sequence[LabelledCapture], form: str) -> None:
    for found in map(evaluate, [*captures, LabelledCapture.pooled(captures, "pooled")]):
        values = {"mcc": found.mcc, "tpr": found.tpr, "fpr": found.fpr, "tpr_at_fpr_1pct": found.tpr_at_fpr_1pct}
        if form == "table":
            told = "".join(f"{'–' if value is None else f'{value:.3f}':>8}" for value in values.values())
            sys.stdout.write(f"{variant:<26}{found.name:<34}{found.flows:>8,}{told}\n")
            continue
        for name, value in values.items():
            if value is not None:
                key = f"learning_variants.{variant}.{found.name}.{name}"
                sys.stdout.write(json.dumps({"name": key, "value": round(value, 4), "flows": found.flows}) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SECURENET_DATA_DIR", beside)))
    parser.add_argument("--output", choices=("table", "json"), default="table")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
