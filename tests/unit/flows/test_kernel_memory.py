"""What compiled loops do with memory: nothing but look at it."""

from __future__ import annotations

import sys
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from securenet_flows.kernel_memory import borrowed, prefetch

pytestmark = pytest.mark.unit


@numba.njit
def _fetch(table: Any, row: int, line: int) -> None:
    prefetch(table, row, line)


@numba.njit
def _double(table: Any) -> None:
    bare = borrowed(table)
    for i in range(len(bare)):
        row = bare[i]
        row[:] *= 2


def test_prefetch_changes_nothing_even_outside_of_the_table() -> None:
    table = np.arange(24, dtype=np.int64).reshape(4, 6)
    for row, line in ((0, 0), (3, 1), (1 << 40, 0), (-5, 9)):
        _fetch(table, row, line)
    assert table.tolist() == np.arange(24).reshape(4, 6).tolist()


def test_prefetch_takes_contiguous_arrays_alone() -> None:
    with pytest.raises(TypingError, match="expected a contiguous table"):
        _fetch(np.zeros((4, 6))[:, ::2], 0, 0)


def test_borrowed_array_is_the_same_memory() -> None:
    table = np.arange(12, dtype=np.float64).reshape(3, 4)
    _double(table)
    assert table.tolist() == (np.arange(12).reshape(3, 4) * 2).tolist()


def test_borrowing_keeps_no_reference() -> None:
    table = np.zeros((64, 64))
    before = sys.getrefcount(table)
    for _ in range(10):
        _double(table)
    assert sys.getrefcount(table) == before
