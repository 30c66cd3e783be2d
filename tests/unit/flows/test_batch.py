"""Text columns of a batch."""

from __future__ import annotations

import numpy as np
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


@pytest.mark.parametrize(
    ("codes", "values", "expected"),
    [([0, 1], "ab", True), ([1, 0], "ab", False), ([0, 0], "ab", False), ([0, -1], "ab", False), ([0], "ab", False),
     ([], "", False)],
)  # fmt: skip
def test_a_value_a_row_is_known_as_such(codes: list[int], values: str, expected: bool) -> None:
    assert Dictionary(np.array(codes, np.int32), tuple(values)).in_order is expected
