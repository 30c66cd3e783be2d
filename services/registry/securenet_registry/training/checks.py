"""The process that opens a trained model's joblib form: ``python -m securenet_registry.training.checks``.

It reads the verified model from standard input as JSON, and answers one JSON object.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from securenet_core.exceptions import SecurenetError
from securenet_registry.artifacts.manifest import ArtifactFile, Golden
from securenet_registry.artifacts.trained import TrainedModel
from securenet_registry.training import joblib_estimator
from securenet_registry.training.fitting import raw_score


def check(document: Mapping[str, Any]) -> str:
    """What is wrong with a model; empty where it opens and gives the golden scores."""
    fields = {**document, "file": ArtifactFile(**document["file"]), "place": Path(document["place"])}
    model = TrainedModel(**fields)
    try:
        estimator = joblib_estimator.load(model)
    except SecurenetError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - whatever unpickling does: the file cannot be used
        return f"it does not open: {type(error).__name__}: {error}"[:500]
    if model.golden is None:
        return ""
    golden = Golden.of_document(model.golden)
    gap = np.abs(raw_score(estimator, golden.features) - golden.raw).max(initial=0.0)
    return "" if gap <= golden.tolerance else f"its scores differ from the golden ones by {gap:.2g}"


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"problem": check(json.load(sys.stdin))}))
