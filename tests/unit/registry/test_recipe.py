"""Recipes: bounded parameters, and specs that survive being stored."""

from __future__ import annotations

import pytest

from securenet_core.exceptions import InvalidArgumentError
from securenet_registry.training.recipe import DEFAULTS, PARAMETERS, Estimator, SplitMethod, TrainingSpec, accept_params

pytestmark = pytest.mark.unit


def test_defaults_are_within_their_bounds() -> None:
    for estimator, defaults in DEFAULTS.items():
        for name, value in defaults.items():
            assert PARAMETERS[estimator][name].accept(value) == value


def test_given_parameters_win_over_defaults() -> None:
    params = accept_params(Estimator.HIST_GRADIENT_BOOSTING, {"max_iter": "20", "learning_rate": "0.2"})
    assert (params["max_iter"], params["learning_rate"]) == (20, 0.2)
    assert isinstance(params["max_iter"], int)


@pytest.mark.parametrize("text", ["0", "2001", "1.5", "true", '"7"', "NaN", "1e999", "", "[", "null"])
def test_what_is_out_of_bounds_is_named(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="whole number from 1 to 2000") as caught:
        accept_params(Estimator.HIST_GRADIENT_BOOSTING, {"max_iter": text})
    assert caught.value.fields[0].field == "spec.params['max_iter']"


def test_every_wrong_parameter_is_named() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        accept_params(Estimator.RANDOM_FOREST, {"n_jobs": "4", "max_depth": "99", "n_estimators": "5"})
    assert len(caught.value.fields) == 2


def test_a_spec_survives_its_document() -> None:
    spec = TrainingSpec(
        "flows", ("a", "b"), Estimator.RANDOM_FOREST, {"max_depth": 3}, SplitMethod.TIME, 0.3, 7, {"team": "x"}, "why"
    )
    assert TrainingSpec.of_document(spec.document()) == spec
