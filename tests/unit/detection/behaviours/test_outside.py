"""How usual a destination is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from securenet_detection.behaviours.observation import Observation
from securenet_detection.behaviours.outside import Outside, bits_of
from securenet_detection.behaviours.prevalence_kernels import POPULAR, RARE, UNKNOWN
from securenet_detection.detector_settings import PrevalenceSettings, StateSettings

pytestmark = pytest.mark.unit

DAY = 86_400


@pytest.fixture
def outside() -> Outside:
    state = StateSettings(entities=256, members=64, rings=64, sources=64, contexts=64)
    return Outside(PrevalenceSettings(), state)


def uses(hosts: Any, dst: Any, *, first: Any = 0, **extra: Any) -> Any:
    return [
        {"src": f"10.1.{i // 250}.{i % 250 + 1}", "dst": dst, "dst_port": 443, **extra}
        for i in range(first, first + hosts)
    ]


def last(outside: Any, batch: Any, flows: Any, *, learn: bool = True) -> int:
    return int(outside.prevalence(Observation.of(batch(flows), seed=5, ordinal=1, learn=learn))[-1])


def test_without_other_hosts_nothing_is_known(outside: Any, batch: Any) -> None:
    assert last(outside, batch, uses(1, "93.184.0.1") * 20) == UNKNOWN


def test_what_one_of_many_uses_is_rare(outside: Any, batch: Any) -> None:
    assert last(outside, batch, [*uses(20, "93.184.0.1"), *uses(1, "93.184.0.2")]) == RARE


def test_what_some_use_is_neither(outside: Any, batch: Any) -> None:
    assert last(outside, batch, [*uses(20, "93.184.0.1"), *uses(2, "93.184.0.2")]) == UNKNOWN


def test_what_several_use_is_popular(outside: Any, batch: Any) -> None:
    assert last(outside, batch, uses(12, "93.184.0.1")) == POPULAR


def test_in_a_large_network_it_takes_a_share(outside: Any, batch: Any) -> None:
    hosts = uses(400, "93.184.0.1")
    assert last(outside, batch, [*hosts, *uses(8, "93.184.0.2")]) != POPULAR
    assert last(outside, batch, [*hosts, *uses(60, "93.184.0.2", first=8)]) == POPULAR


def test_failed_calls_make_nobody_popular(outside: Any, batch: Any) -> None:
    assert last(outside, batch, uses(40, "93.184.0.1", state="S0")) != POPULAR


def test_users_are_forgotten_by_degrees(outside: Any, batch: Any) -> None:
    last(outside, batch, uses(30, "93.184.0.1"))
    assert last(outside, batch, uses(1, "93.184.0.1", at=8 * DAY)) == POPULAR
    assert last(outside, batch, uses(1, "93.184.0.1", at=30 * DAY)) == RARE


def test_a_clock_far_ahead_forgets_once_and_counts_on(outside: Any, batch: Any) -> None:
    last(outside, batch, uses(1, "93.184.0.1", at=10**9))
    assert last(outside, batch, uses(12, "93.184.0.1")) == POPULAR


def test_a_dry_run_counts_nobody(outside: Any, batch: Any) -> None:
    last(outside, batch, uses(12, "93.184.0.1"))
    before = outside.usage()
    assert last(outside, batch, uses(40, "93.184.0.2"), learn=False) == UNKNOWN
    assert outside.usage() == before
    assert last(outside, batch, uses(1, "93.184.0.1"), learn=False) == POPULAR


def test_it_stays_within_its_bound(outside: Any, batch: Any) -> None:
    last(outside, batch, [flow for i in range(2000) for flow in uses(1, f"93.{i // 200}.{i % 200}.1")])
    usage = outside.usage()
    assert usage.entries == usage.capacity == 256
    assert usage.evictions > 1500


def test_linear_counting() -> None:
    assert bits_of(np.array([1.0, 4.0, 64.0, 1000.0]), 64).tolist() == [1, 4, 40, 64]
