"""What is left out, in which order, and when calls are refused."""

from __future__ import annotations

import pytest

from securenet_core.exceptions import ResourceExhaustedError
from securenet_detection.load import Load
from securenet_detection.settings import LoadSettings

pytestmark = pytest.mark.unit

SETTINGS = LoadSettings(shed_model_seconds=1, shed_details_seconds=2, refuse_seconds=4, waiting_rows=10_000)


def loaded(seconds: float) -> Load:
    """A load under which so many seconds of work wait; a row costs a millisecond."""
    load = Load(SETTINGS)
    for _ in range(50):
        load.measure(16_384, 16.384)
    load.take(round(seconds * 1000))
    return load


@pytest.mark.parametrize(
    ("seconds", "model", "details"), [(0.5, False, False), (1.5, True, False), (2.5, True, True), (3.9, True, True)]
)
def test_the_model_goes_first_then_details(seconds: float, model: bool, details: bool) -> None:
    load = loaded(seconds)
    taken = load.take(10)
    assert (taken.without_model, taken.without_details) == (model, details)
    assert (load.counters.rows_without_model, load.counters.rows_without_details) == (10 * model, 10 * details)


def test_past_the_bound_calls_are_refused_with_a_time_to_come_again() -> None:
    load = loaded(4.5)
    with pytest.raises(ResourceExhaustedError) as refused:
        load.take(1)
    assert (refused.value.reason, load.counters.refused_calls) == ("OVERLOADED", 1)
    assert refused.value.retry_after is not None
    assert refused.value.retry_after > 1
    # A stream that was let in is held back by its own answers instead.
    assert load.take(1, refusable=False).without_details


def test_a_caller_that_is_alone_gets_everything_however_much_it_sends_and_however_late_the_loop_is() -> None:
    load = loaded(0)
    load.late(60)
    with load.take(65_536) as taken:
        assert not taken.without_model
        assert load.rows == 65_536
        taken.scored(65_536)
        assert load.rows == 0
    assert load.rows == 0


def test_rows_are_bounded_whatever_they_cost() -> None:
    load = Load(SETTINGS)
    load.take(9_999)
    load.take(1)
    with pytest.raises(ResourceExhaustedError, match="10000 flows wait"):
        load.take(1)


def test_lateness_of_the_loop_counts_once_others_wait() -> None:
    load = Load(SETTINGS)
    load.late(1.5)
    load.take(1)
    assert load.take(1).without_model
    load.late(0)
    assert not load.take(1).without_model


def test_work_that_is_given_up_waits_no_more() -> None:
    load = Load(SETTINGS)
    with load.take(100) as taken:
        taken.scored(30)
        assert load.rows == 70
    assert load.rows == 0


def test_small_scorings_say_nothing_of_the_cost_of_a_row() -> None:
    load = Load(SETTINGS)
    load.measure(1, 10.0)
    load.take(1000)
    assert load.seconds < 0.01
