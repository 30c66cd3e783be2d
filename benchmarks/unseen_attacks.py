"""How well a model knows kinds of attacks that it was not trained on, on tables whose attacks have names.

    python benchmarks/unseen_attacks.py [--data DIR] [--output table|json]

CIC-IDS2017 by days: trained on Monday and Tuesday (guessing of passwords), judged on Wednesday (denial of service), and
the other way round. NSL-KDD: a quarter of the kinds of attack is left out of the training, four times over, and judged
beside a fifth of all other records. `learned` is what `securenet train` makes of the same rows: features, fit,
calibration and operating point. `at a half` is the same model without its operating point. `reference` is
scikit-learn's gradient boosting at its defaults and a half, over all columns that the tables have beside addresses,
times and labels.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from securenet_flows.evaluation import LabelledCapture, evaluate
from securenet_registry.training.captures import read_capture
from securenet_registry.training.dataset import Capture, Dataset, Limits, load
from securenet_registry.training.fitting import fit, raw_score
from securenet_registry.training.recipe import DEFAULTS, Estimator, TrainingSpec

#: Columns of CICFlowMeter that name a flow, or are what is to be learned.
_NAMES: Final = {"id", "Flow ID", "Src IP", "Src Port", "Dst IP", "Timestamp", "Label", "Attempted Category"}
_KDD_LABEL: Final = 41
_PARTS: Final = 4
_SPEC: Final = TrainingSpec(
    "study", (), Estimator.HIST_GRADIENT_BOOSTING, DEFAULTS[Estimator.HIST_GRADIENT_BOOSTING], seed=1
)

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Flows as we see them, and every number that their table holds of them (n, columns)."""

    data: Dataset
    columns: NDArray[np.float64]
    categories: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """What is fitted on and what is judged, as row numbers."""

    name: str
    fitted: Rows
    judged: Rows


def main() -> int:
    arguments = _arguments()
    flows = arguments.data / "flows"
    if not (flows / "nsl-kdd").exists() or not (flows / "cicids2017-mon-wed").exists():
        sys.stderr.write(f"{flows}: no nsl-kdd and cicids2017-mon-wed\nset SECURENET_DATA_DIR or --data\n")
        return 2
    days, kinds = _cic(flows / "cicids2017-mon-wed"), _kdd(flows / "nsl-kdd" / "KDDTrain+.txt.gz")
    for table, splits in ((days, list(_by_day(days))), (kinds, list(_by_kind(flows / "nsl-kdd", kinds)))):
        for split in splits:
            _judge(table, split, arguments.output)
    return 0


def _cic(folder: Path) -> Table:
    """The files of one class each as days, in the order of time: what a source did before is what it did that day."""
    records: list[dict[str, str]] = []
    for file in sorted(folder.glob("*.csv.gz")):
        with gzip.open(file, "rt") as text:
            records.extend(csv.DictReader(text))
    records.sort(key=lambda record: record["Timestamp"])
    numbers = [[float(value) for name, value in record.items() if name not in _NAMES] for record in records]
    with tempfile.TemporaryDirectory(prefix="securenet-days-") as scratch:
        files = [Path(scratch, f"{day}.csv") for day in sorted({record["Timestamp"][:10] for record in records})]
        for file in files:
            with file.open("w", newline="") as text:
                writer = csv.DictWriter(text, list(records[0]))
                writer.writeheader()
                writer.writerows(record for record in records if record["Timestamp"].startswith(file.stem))
        data = load(list(map(str, files)), read_capture, Limits(), labels=True, progress=lambda *_: None)
    columns = np.array(numbers)
    return Table(data, np.where(np.isfinite(columns), columns, np.nan))


def _kdd(file: Path) -> Table:
    data = load([str(file)], read_capture, Limits(), labels=True, progress=lambda *_: None)
    with gzip.open(file, "rt") as text:
        records = list(csv.reader(text))
    columns = np.zeros((len(records), _KDD_LABEL))
    for place in range(_KDD_LABEL):
        values = [record[place] for record in records]
        columns[:, place] = np.unique(values, return_inverse=True)[1] if place in {1, 2, 3} else np.array(values, float)
    return Table(data, columns, (1, 2, 3))


def _by_day(table: Table) -> Iterator[Split]:
    day = table.data.capture
    for name, fitted, judged in (("Mon, Tue → Wed", (0, 1), 2), ("Mon, Wed → Tue", (0, 2), 1)):
        yield Split(f"CIC {name}", np.flatnonzero(np.isin(day, fitted)), np.flatnonzero(day == judged))


def _by_kind(folder: Path, table: Table) -> Iterator[Split]:
    with gzip.open(folder / "KDDTrain+.txt.gz", "rt") as text:
        kind = np.array([record[_KDD_LABEL] for record in csv.reader(text)])
    kinds = np.unique(kind[table.data.malicious])
    fifth = np.random.default_rng(0).integers(5, size=len(kind))
    for part in range(_PARTS):
        judged = np.isin(kind, kinds[part::_PARTS]) | (fifth == part)
        yield Split(
            f"NSL-KDD without {', '.join(kinds[part::_PARTS])}", np.flatnonzero(~judged), np.flatnonzero(judged)
        )


def _part(data: Dataset, rows: Rows) -> Dataset:
    """Some rows as a data set of its own."""
    found, capture = np.unique(data.capture[rows], return_inverse=True)
    malicious = data.malicious[rows]
    captures = tuple(
        Capture(str(number), "", "", int((capture == i).sum()), int(malicious[capture == i].sum()), 0)
        for i, number in enumerate(found.tolist())
    )
    return replace(
        data, x=data.x[rows], malicious=malicious, capture=capture, time_ns=data.time_ns[rows], captures=captures,
        source=data.source[rows],
    )  # fmt: skip


def _judge(table: Table, split: Split, form: str) -> None:
    data, columns = table.data, table.columns
    trained = fit(_part(data, split.fitted), _SPEC, lambda *_: None)
    score = np.asarray(trained.calibration.apply(raw_score(trained.estimator, data.x[split.judged])))
    point = next(row["score"] for row in trained.thresholds if row.get("operating_point"))
    plain: Any = HistGradientBoostingClassifier(random_state=0, categorical_features=table.categories or None)
    plain.fit(columns[split.fitted], data.malicious[split.fitted])
    reference = plain.predict_proba(columns[split.judged])[:, 1]
    for who, of, at in (("learned", score, point), ("at a half", score, 0.5), ("reference", reference, 0.5)):
        found = evaluate(LabelledCapture(split.name, data.malicious[split.judged], of, of >= at))
        values = {"mcc": found.mcc, "tpr": found.tpr, "fpr": found.fpr}
        if form == "json":
            for name, value in values.items():
                key = f"unseen_attacks.{who}.{split.name}.{name}"
                sys.stdout.write(json.dumps({"name": key, "value": value, "flows": found.flows}) + "\n")
            continue
        told = "".join(f"{'–' if value is None else f'{value:.3f}':>8}" for value in values.values())
        sys.stdout.write(f"{who:<12}{told}  from {at:.3f}  {split.name}\n")
        sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SECURENET_DATA_DIR", beside)))
    parser.add_argument("--output", choices=("table", "json"), default="table")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
