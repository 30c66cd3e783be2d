"""Conversion of what is not a flow."""

from __future__ import annotations

import pytest

from securenet_detection import convert

pytestmark = pytest.mark.unit


def test_times_go_there_and_back() -> None:
    for nanos in (0, 1, -1, 1_767_225_600_123_456_789):
        assert convert.nanoseconds(convert.timestamp(nanos), "t") == nanos
