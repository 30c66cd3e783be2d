"""The process that trains: ``python -m securenet_registry.training.worker FOLDER``.

It reads ``job.json`` in the folder, writes the version's files beside it, and says one JSON object a line on standard
output: ``progress``, then ``result`` or ``error``. It ends at once when its standard input closes, as happens when the
registry dies.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from securenet_flows.features import FEATURES, SCHEMA_HASH
from securenet_registry.artifacts.manifest import Golden
from securenet_registry.artifacts.trained import JOBLIB
from securenet_registry.training import dataset, joblib_estimator, skops_estimator
from securenet_registry.training.adaptation import SitePoint, SiteTail, moved, site_point, site_tail
from securenet_registry.training.calibration import Calibration
from securenet_registry.training.captures import read_capture
from securenet_registry.training.distribution import spread
from securenet_registry.training.evaluation import Metric
from securenet_registry.training.fitting import fit, raw_score
from securenet_registry.training.onnx_agreement import TOLERANCE, disagreement, onnx_scores
from securenet_registry.training.onnx_trees import UnsupportedEstimatorError, to_onnx
from securenet_registry.training.recipe import Estimator, TrainingSpec
from securenet_registry.training.runtime import runtime

#: Rows on which the two forms are compared, beyond the golden ones.
COMPARED_ROWS: Final = 20_000

#: Seconds between two words about the rows read.
_EVERY: Final = 0.25

#: Where each phase lies within the whole.
_PHASES: Final = {
    "reading": (0.0, 0.4),
    "fitting": (0.4, 0.85),
    "calibrating": (0.85, 0.87),
    "evaluating": (0.87, 0.9),
    "converting": (0.9, 0.97),
}


class Reporter:
    """Says on a stream what is done."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._last = 0.0
        self._rows = 0

    def rows(self, rows: int, capture: str) -> None:
        """Rows were read, of a capture."""
        self._rows = rows
        now = time.monotonic()
        if now - self._last >= _EVERY:
            self._last = now
            # How many there will be nobody knows; the fraction nears its end without reaching it.
            self.step("reading", rows / (rows + 200_000), f"reading {capture}")

    def step(self, phase: str, part: float, message: str, metrics: Sequence[Metric] = ()) -> None:
        """A part of a phase is done."""
        start, end = _PHASES[phase]
        self.say(
            "progress",
            phase=phase,
            fraction=start + (end - start) * part,
            rows_read=self._rows,
            message=message,
            elapsed_seconds=time.monotonic() - self._begun,
            metrics=[[metric.name, metric.value, metric.dataset] for metric in metrics],
        )

    def say(self, kind: str, **fields: Any) -> None:
        """One line."""
        sys.stdout.write(json.dumps({"kind": kind, **fields}) + "\n")
        sys.stdout.flush()


def main(folder: Path) -> int:
    """Trains the job in a folder."""
    reporter = Reporter()
    try:
        job = json.loads((folder / "job.json").read_bytes())
        spec = TrainingSpec.of_document(job["spec"])
        roots = tuple(Path(root) for root in job["roots"])
        limits = dataset.Limits(job["max_rows"], job["max_bytes"], roots, any_folder=job["any_folder"])
        base = job.get("base")
        result = adapt(folder, spec, limits, base, reporter) if base else train(folder, spec, limits, reporter)
    except dataset.TrainingDataError as error:
        reporter.say("error", message=str(error), expected=True)
        return 3
    except Exception as error:  # noqa: BLE001 - the registry's log gets the traceback, the caller what was wrong
        traceback.print_exc()
        reporter.say("error", message=f"{type(error).__name__}: {error}"[:1000], expected=False)
        return 1
    reporter.say("result", **result)
    return 0


def train(folder: Path, spec: TrainingSpec, limits: dataset.Limits, reporter: Reporter) -> dict[str, Any]:
    """Reads, fits, converts; answers what the manifest needs.

    Raises:
        TrainingDataError: the data does not allow it.
    """
    labels = spec.estimator is not Estimator.ISOLATION_FOREST
    data = dataset.load(spec.data_uris, read_capture, limits, labels=labels, progress=reporter.rows)
    reporter.step("reading", 1.0, f"read {len(data.x):,} flows of {len(data.captures)} captures")
    trained = fit(data, spec, reporter.step)
    reporter.step("converting", 0.0, "writing the source form")
    skops_estimator.dump(trained.estimator, folder / "model.skops")
    # What counts is what a reader of the file gets.
    estimator = skops_estimator.load(folder / "model.skops")
    golden = Golden(trained.golden, raw_score(estimator, trained.golden), TOLERANCE)
    joblib_estimator.dump(trained.estimator, folder / JOBLIB)
    serving = _derive(folder, spec, estimator, data.x[:COMPARED_ROWS], golden, reporter)
    evaluation = {"metrics": [[m.name, m.value, m.dataset] for m in trained.metrics], "thresholds": trained.thresholds}
    (folder / "evaluation.json").write_text(json.dumps(evaluation, indent=1))
    return {
        "serving": serving,
        "calibration": trained.calibration.document(),
        "golden": golden.document(),
        "thresholds": list(trained.thresholds),
        "distribution": spread(data.x, data.weight(), [feature.name for feature in FEATURES]),
        "metrics": evaluation["metrics"],
        "sample_count": trained.rows,
        "runtime": runtime(),
        "feature_schema_hash": SCHEMA_HASH,
        "feature_names": [feature.name for feature in FEATURES],
        "lineage": {"split": trained.split, "captures": _captures(data)},
    }


def adapt(
    folder: Path, spec: TrainingSpec, limits: dataset.Limits, base: Mapping[str, Any], reporter: Reporter
) -> dict[str, Any]:
    """Reads a site's flows and fits a version to them; answers what changes in its manifest.

    Of a model of attacks that is its operating point, of an anomaly model the table of how rare its scores are.

    Args:
        folder: where the evaluation goes.
        spec: what was asked.
        limits: what may be read.
        base: `onnx`, path of the form for serving; its `kind`, `calibration` and `thresholds`, as in a manifest.
        reporter: hears what is done.

    Raises:
        TrainingDataError: the data does not allow it.
    """
    data = dataset.load(spec.data_uris, read_capture, limits, labels=False, progress=reporter.rows)
    reporter.step("reading", 1.0, f"read {len(data.x):,} flows of {len(data.captures)} captures")
    raw = onnx_scores(Path(base["onnx"]).read_bytes(), data.x)
    known = Calibration.of_document(base["calibration"])
    point: SitePoint | SiteTail
    if base["kind"] == "anomaly":
        point = site_tail(raw, data.source, known)
        changed: dict[str, Any] = {"calibration": point.calibration.document()}
        metrics = []
    else:
        point = site_point(known.apply(raw), data.source, base["thresholds"])
        changed = {"thresholds": moved(base["thresholds"], point.after)}
        metrics = [["threshold", point.after, ""], ["site_threshold_held", float(point.held), ""]]
    reporter.step("calibrating", 1.0, f"operating point {point.before:.3f} → {point.after:.3f}")
    metrics += [
        ["site_threshold_before", point.before, ""],
        ["site_threshold", point.after, ""],
        ["site_alarmed_before", point.alarmed_before, ""],
        ["site_alarmed", point.alarmed_after, ""],
        ["site_flows", float(len(raw)), ""],
    ]
    (folder / "evaluation.json").write_text(json.dumps({"metrics": metrics, **changed}, indent=1))
    return {
        **changed,
        "moved": point.after != point.before,
        "distribution": spread(data.x, data.weight(), [feature.name for feature in FEATURES]),
        "metrics": metrics,
        "lineage": {"site": _captures(data)},
    }


def _captures(data: dataset.Dataset) -> list[dict[str, Any]]:
    return [
        {
            "name": c.name,
            "path": c.path,
            "sha256": c.digest,
            "rows": c.rows,
            "malicious": c.malicious,
            "unknown": c.unknown,
        }
        for c in data.captures
    ]


def _derive(  # noqa: PLR0917 - one step of train
    folder: Path, spec: TrainingSpec, estimator: Any, rows: NDArray[np.float32], golden: Golden, reporter: Reporter
) -> dict[str, str] | None:
    """Writes the serving form where it agrees with the source form; answers how to use it, or None."""
    kind = "anomaly" if spec.estimator is Estimator.ISOLATION_FOREST else "probability"
    try:
        data = to_onnx(estimator, golden.features.shape[1], {"feature_schema_hash": SCHEMA_HASH, "score": kind})
    except UnsupportedEstimatorError as error:
        reporter.step("converting", 1.0, f"no serving form: {error}")
        return None
    compared = np.concatenate([golden.features, rows])
    difference = disagreement(data, compared, raw_score(estimator, compared))
    agreement = {
        "rows": len(compared),
        "largest_difference": difference,
        "tolerance": TOLERANCE,
        "agrees": difference <= TOLERANCE,
    }
    (folder / "derived").mkdir(exist_ok=True)
    (folder / "derived" / "agreement.json").write_text(json.dumps(agreement, indent=1))
    if not agreement["agrees"]:
        reporter.step("converting", 1.0, f"serving form refused: scores differ by {difference:.2g}")
        return None
    (folder / "derived" / "model.onnx").write_bytes(data)
    reporter.step("converting", 1.0, f"serving form agrees within {difference:.2g} on {len(compared):,} rows")
    return {"file": "derived/model.onnx", "input": "features", "output": "score", "kind": kind}


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(4)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(main(Path(sys.argv[1])))
