"""How well a model, and detection with it, does on a labelled capture that it never saw.

    python benchmarks/leave_one_capture_out.py [--data DIR] [--recipe NAME]… [--model-only] [--output table|json]

Each network in turn is held out. A model is trained on all others as `securenet train` does it: the features of
`securenet_flows`, and the registry's own fit, calibration and operating point, which hold captures out once more among
those that are left. It then judges what was held out: alone, and in the detection engine with every detector beside it
(the streaming answer; the second look of `securenet evaluate` can only add to it). Captures of one network are held out
together. Nothing is tuned to a file, and each recipe is scored in the same way.

What is read: captures whose flows are labelled and have addresses and times. Captures that are named for one scenario
and have no labels are not in the pooled figures; of them the share that is alarmed is told. The simulator's training
offices are always trained on and never judged, except two offices of other seeds, apart.

One thread (OMP_NUM_THREADS=1) is fastest where others share the machine; a recipe takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.engine import Engine
from securenet_detection.models.calibration import Calibration, OperatingPoints
from securenet_detection.models.interface import ModelReference
from securenet_detection.models.onnx_classifier import load_onnx
from securenet_detection.models.serving import ModelSlot, ServingModel
from securenet_detection.threats import ThreatLevel
from securenet_flows.batch import FlowBatch
from securenet_flows.evaluation import Evaluation, LabelledCapture, evaluate
from securenet_flows.features import FEATURES, SCHEMA_HASH
from securenet_flows.host_days import HostDays
from securenet_flows.simulation import ScheduledScenario, SimulationSettings, write_zeek_logs
from securenet_flows.simulation.training_offices import training_offices
from securenet_registry.training.captures import read_capture
from securenet_registry.training.dataset import Dataset, Limits, load
from securenet_registry.training.fitting import Trained, fit
from securenet_registry.training.onnx_trees import to_onnx
from securenet_registry.training.recipe import DEFAULTS, Estimator, TrainingSpec

#: Labelled captures by network, below the data folder's `flows`.
NETWORKS: Final[Mapping[str, tuple[str, ...]]] = {
    "njrat": ("zeek-labelled/001-zeek-scenario-malicious",),
    "mixed-008": ("zeek-labelled/008-zeek-mixed/data",),
    "mixed-010": ("zeek-labelled/010-zeek-mixed/data",),
    "benign-2023": ("zeek-labelled/2023-02-20-benign",),
    "unsw": ("unsw-nb15-raw/1_0-1_mix_time.csv.gz", "unsw-nb15-raw/1_1-2_mix_time.csv.gz"),
    "ctu-mixed": ("slips/test5-mixed.binetflow.gz",),
    "nmap-lab": ("lab-captures/nmap/nmap.csv.gz",),
}
#: Captures named for a scenario, without labels.
SCENARIOS: Final[Mapping[str, str]] = {
    "002 nmap scan": "zeek-labelled/002-zeek-scenario-port-scanning",
    "003 RAT": "zeek-labelled/003-zeek-scenario-malicious",
    "005 DGA": "zeek-labelled/005-zeek-scenario-malicious",
    "006 SSH": "zeek-labelled/006-zeek-scenario-ssh",
    "openvas": "lab-captures/openvas/conn.log.gz",
}
#: Networks whose logs are Zeek's, which the published reference figure is about.
ZEEK: Final = ("njrat", "mixed-008", "mixed-010", "benign-2023")

#: Offices to judge that are no training offices.
_OTHER_OFFICES: Final = {
    "office-seed-1": SimulationSettings(
        seed=1, scenarios=tuple(map(ScheduledScenario.parse, ("horizontal-scan@10m", "ssh-brute-force@30m")))
    ),
    "office-day": SimulationSettings(seed=55, duration_s=86_400.0, hosts=14, rate=0.5),
}
#: The registry's own.
LIMITS: Final = Limits()
_BATCH: Final = 4096
_BYTE_FEATURES: Final = (*(f.name for f in FEATURES if "bytes" in f.name), "direction_ratio")
_CONTEXT: Final = tuple(feature.name for feature in FEATURES if feature.name.startswith(("src_", "dst_", "pair_")))


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way of training.

    Attributes:
        params: of the estimator, beyond the registry's defaults.
        captured: the other networks' captures are among those that it is trained on.
        simulated: the simulator's offices are.
        hidden: features that it does not see.
        anomaly: an anomaly model, of the same captures without their attacks, is served beside it.
    """

    params: Mapping[str, int | float] = field(default_factory=dict)
    captured: bool = True
    simulated: bool = True
    hidden: tuple[str, ...] = ()
    estimator: Estimator = Estimator.HIST_GRADIENT_BOOSTING
    anomaly: bool = False

    def spec(self) -> TrainingSpec:
        """As the registry takes it."""
        return TrainingSpec("study", (), self.estimator, {**DEFAULTS[self.estimator], **self.params}, seed=1)


RECIPES: Final[Mapping[str, Recipe]] = {
    "default": Recipe(),
    "anomaly": Recipe(anomaly=True),
    "no-simulation": Recipe(simulated=False),
    "simulation-only": Recipe(captured=False),
    "single-flow": Recipe(hidden=_CONTEXT),
    "no-bytes": Recipe(hidden=_BYTE_FEATURES),
    "no-volume": Recipe(hidden=("src_flows_log", "dst_flows_log", "src_gap_log")),
    "shallow": Recipe({"max_depth": 3, "max_leaf_nodes": 8, "min_samples_leaf": 200, "l2_regularization": 20.0}),
    "large-trees": Recipe({"max_leaf_nodes": 31, "max_iter": 150}),
    "slow": Recipe({"learning_rate": 0.04, "max_iter": 300, "max_features": 0.3}),
    "random-forest": Recipe(
        {"n_estimators": 60, "max_depth": 12, "min_samples_leaf": 20}, estimator=Estimator.RANDOM_FOREST
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """What is judged: its batches, and rows of the whole data set."""

    name: str
    network: str
    path: Path
    index: int


class Model:
    """A trained model in the form in which detection serves it."""

    def __init__(
        self, trained: Trained, hidden: Sequence[int], folder: Path, anomaly: ServingModel | None = None
    ) -> None:
        file = folder / "model.onnx"
        file.write_bytes(to_onnx(trained.estimator, len(FEATURES), {}))
        classifier = load_onnx(file, input_name="features", output_name="score", columns=len(FEATURES))
        table = trained.calibration
        points = OperatingPoints.read(list(trained.thresholds), captures_held_out=trained.split == "capture")
        self.serving = ServingModel(
            ModelReference("models/study/versions/1", "champion", ""), classifier, Calibration(table.x, table.y),
            points, SCHEMA_HASH, 1, 0, 0.0,
        )  # fmt: skip
        self.hidden = list(hidden)
        self.anomaly = anomaly

    def judge(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated probabilities of rows."""
        return self.serving.score(np.ascontiguousarray(_hide(x, self.hidden)))


def main() -> int:
    arguments = _arguments()
    flows = arguments.data / "flows"
    paths = {network: [flows / name for name in names] for network, names in NETWORKS.items()}
    missing = [str(path) for group in paths.values() for path in group if not path.exists()]
    if missing:
        sys.stderr.write(f"not there: {', '.join(missing)}\nset SECURENET_DATA_DIR or --data to the captures' folder\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="securenet-study-") as scratch:
        study = Study(paths, {name: flows / path for name, path in SCENARIOS.items()}, Path(scratch))
        for name in arguments.recipe or ["default"]:
            report = Report(name, arguments.output)
            study.run(RECIPES[name], report, pipeline=not arguments.model_only)
    return 0


class Study:
    """Data of all captures, read once.

    Args:
        paths: labelled captures by network.
        scenarios: unlabelled ones by name.
        scratch: folder for simulated captures and models.
    """

    def __init__(self, paths: Mapping[str, Sequence[Path]], scenarios: Mapping[str, Path], scratch: Path) -> None:
        self._scratch = scratch
        self._scenarios = {name: path for name, path in scenarios.items() if path.exists()}
        offices = [simulated(settings, scratch / f"office-{settings.seed}") for settings in training_offices()]
        self._others = {name: simulated(settings, scratch / name) for name, settings in _OTHER_OFFICES.items()}
        named = [(network, path) for network, group in paths.items() for path in group]
        uris = [str(path) for path in (*(path for _, path in named), *offices, *self._others.values())]
        self._data = load(uris, read_capture, LIMITS, labels=True, progress=lambda _rows, _name: None)
        self._captures = [
            Capture(f"{network}-{path.name.split('_mix')[0]}" if len(paths[network]) > 1 else network, network, path, i)
            for i, (network, path) in enumerate(named)
        ]
        self._offices = list(range(len(named), len(named) + len(offices)))
        first = len(named) + len(offices)
        self._unseen = [
            Capture(name, "simulated", path, first + i) for i, (name, path) in enumerate(self._others.items())
        ]

    def run(self, recipe: Recipe, report: Report, *, pipeline: bool) -> None:
        """Holds each network out, then judges what is in none of them by a model of all."""
        hidden = [i for i, feature in enumerate(FEATURES) if feature.name in recipe.hidden]
        alone: list[LabelledCapture] = []
        fused: list[LabelledCapture] = []
        everything = self._train(recipe, hidden, without=None)
        for network in dict.fromkeys(capture.network for capture in self._captures):
            model = self._train(recipe, hidden, without=network) if recipe.captured else everything
            for capture in (c for c in self._captures if c.network == network):
                alone.append(self._alone(capture, model))
                report.capture("model", alone[-1], model)
                if pipeline:
                    fused.append(self._fused(capture, model))
                    report.capture("detection", fused[-1], model)
        zeek = {capture.name for capture in self._captures if capture.network in ZEEK}
        for what, judged in (("model", alone), ("detection", fused)):
            if judged:
                report.figures(
                    what, evaluate(LabelledCapture.pooled([c for c in judged if c.name in zeek], "pooled-zeek"))
                )
                report.figures(what, evaluate(LabelledCapture.pooled(judged, "pooled")))
        for capture in self._unseen:
            report.capture("model", self._alone(capture, everything), everything)
            if pipeline:
                report.capture("detection", self._fused(capture, everything), everything)
        for name, path in self._scenarios.items():
            if pipeline:
                report.share(name, _verdicts(path, everything).level)

    def _train(self, recipe: Recipe, hidden: Sequence[int], *, without: str | None) -> Model:
        chosen = [capture.index for capture in self._captures if recipe.captured and capture.network != without]
        part = only(self._data, chosen + (self._offices if recipe.simulated else []))
        trained = fit(replace(part, x=_hide(part.x, hidden)), recipe.spec(), lambda *_: None)
        if not recipe.anomaly:
            return Model(trained, hidden, self._scratch)
        spec = TrainingSpec("odd", (), Estimator.ISOLATION_FOREST, DEFAULTS[Estimator.ISOLATION_FOREST], seed=1)
        odd = Model(fit(replace(part, labelled=False), spec, lambda *_: None), (), self._scratch)
        return Model(trained, hidden, self._scratch, odd.serving)

    def _alone(self, capture: Capture, model: Model) -> LabelledCapture:
        rows = self._data.capture == capture.index
        score = model.judge(self._data.x[rows])
        return LabelledCapture(capture.name, self._data.malicious[rows], score, score >= model.serving.points.medium)

    def _fused(self, capture: Capture, model: Model) -> LabelledCapture:
        found = _verdicts(capture.path, model)
        judged = found.label >= 0
        return LabelledCapture(
            capture.name,
            found.label[judged] == 1,
            found.score[judged],
            found.level[judged] >= ThreatLevel.MEDIUM,
            host_days=found.host_days,
            findings_high=found.findings_high,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What detection says of the flows of a capture; label is 1 malicious, 0 benign, −1 neither."""

    label: NDArray[np.int8]
    score: NDArray[np.float64]
    level: NDArray[np.uint8]
    host_days: int
    findings_high: int


def _verdicts(path: Path, model: Model) -> Verdicts:
    slot = ModelSlot()
    slot.swap(model.serving)
    anomalies = ModelSlot()
    if model.anomaly is not None:
        anomalies.swap(model.anomaly)
    engine = Engine(DetectorSettings(state=StateSettings(hash_seed=1)), slot, anomalies=anomalies)
    days = HostDays()
    gravest: dict[str, int] = {}
    columns: list[tuple[Any, Any, Any]] = []
    for batch in batches(path):
        days.add(batch)
        verdicts = engine.analyze(batch)
        for _, sighting in verdicts.sightings:
            identity = sighting.evidence.id
            gravest[identity] = max(gravest.get(identity, 0), int(sighting.threat_level))
        text = batch.texts("label")
        label = np.where(text.matches(["malicious"]), 1, np.where(text.matches(["benign"]), 0, -1)).astype(np.int8)
        columns.append((label, np.clip(verdicts.score, 0.0, 1.0), verdicts.threat_level))
    label, score, level = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    high = sum(level >= ThreatLevel.HIGH for level in gravest.values())
    return Verdicts(label, score, level, len(days), high)


def batches(path: Path) -> Iterator[FlowBatch]:
    """A capture's flows as a stream brings them."""
    for batch in read_capture(path):
        yield from batch.split(_BATCH)


def only(data: Dataset, indices: Sequence[int]) -> Dataset:
    """The rows of some captures."""
    place = np.full(len(data.captures), -1)
    place[list(indices)] = np.arange(len(indices))
    rows = place[data.capture] >= 0
    return replace(
        data,
        x=data.x[rows],
        malicious=data.malicious[rows],
        capture=place[data.capture[rows]],
        time_ns=data.time_ns[rows],
        captures=tuple(data.captures[index] for index in indices),
    )


def _hide(x: NDArray[np.float32], hidden: Sequence[int]) -> NDArray[np.float32]:
    if not hidden:
        return x
    x = x.copy()
    x[:, list(hidden)] = 0.0
    return x


def simulated(settings: SimulationSettings, folder: Path) -> Path:
    """The folder, with an office's logs in it."""
    write_zeek_logs(settings, folder)
    return folder


class Report:
    """Prints figures as they come: a line of a table, or a JSON object a figure."""

    def __init__(self, recipe: str, form: str) -> None:
        self._recipe = recipe
        self._form = form
        if form == "table":
            titles = ("capture", "by", "flows", "malicious", "MCC", "F1", "TPR", "FPR", "TPR@1%", "HIGH/day", "from")
            sys.stdout.write(f"recipe {recipe}\n{_line(titles)}\n")

    def capture(self, what: str, capture: LabelledCapture, model: Model) -> None:
        """Figures of a capture, with the score from which the model says MEDIUM."""
        self.figures(what, evaluate(capture), model.serving.points.medium)

    def figures(self, what: str, found: Evaluation, medium: float | None = None) -> None:
        """Figures of a capture or of several pooled."""
        values = {
            "mcc": found.mcc, "f1": found.f1, "tpr": found.tpr, "fpr": found.fpr,
            "tpr_at_fpr_1pct": found.tpr_at_fpr_1pct, "findings_high_per_host_day": found.findings_high_per_host_day,
            "threshold": medium,
        }  # fmt: skip
        if self._form == "table":
            sys.stdout.write(
                _line((found.name, what, f"{found.flows:,}", f"{found.malicious:,}", *map(_number, values.values())))
                + "\n"
            )
        for name, value in values.items():
            if self._form == "json" and value is not None:
                self._say(f"{what}.{found.name}.{name}", value, found.flows)
        sys.stdout.flush()

    def share(self, name: str, level: NDArray[np.uint8]) -> None:
        """How much of an unlabelled capture is alarmed."""
        share = float(np.mean(level >= ThreatLevel.MEDIUM))
        if self._form == "json":
            self._say(f"detection.{name}.alarmed", share, len(level))
        else:
            sys.stdout.write(f"{name}: {share:.1%} of {len(level):,} flows alarmed (no labels)\n")
        sys.stdout.flush()

    def _say(self, name: str, value: float, flows: int) -> None:
        line = {"name": f"leave_one_capture_out.{self._recipe}.{name}", "value": round(value, 4), "flows": flows}
        sys.stdout.write(json.dumps(line) + "\n")


def _line(cells: Sequence[str]) -> str:
    return "".join(
        f"{cell:<16}" if i == 0 else f"{cell:<10}" if i == 1 else f"{cell:>10}" for i, cell in enumerate(cells)
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SECURENET_DATA_DIR", beside)))
    parser.add_argument("--recipe", action="append", choices=sorted(RECIPES), help="may be given several times")
    parser.add_argument("--model-only", action="store_true", help="leave the detection engine out")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
