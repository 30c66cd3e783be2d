"""Trains the table of weights by which generated domain names are told from ordinary ones.

    python tools/train_dga_names.py FOLDER [--output FILE] [--evaluate]

FOLDER holds gzipped lists, one name a line: `opendns-*.txt.gz` are ordinary, every other `.txt.gz` is one family of
generated names, `.csv.gz` is `name,family`. The model is a logistic regression over the bigrams and trigrams of the
registered label, hashed into 65,536 weights of 8 bits, and twelve properties of the whole; families weigh the same,
whatever their size, and so do generated and ordinary names. Beside the families of the folder three are made here that
any generator may turn into: letters, digits and letters, and hexadecimal digits, drawn evenly.

`--evaluate` prints, before the table is trained on everything: families of which none was seen in training, against
held-out ordinary names; and another source (the CSV and one list of ordinary names), of which nothing was seen.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack  # type: ignore[import-untyped]  # scipy has no types
from sklearn.linear_model import LogisticRegression

from securenet_detection.behaviours import name_kernels as kernels
from securenet_detection.behaviours.name_kernels import SHAPES, tokens
from securenet_detection.behaviours.names import NameReader, registered
from securenet_detection.behaviours.publicsuffixlist_rules import public_suffixes
from securenet_flows.batch import Dictionary

Float = NDArray[np.float64]

SIZE = 1 << 16
#: Names of a family that are learnt: more of the same add nothing.
CAP = 2000
#: Families that come from one generator are left out together.
RELATED = (("goz", "zeus", "dds-goz"), ("new_goz", "dds-newgoz"), ("cryptolocker", "dds-cryptolocker"))
DEFAULT = Path(__file__).parent.parent / "services/detection/securenet_detection/behaviours/dga_names.npz"


def drawn(alphabet: str, shortest: int, longest: int) -> list[str]:
    """Labels of characters drawn evenly."""
    rng = np.random.default_rng(len(alphabet))
    return ["".join(rng.choice(list(alphabet), rng.integers(shortest, longest + 1))) for _ in range(CAP)]


def labels(names: Sequence[str]) -> list[str]:
    """The label that somebody registered, of each name that has one, once."""
    reader = NameReader(seed=1, suffixes=public_suffixes, local=(), reputation=())
    cleaned = [name.strip().strip('"').lower().rstrip(".") for name in names]
    known = reader.known(Dictionary.encode(cleaned))
    found = {
        registered(name, row[kernels.APEX_START]).split(".")[0] if row[kernels.APEX] else name.split(".")[0]
        for name, row in zip(cleaned, known, strict=True)
    }
    return sorted(found - {""})


def read(folder: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Generated labels by family, ordinary labels by list; each shuffled."""
    rng = np.random.default_rng(0)
    generated: dict[str, list[str]] = {}
    ordinary: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.txt.gz")):
        name = path.name.removesuffix(".txt.gz")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found = labels(list(lines))
        (ordinary if name.startswith("opendns") else generated)[name] = found
    for path in sorted(folder.glob("*.csv.gz")):
        by_family: dict[str, list[str]] = {}
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for row in csv.reader(lines):
                by_family.setdefault(f"dds-{row[1]}", []).append(row[0])
        generated |= {family: labels(names) for family, names in by_family.items()}
    generated |= {
        "drawn-letters": drawn("abcdefghijklmnopqrstuvwxyz", 8, 24),
        "drawn-alphanumeric": drawn("abcdefghijklmnopqrstuvwxyz0123456789", 8, 24),
        "drawn-hexadecimal": drawn("abcdef0123456789", 8, 32),
    }
    for names in (*generated.values(), *ordinary.values()):
        rng.shuffle(names)
    return generated, ordinary


def matrix(names: Sequence[str]) -> csr_matrix:
    """A row a label: its n-grams, scaled by the root of their number, and its shape."""
    positions, shape = np.empty(2 * 63 + 8, np.int64), np.empty(SHAPES)
    columns, ends, shapes, values = [], [0], [], []
    for name in names:
        filled = tokens(np.frombuffer(name.encode() or b"-", np.uint8).copy(), SIZE - 1, positions, shape)
        columns.append(positions[:filled].copy())
        values.append(np.full(filled, filled**-0.5))
        ends.append(ends[-1] + filled)
        shapes.append(2 * shape)
    grams = csr_matrix((np.concatenate(values), np.concatenate(columns), ends), shape=(len(names), SIZE))
    grams.sum_duplicates()
    return hstack([grams, csr_matrix(np.array(shapes))]).tocsr()


def train(generated: Sequence[Sequence[str]], ordinary: Sequence[str]) -> LogisticRegression:
    """Fits a model; every family weighs the same."""
    families = [family[:CAP] for family in generated if family]
    names = [name for family in families for name in family]
    weights = np.concatenate([np.full(len(family), 1 / len(family)) for family in families])
    rows = len(names) + len(ordinary)
    sample = np.concatenate([weights / weights.sum(), np.full(len(ordinary), 1 / len(ordinary))]) * rows / 2
    target = np.arange(rows) < len(names)
    model = LogisticRegression(C=5.0, max_iter=300, solver="liblinear", random_state=0)
    return model.fit(matrix([*names, *ordinary]), target, sample_weight=sample)


def scores(model: LogisticRegression, names: Sequence[str]) -> Float:
    """Log odds of each label."""
    found: Float = model.decision_function(matrix(names))
    return found


def evaluate(generated: dict[str, list[str]], ordinary: dict[str, list[str]]) -> None:
    """Prints what a model is worth on what it did not see."""
    own = [name for name in generated if not name.startswith("dds-")]
    others = [name for name in generated if name.startswith("dds-")]
    first, other = max(ordinary), min(ordinary)
    model = train([generated[name] for name in own], ordinary[first])
    found = np.concatenate([scores(model, generated[name]) for name in others])
    benign = scores(model, ordinary[other])
    for threshold in (0.0, 1.0):
        hits, alarms = int((found > threshold).sum()), int((benign > threshold).sum())
        print(
            f"another source, log odds > {threshold:g}: TPR {hits / len(found):.3f} FPR {alarms / len(benign):.3f} "
            f"F1 {2 * hits / (hits + alarms + len(found)):.3f}"
        )
    everybody = [name for names in ordinary.values() for name in names]
    np.random.default_rng(1).shuffle(everybody)
    cut = len(everybody) * 3 // 4
    results = []
    done: set[str] = set()
    for family in generated:
        if family in done or family.startswith("drawn-"):
            continue
        left_out = next((group for group in RELATED if family in group), (family,))
        done |= set(left_out)
        model = train([names for name, names in generated.items() if name not in left_out], everybody[:cut])
        benign = scores(model, everybody[cut:])
        found = np.concatenate([scores(model, generated[name][:CAP]) for name in left_out])
        results.append([(found > 0).mean(), (benign > 0).mean(), (found > np.quantile(benign, 0.9)).mean()])
        print("unseen {}: TPR {:.3f} FPR {:.3f}, TPR at FPR .1 {:.3f}".format(left_out[0], *results[-1]))
    print("unseen families, mean: TPR {:.3f} FPR {:.3f}, TPR at FPR .1 {:.3f}".format(*np.mean(results, 0)))


def main() -> int:
    """Trains on everything and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=DEFAULT)
    parser.add_argument("--evaluate", action="store_true")
    arguments = parser.parse_args()
    generated, ordinary = read(arguments.folder)
    if arguments.evaluate:
        evaluate(generated, ordinary)
    everybody = [name for names in ordinary.values() for name in names]
    model = train(list(generated.values()), everybody)
    grams, shapes = model.coef_[0, :SIZE], 2 * model.coef_[0, SIZE:]
    scale = np.abs(grams).max() / 127
    np.savez_compressed(
        arguments.output,
        weights=np.round(grams / scale).astype(np.int8),
        scale=np.float64(scale),
        shapes=np.concatenate([shapes, model.intercept_]),
    )
    sys.stderr.write(f"{arguments.output}: {arguments.output.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
