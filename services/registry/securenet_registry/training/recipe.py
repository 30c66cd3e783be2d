"""What may be trained: an allow-list of estimators, each with bounded parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from securenet_core.exceptions import FieldViolation, InvalidArgumentError
from securenet_registry.model import VersionReference


class Estimator(StrEnum):
    """Kinds of model; the values go into manifests and MLflow."""

    HIST_GRADIENT_BOOSTING = "hist-gradient-boosting"
    RANDOM_FOREST = "random-forest"
    ISOLATION_FOREST = "isolation-forest"


class SplitMethod(StrEnum):
    """How rows for calibration and evaluation are set apart; never at random."""

    AUTO = "auto"
    CAPTURE = "capture"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Range:
    """A number between bounds, both included."""

    lowest: float
    highest: float
    whole: bool = False

    def accept(self, value: object) -> int | float | None:
        """The value as the estimator takes it, or None where it does not fit."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        if not self.lowest <= value <= self.highest or (self.whole and value != int(value)):
            return None
        return int(value) if self.whole else float(value)

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.lowest:g} to {self.highest:g}"


#: Parameters that a caller may set, by scikit-learn's names, with their bounds.
PARAMETERS: Final[Mapping[Estimator, Mapping[str, Range]]] = {
    Estimator.HIST_GRADIENT_BOOSTING: {
        "learning_rate": Range(0.001, 1.0),
        "max_iter": Range(1, 2000, whole=True),
        "max_leaf_nodes": Range(2, 255, whole=True),
        "max_depth": Range(1, 32, whole=True),
        "min_samples_leaf": Range(1, 100_000, whole=True),
        "l2_regularization": Range(0.0, 1e6),
        "max_features": Range(0.05, 1.0),
        "max_bins": Range(2, 255, whole=True),
    },
    Estimator.RANDOM_FOREST: {
        "n_estimators": Range(1, 1000, whole=True),
        "max_depth": Range(1, 32, whole=True),
        "max_leaf_nodes": Range(2, 100_000, whole=True),
        "min_samples_leaf": Range(1, 100_000, whole=True),
        "max_features": Range(0.05, 1.0),
    },
    Estimator.ISOLATION_FOREST: {
        "n_estimators": Range(1, 1000, whole=True),
        "max_samples": Range(2, 100_000, whole=True),
        "max_features": Range(0.05, 1.0),
    },
}

#: What is used where the caller sets nothing.
DEFAULTS: Final[Mapping[Estimator, Mapping[str, int | float]]] = {
    Estimator.HIST_GRADIENT_BOOSTING: {
        "learning_rate": 0.08,
        "max_iter": 100,
        "max_leaf_nodes": 15,
        "min_samples_leaf": 40,
        "l2_regularization": 1.0,
        "max_features": 0.5,
    },
    Estimator.RANDOM_FOREST: {"n_estimators": 200, "max_depth": 16, "min_samples_leaf": 10, "max_features": 0.3},
    # Trees of 32 rows have at most 32 leaves, which detection scores several times as fast as larger ones.
    Estimator.ISOLATION_FOREST: {"n_estimators": 100, "max_samples": 32},
}

#: Types beyond skops' own list that these estimators consist of. Uploaded nodes are checked before use.
TREE_TYPES: Final = (
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)

#: Bounds of the part that is held out.
HELD_OUT: Final = Range(0.05, 0.5)


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """What to train and on what.

    Attributes:
        model: name of the model within its tenant.
        data_uris: labelled flow logs; each is one capture.
        estimator: kind of model.
        params: every parameter of the estimator that is set, defaults included.
        split: how rows are set apart.
        held_out_fraction: part that is set apart, 0.05–0.5.
        seed: of everything that is random.
        tags: free labels of the version.
        description: why.
        base: version of the model that is adapted to the data, by number or alias; empty trains a new one. Then the
            data needs no labels, and estimator and parameters mean nothing.
    """

    model: str
    data_uris: tuple[str, ...]
    estimator: Estimator = Estimator.HIST_GRADIENT_BOOSTING
    params: Mapping[str, int | float] = field(default_factory=dict)
    split: SplitMethod = SplitMethod.AUTO
    held_out_fraction: float = 0.25
    seed: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    base: str = ""

    def base_reference(self) -> VersionReference:
        """The version that is adapted."""
        return (
            VersionReference(self.model, number=int(self.base))
            if self.base.isdigit()
            else VersionReference(self.model, alias=self.base)
        )

    def document(self) -> dict[str, Any]:
        """As JSON, for the job's row and the worker."""
        return {
            "model": self.model,
            "data_uris": list(self.data_uris),
            "estimator": self.estimator.value,
            "params": dict(self.params),
            "split": self.split.value,
            "held_out_fraction": self.held_out_fraction,
            "seed": self.seed,
            "tags": dict(self.tags),
            "description": self.description,
            **({"base": self.base} if self.base else {}),
        }

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> TrainingSpec:
        """The inverse of :meth:`document`."""
        return cls(
            model=document["model"],
            data_uris=tuple(document["data_uris"]),
            estimator=Estimator(document["estimator"]),
            params=dict(document["params"]),
            split=SplitMethod(document["split"]),
            held_out_fraction=document["held_out_fraction"],
            seed=document["seed"],
            tags=dict(document["tags"]),
            description=document["description"],
            base=document.get("base", ""),
        )


def accept_params(estimator: Estimator, texts: Mapping[str, str]) -> dict[str, int | float]:
    """Parameters from their JSON texts, checked against the estimator's bounds, defaults filled in.

    Raises:
        InvalidArgumentError: a parameter is unknown or out of bounds; all of them are named.
    """
    bounds = PARAMETERS[estimator]
    accepted: dict[str, int | float] = dict(DEFAULTS[estimator])
    wrong: list[FieldViolation] = []
    for name, text in texts.items():
        place = f"spec.params[{name!r}]"
        if name not in bounds:
            wrong.append(FieldViolation(place, f"unknown for {estimator}; expected one of {', '.join(bounds)}"))
            continue
        try:
            value = bounds[name].accept(json.loads(text))
        except ValueError:
            value = None
        if value is None:
            wrong.append(FieldViolation(place, f"got {text!r}; expected {bounds[name]}"))
        else:
            accepted[name] = value
    if wrong:
        message = "; ".join(f"{violation.field}: {violation.description}" for violation in wrong)
        raise InvalidArgumentError(message, fields=wrong)
    return accepted
