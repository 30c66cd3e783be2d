"""Text columns of a batch."""

from __future__ import annotations

import pytest

from securenet_flows.batch import Dictionary

pytestmark = pytest.mark.unit


def test_rows_that_hold_a_value_and_rows_that_list_it() -> None:
    services = Dictionary.encode(["ssl", "rdp,ssl", None, "gssapi,smb", "ssl"])
    assert services.matches(["ssl"]).tolist() == [True, False, False, False, True]
    assert services.lists(["ssl", "smb"]).tolist() == [True, True, False, True, True]
    assert services.lists([]).tolist() == [False] * 5


def test_a_column_without_values_lists_nothing() -> None:
    assert Dictionary.absent(2).lists(["ssl"]).tolist() == [False, False]
