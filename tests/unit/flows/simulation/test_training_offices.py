"""The offices that a first model is trained on."""

from __future__ import annotations

import pytest

from securenet_flows.simulation import SCENARIOS
from securenet_flows.simulation.training_offices import training_offices

pytestmark = pytest.mark.unit


def test_offices_differ_in_all_that_a_model_might_learn_of_an_office() -> None:
    offices = training_offices()
    for name in ("seed", "hosts", "ipv6_share", "duration_s"):
        assert len({getattr(office, name) for office in offices}) >= 4, name
    assert len({(office.start.weekday() >= 5, office.start.hour // 8) for office in offices}) >= 4
    assert training_offices() == offices


def test_some_offices_are_not_attacked_and_no_attack_is_in_all() -> None:
    attacks = [{scheduled.name for scheduled in office.scenarios} for office in training_offices()]
    assert sum(not names for names in attacks) >= 2
    # Whole offices are held out, so each needs its kind of attack in others.
    assert not set.intersection(*attacks)
    assert len(set.union(*attacks)) >= 6
    # They cannot be told from ordinary traffic by the shape of a flow.
    assert not set.union(*attacks) & {"dga", "dns-tunnel", "lateral-movement"}


def test_attacks_are_known_and_begin_before_the_end() -> None:
    for office in training_offices():
        for scheduled in office.scenarios:
            SCENARIOS[scheduled.name].read(scheduled.parameters)
            assert scheduled.offset_s < office.duration_s
